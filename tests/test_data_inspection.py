"""Inspections of texts before training: every finding appears where it should, and nowhere else."""

import csv
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from conftest import FinishedSearch
from typer.testing import CliRunner

import bakeoff
import data
from bakeoff.__main__ import app
from data.base.errors import UserError
from data.base.label_sets import LabelSets
from data.base.reading import Reading, Understood
from data.base.texts import Texts
from data.inspecting.findings import SEVERITIES, Finding, Inspection
from data.inspecting.labels import folded
from data.inspecting.words import Words, lengths
from data.inspection import inspect
from search.base import inspected
from search.spec.read import parse_yaml

Row = tuple[str, str]

WORDS = [f"word{number}" for number in range(400)]
BEGINNINGS = {"bad": [f"bad{number}" for number in range(5)], "good": [f"good{number}" for number in range(5)]}


def text(draw: random.Random, label: str, length: int = 12) -> str:
    """The first word gives the class away, but occurs in only a fifth of its texts."""
    return " ".join([draw.choice(BEGINNINGS[label]), *draw.choices(WORDS, k=length - 1)])


def clean_rows(num: int = 400) -> list[Row]:
    draw = random.Random(0)
    return [(text(draw, label), label) for label in ("bad", "good") for _ in range(num // 2)]


def look(
    rows: Sequence[Row], *, known: Callable[[str], bool] = lambda word: True, max_words: int = 100, **more: object
) -> Inspection:
    """The inspection of rows divided by position: eight in ten for training, one each for validation and test."""
    classes = sorted({label for _, label in rows})
    examples = [(text, classes.index(label)) for text, label in rows]
    splits = {
        "train": [each for place, each in enumerate(examples) if place % 10 < 8],
        "val": examples[8::10],
        "test": examples[9::10],
    }
    vocabulary = {word for text, _ in examples for word in text.split() if known(word)}
    options = {"vocabulary": vocabulary, "max_words": [max_words], "tokenize": str.split, "name": "mine"}
    return inspect(splits, Texts(tuple(classes), examples), **{**options, **more})  # type: ignore[arg-type]


def kinds(inspection: Inspection) -> list[str]:
    return [finding.kind for finding in inspection.findings]


def the(inspection: Inspection) -> Finding:
    """The only finding."""
    (finding,) = inspection.findings
    return finding


def test_a_clean_corpus_has_nothing_to_worry_about() -> None:
    clean = look(clean_rows())
    assert clean.findings == ()
    assert list(inspected.lines(clean))[-1] == inspected.FINE
    assert list(inspected.short(clean, "bakeoff data mine.csv")) == []
    assert (clean.num_texts, clean.num_looked_at, clean.count("train"), clean.count("test")) == (400, 400, 320, 40)
    assert [(each.name, each.total, each.splits["val"]) for each in clean.classes] == [
        ("bad", 200, 20),
        ("good", 200, 20),
    ]
    assert clean.majority_share == 0.5


# --- Labels


def relabelled(new: Callable[[int, str], str]) -> list[Row]:
    return [(text, new(place // 10, label)) for place, (text, label) in enumerate(clean_rows())]


@pytest.mark.parametrize(
    ("pair", "merge"),
    [
        (("1", "1.0"), '"1.0": "1"'),
        (("good", "Good"), '"Good": "good"'),
        (("very good", "very  good"), '"very  good": "very good"'),
        (("very good", "Very_Good"), '"Very_Good": "very good"'),
        (("good", "good\u200b"), '"good\\U0000200b": "good"'),
    ],
)
def test_labels_that_differ_by_their_writing_are_named_with_the_merge(pair: tuple[str, str], merge: str) -> None:
    found = look(relabelled(lambda place, label: label if label == "bad" else pair[place % 3 == 0]))
    finding = the(replace(found, findings=found.findings[:1]))
    assert (finding.kind, finding.severity, finding.how_many) == ("labels alike", "serious", 1)
    assert f"{pair[0]!r} and {pair[1]!r}" in finding.what
    assert finding.remedy.endswith(f"labels: {{{merge}}}")
    assert parse_yaml(f"{{{merge}}}") == {pair[1]: pair[0]}


@pytest.mark.parametrize(("one", "other"), [("1", "-1"), ("1", "10"), ("good", "goods"), ("a-1", "a1"), ("nan", "NA")])
def test_labels_that_differ_in_more_are_different(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_labels_of_several_classes_are_named_with_their_separator() -> None:
    found = look(relabelled(lambda place, label: "good;urgent" if label == "good" and place % 2 else label))
    finding = found.findings[0]
    assert (finding.kind, finding.severity, finding.how_many) == ("several labels", "serious", 1)
    assert "'good;urgent'" in finding.example
    assert "multi_label: ';'" in finding.remedy
    alone = look(relabelled(lambda place, label: "sci/tech" if label == "good" else label))
    assert alone.findings == ()  # its parts are nobody else's


@pytest.mark.parametrize(("one", "two"), [("['a']", "['a', 'b']"), ('["a"]', '["a", "b"]'), ("[3]", "[3 17]")])
def test_labels_that_are_lists_are_to_be_written_in_another_way(one: str, two: str) -> None:
    found = look(relabelled(lambda place, label: two if label == "good" and place % 2 else one)).findings[0]
    assert (found.kind, found.how_many, found.example) == ("several labels", 2, f"{two!r}")
    assert "multi_label: ';'" in found.remedy
    assert look(relabelled(lambda place, label: f"[{label}]")).findings == ()


def test_labels_like_ids_are_seen_and_then_nothing_else_is_said_of_labels() -> None:
    found = look([(text, f"id {place}") for place, (text, _) in enumerate(clean_rows(100))])
    assert kinds(found) == ["labels like ids"]
    assert "label_column" in the(found).remedy


def test_a_large_class_and_a_small_one_are_named() -> None:
    draw = random.Random(1)
    rows = [(text(draw, "good"), "good") for _ in range(990)] + [(text(draw, "bad"), "bad") for _ in range(10)]
    large, small = look(rows).findings
    assert (large.kind, large.severity, large.how_many) == ("imbalanced", "serious", 990)
    assert "99.0% of the texts are 'good'" in large.what
    assert "class_weights: balanced" in large.remedy
    assert (small.kind, small.severity, small.how_many) == ("rare classes", "minor", 1)
    assert small.example == "'bad' has 10 texts"
    one = look(rows[:400] + rows[:400])  # one class is looked at as well
    assert (one.num_texts, one.findings) == (800, ())
    assert next(inspected.lines(one)).startswith(f"{one.name}: 800 texts of 1 class (")


def test_many_equal_classes_are_not_rare() -> None:
    draw = random.Random(1)
    rows = [(text(draw, "good"), f"class {number // 10 % 200}") for number in range(20_000)]
    assert look(rows).findings == ()


# --- Words


def test_what_is_cut_is_said_with_the_length_that_reads_nearly_all() -> None:
    draw = random.Random(0)
    rows = [(text(draw, label, length), label) for label in ("bad", "good") for length in [100] * 190 + [300] * 10]
    found = look(rows, max_words=40)
    finding = the(found)
    assert (finding.kind, finding.severity, finding.how_many) == ("cut", "serious", 400)
    assert "cuts 100% of the texts: 64% of all words" in finding.what
    assert found.lengths
    assert (found.lengths.median, found.lengths.most, found.lengths.longest) == (100, 100, 300)
    assert f"max_words: {found.lengths.enough}" in finding.remedy
    assert sum(count for _, count in found.lengths.histogram) == 400
    assert look(rows, max_words=found.lengths.enough).findings == ()


@pytest.mark.parametrize("lengths_N", [[1], [5, 5, 5, 5], [1, 2, 3, 4, 100], list(range(1, 500))])
def test_enough_words_are_the_least_that_read_95_percent(lengths_N: list[int]) -> None:
    found = lengths(Words.of(["w " * length for length in lengths_N], str.split), [10])
    assert found
    read = [sum(min(length, most) for length in lengths_N) / sum(lengths_N) for most in range(max(lengths_N) + 1)]
    assert read[found.enough] >= 0.95
    shorter = [most for most in lengths_N if most < found.enough]
    assert all(read[most] < 0.95 for most in shorter)


def test_one_huge_text_is_no_reason_to_read_more() -> None:
    assert look([*clean_rows(), ("huge " * 100_000, "good")]).findings == ()


def test_unknown_words_are_counted_and_named() -> None:
    found = look(clean_rows(), known=lambda word: not word.endswith(("1", "2", "3", "4")))
    finding = the(found)
    assert (finding.kind, finding.severity) == ("unknown words", "serious")
    assert found.unknown
    assert found.unknown.share == pytest.approx(0.44, abs=0.01)
    counts = [count for _, count in found.unknown.words]
    assert counts == sorted(counts, reverse=True)
    assert repr(found.unknown.words[0][0]) in finding.example


def test_a_script_without_spaces_is_seen_where_it_is_read_by_words() -> None:
    rows = [(text.replace("word", "很好吃").replace(" ", ""), label) for text, label in clean_rows()]
    found = look(rows)
    assert (the(found).kind, the(found).severity) == ("no spaces", "serious")
    assert "tokenizer: characters" in the(found).remedy
    assert found.understood["script"].startswith("Han ")
    assert look(rows, tokenize=list, reading=Reading(tokenizer="characters"), max_words=1000).unknown
    assert "no spaces" not in kinds(look(rows, reading=Reading(tokenizer="characters")))
    assert look(clean_rows()).understood["script"] == "Latin"


def test_what_helps_against_unknown_words_depends_on_how_texts_are_read() -> None:
    def remedy(**more: object) -> str:
        return the(look(clean_rows(), known=lambda word: "1" not in word, **more)).remedy

    assert "embeddings: learned" in remedy()
    assert "clean: true" not in remedy()
    assert "clean: true" in remedy(reading=Reading(clean=False))
    assert "more texts" in remedy(learned=True)


def test_texts_without_words_are_counted() -> None:
    found = look([*clean_rows(), *[("", "good"), (" ", "bad")] * 5])
    assert (the(found).kind, the(found).how_many) == ("no words", 10)


# --- Near duplicates


def twins(change: Callable[[list[str]], list[str]], length: int = 30) -> list[Row]:
    """Clean rows; half of the test texts are modified training texts."""
    draw = random.Random(0)
    rows = [(text(draw, label, length), label) for label in ("bad", "good") for _ in range(200)]
    for place in range(9, len(rows), 20):
        rows[place] = (" ".join(change(rows[place - 9][0].split())), rows[place][1])
    return rows


def test_near_duplicates_across_splits_are_found_with_what_they_share() -> None:
    found = look(twins(lambda words: [*words[:20], "changed", *words[21:]]))
    finding = the(found)
    assert (finding.kind, finding.severity, finding.how_many) == ("near duplicates", "serious", 20)
    assert "20 of 80 validation and test texts" in finding.what
    assert "at least 70%" in finding.what
    assert "another label" not in finding.what


def test_texts_that_share_half_are_no_near_duplicates() -> None:
    assert look(twins(lambda words: [*words[:15], *reversed(words[15:])])).findings == ()
    assert look(twins(lambda words: words[::-1])).findings == ()


def test_short_texts_are_alike_by_chance() -> None:
    assert "near duplicates" not in kinds(look(twins(lambda words: words, length=4)))


def test_near_duplicates_of_another_label_are_counted() -> None:
    rows = twins(lambda words: [*words, "more"])
    flipped = [(text, "good" if text.endswith("more") else "bad") for text, _ in rows]
    finding = next(each for each in look(flipped).findings if each.kind == "near duplicates")
    assert "20 of them with another label" in finding.what


# --- Leaks


def leaking(share: float, others: int = 0) -> list[Row]:
    rows = clean_rows(1000)
    with_it = [place for place, (_, label) in enumerate(rows) if label == "good" and place % 10 / 10 < share]
    with_it += [place for place, (_, label) in enumerate(rows) if label == "bad"][:others]
    return [(f"{text} rated-5" if place in set(with_it) else text, label) for place, (text, label) in enumerate(rows)]


def test_a_word_that_alone_gives_the_label_is_named() -> None:
    finding = the(look(leaking(1)))
    assert (finding.kind, finding.severity, finding.how_many) == ("leaks", "serious", 500)
    assert "'rated-5' ('good')" in finding.what


def test_a_word_of_half_a_class_or_of_both_classes_is_no_leak() -> None:
    assert look(leaking(0.5)).findings == ()
    assert look(leaking(1, others=50)).findings == ()


def test_texts_that_name_their_class_are_seen_among_few_texts_of_many_classes_too() -> None:
    draw = random.Random(0)
    names = [f"topic {one} {other}" for one in WORDS[:8] for other in WORDS[8:16]]
    rows = [(f"{text(draw, 'good')} {name if draw.random() < 0.8 else ''}", name) for name in names for _ in range(10)]
    draw.shuffle(rows)
    finding = next(each for each in look(rows).findings if each.kind == "names in texts")
    assert (finding.severity, finding.how_many) == ("serious", pytest.approx(512, abs=30))
    shuffled = [(text, label) for (text, _), (_, label) in zip(rows, [*rows[1:], rows[0]], strict=True)]
    assert "names in texts" not in kinds(look(shuffled))


def test_texts_of_several_classes_count_for_each_of_them() -> None:
    rows = [
        (f"{text} rated-5" if label == "good" else text, f"{label};urgent" if place % 3 else label)
        for place, (text, label) in enumerate(clean_rows(600))
    ]
    names = sorted({label for _, label in rows})
    sets = LabelSets.of(Texts(tuple(names), [(text, names.index(label)) for text, label in rows]), ";")
    splits = {name: sets.examples[start::10] for start, name in ((8, "val"), (9, "test"))}
    splits["train"] = [each for place, each in enumerate(sets.examples) if place % 10 < 8]
    found = inspect(splits, sets, name="mine", tokenize=str.split, vocabulary=None, max_words=[100])
    assert [(each.name, each.total) for each in found.classes] == [("bad", 300), ("good", 300), ("urgent", 400)]
    assert [found.count(split) for split in ("train", "val", "test")] == [480, 60, 60]
    assert found.majority_share == pytest.approx(2 / 3)
    assert (the(found).kind, the(found).how_many) == ("leaks", 300)


def test_the_page_lists_every_finding() -> None:
    """Collects the kinds of all findings in the sources."""
    folder = Path(data.__file__).parent
    sources = [path.read_text("utf-8") for path in (*folder.glob("inspecting/*.py"), folder / "inspection.py")]
    made = {kind for source in sources for kind in re.findall(r'Finding\(\s*"([^"]+)"', source)}
    page = (folder.parent / "docs" / "your-own-data.md").read_text("utf-8")
    assert len(made) > 10
    assert made <= set(re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE))


# --- What was understood of a file


def test_what_reading_changed_is_said() -> None:
    understood = Understood(
        format="csv", text_column="review", label_column="stars", columns=("id", "review", "stars"), num_rows=410,
        num_control_characters=7, num_duplicates=3, num_contradictions=5, num_contradictory=12, dropped={"rare": 2},
    )  # fmt: skip
    found = look(clean_rows(), understood=understood)
    assert kinds(found) == ["contradictions", "control characters", "rare classes"]
    assert [finding.how_many for finding in found.findings] == [5, 7, 2]
    said = "\n".join(inspected.lines(found))
    assert "column 'review'" in said
    assert "not used" in said
    assert "3 removed" in said
    assert inspected.how_read(found) == "file: csv; texts: column 'review'; labels: column 'stars'"
    assert inspected.how_read(look(clean_rows())) == ""


def test_the_worst_comes_first_and_all_of_it_is_kept_as_json() -> None:
    found = look(leaking(1), max_words=5, known=lambda word: not word.endswith("7"), blocked="no class has two texts")
    places = [SEVERITIES.index(finding.severity) for finding in found.findings]
    assert places == sorted(places)
    assert len(set(places)) > 1
    assert Inspection.from_json(found.to_json()) == found
    assert all("\n" not in line and len(line) < 600 for line in inspected.lines(found))
    narrow = list(inspected.lines(found, width=60))
    assert all(len(line) <= 60 for line in narrow)
    assert "".join("".join(narrow).split()) == "".join("".join(inspected.lines(found)).split())


def test_the_short_form_says_what_is_serious_and_where_the_rest_is() -> None:
    rows = [(text, label) for text, label in leaking(1) if label == "good" or "1" in text]
    *serious, rest = inspected.short(look([*rows, *[(" ", "bad")] * 10]), "bakeoff data mine.csv")
    assert any("'rated-5'" in line and "To do: " in line for line in serious)
    assert "bakeoff data mine.csv" in rest


# --- The command, Python, a search


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(
            [("text", "label"), *clean_rows(200), *[("film " * 4 + str(n), "fine") for n in range(9)]]
        )
    return path


def test_the_command_shows_a_file_that_cannot_be_searched(file: Path) -> None:
    done = CliRunner().invoke(app, ["data", str(file)])
    assert done.exit_code == 0, done.output
    assert "209 texts of 3 classes" in done.output
    assert "blocking" in done.output
    assert "'fine'" in done.output


@pytest.mark.parametrize(
    ("change", "kind", "remedy"),
    [
        (lambda place, text, label: (text, str(float(label == "good")) if place % 3 else str(int(label == "good"))),
         "labels alike", 'labels: {"0": "0.0", "1": "1.0"}'),
        (lambda place, text, label: (text.replace(" ", "\0", 1), label), "control characters", "encoding"),
        (lambda place, text, label: (text if place % 50 else "the same text", label), "contradictions", "majority"),
        (lambda place, text, label: ("so " * 400 + text, label), "cut", "max_words: "),
        (lambda place, text, label: (text.replace("word", "好吃").replace(" ", ""), label), "no spaces", "characters"),
    ],
)  # fmt: skip
def test_what_files_of_people_are_told(
    tmp_path: Path, change: Callable[[int, str, str], Row], kind: str, remedy: str
) -> None:
    rows = [change(place, text, label) for place, (text, label) in enumerate(clean_rows())]
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *rows])
    found = data.inspect(str(path), embeddings="learned", cache=tmp_path, progress=False)
    finding = next(each for each in found.findings if each.kind == kind)
    assert finding.severity == "serious"
    assert remedy in finding.remedy
    assert any(finding.what in line for line in inspected.short(found, "bakeoff data mine.csv"))


def test_the_command_takes_a_corpus_by_name_and_keys_of_the_spec() -> None:
    done = CliRunner().invoke(app, ["data", "rotten-tomatoes", "--set", "limit=400", "--set", "max_words=5"])
    assert done.exit_code == 0, done.output
    assert "400 texts of 2 classes (320 train, 40 val, 40 test)" in done.output
    assert "max_words 5 cuts" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such.csv"], "error: no spec, file or corpus 'no-such.csv'"),
        (["imbd"], "(did you mean 'imdb'?)"),
        (["imdb", "--set", "max_wordz=5"], "unknown key 'max_wordz' (did you mean 'max_words'?)"),
    ],
)
def test_a_wrong_call_is_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["data", *arguments])
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1


def test_a_wrong_file_is_told_without_the_place_of_a_shipped_spec(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["data", str(tmp_path)]).stderr
    assert answer.startswith(f"error: csv: {tmp_path} is a folder, not a file")


def test_the_same_from_python(file: Path) -> None:
    look = bakeoff.data(file, progress=False)
    assert look.findings["severity"].iloc[0] == "blocking"
    assert look.classes["all"].sum() == 209
    assert "209 texts" in repr(look)


def test_what_was_found_out_once_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *[("the " + text, label) for text, label in clean_rows(200)]])
    first = data.inspect(f"csv:{path}", cache=tmp_path, progress=False)
    (kept,) = (tmp_path / "inspected").iterdir()
    monkeypatch.setattr("data.inspection.inspect", None)
    assert data.inspect(f"csv:{path}", cache=tmp_path, progress=False) == first
    kept.write_text("{")
    with pytest.raises(TypeError):  # looked at again
        data.inspect(f"csv:{path}", cache=tmp_path, progress=False)
    with pytest.raises(UserError):
        data.inspect("csv:nowhere.csv", cache=tmp_path)


def test_a_search_says_what_is_serious_and_keeps_all_of_it(smoke_search: FinishedSearch) -> None:
    assert "max_words 30 cuts" in smoke_search.output
    client = mlflow.MlflowClient(smoke_search.uri)
    (experiment,) = client.search_experiments(filter_string="name = 'smoke'")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'search'")
    text, record = (
        Path(client.download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")
        for name in (inspected.FILE, inspected.RECORD)
    )
    assert text.startswith("imdb: 800 texts of 2 classes (640 train, 80 val, 80 test)")
    assert Inspection.from_json(record).findings[0].kind == "cut"
