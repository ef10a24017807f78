"""Typical inputs of users: each is read, or rejected with a one-line message that says what to do."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data
from data.base.errors import UserError
from data.base.reading import BEFORE, Reading
from data.base.splitting import Division
from data.corpora.files import File, read_rows
from data.corpora.opening import likely_encoding
from search.spec import read as specs

Row = tuple[str, str]
WORDS = {"good": "quick friendly help and a card that works", "bad": "slow answers lost money and nobody cares"}


def rows(*classes: str, each: int = 30) -> list[Row]:
    """Texts of this number of classes, in random order."""
    draw = random.Random(7)
    words = WORDS["good"].split() + WORDS["bad"].split()
    made = [(f"{' '.join(draw.choices(words, k=6))} {n} of {label}", label) for label in classes for n in range(each)]
    draw.shuffle(made)
    return made


BASE = rows("bad", "good")


def table(rows: Any, header: Any = ("text", "label"), **how: Any) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, **how)
    writer.writerows([header] * (header is not None) + list(rows))
    return out.getvalue()


def read(path: Path, content: str | bytes | None = None, **reading: Any) -> Division:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return data.read(str(path), reading=Reading(**reading))


def told(path: Path, content: str | bytes | None = None, **reading: Any) -> str:
    """The one-line message that a user sees."""
    with pytest.raises(UserError) as caught:
        read(path, content, **reading)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def texts_of(division: Division) -> list[Row]:
    named = division.texts.classes
    return sorted((text, named[label]) for split in division.splits.values() for text, label in split)


# --- Columns


@pytest.mark.parametrize("header", [("Text", "LABEL"), ("sentence", "sentiment"), ("Review", "class"), ("v", "label")])
def test_columns_with_usual_names_or_given_ones_are_found_and_named(tmp_path: Path, header: Row) -> None:
    given = {"text_column": "v"} if "v" in header else {}
    division = read(tmp_path / "own.csv", table(BASE, header), **given)
    assert texts_of(division) == sorted(BASE)
    assert (division.understood.text_column, division.understood.label_column) == header


def test_of_two_candidates_the_user_is_asked(tmp_path: Path) -> None:
    content = table([(t, t, x) for t, x in BASE], ("review", "content", "label"))
    message = told(tmp_path / "own.csv", content)
    assert message.endswith("has several columns that may be the text: set text_column to one of 'review', 'content'")
    assert texts_of(read(tmp_path / "own.csv", text_column="content")) == sorted(BASE)
    assert texts_of(read(tmp_path / "own.csv", text_column=2)) == sorted(BASE)
    assert "has no column 'contents' (did you mean 'content'?)" in told(tmp_path / "own.csv", text_column="contents")
    assert "text_column: should be from 1 to 3, the columns of " in told(tmp_path / "own.csv", text_column=4)


def test_a_first_line_like_data_is_said_and_columns_have_numbers(tmp_path: Path) -> None:
    message = told(tmp_path / "own.csv", table(BASE, None))
    assert "the first line looks like data" in message
    assert "header: false" in message
    assert "numbers of its columns, from 1 to 2" in told(tmp_path / "own.csv", header=False)
    division = read(tmp_path / "own.csv", header=False, text_column=1, label_column=2)
    assert texts_of(division) == sorted(BASE)


# --- Separators and encodings


@pytest.mark.parametrize(("separator", "name"), [("\t", "tab"), (";", "semicolon"), ("|", "bar"), (",", "comma")])
def test_the_separator_is_found_and_named(tmp_path: Path, separator: str, name: str) -> None:
    written = [(text.replace(" ", ", ", 1), label) for text, label in BASE]
    division = read(tmp_path / "own.txt", table(written, delimiter=separator))
    assert texts_of(division) == sorted(written)
    assert division.understood.separator == name


@pytest.mark.parametrize(("mark", "encoding"), [("sep=;", "utf-8"), ('"sep=;"', "utf-8-sig"), ("sep=;", "cp1252")])
def test_the_separator_that_excel_is_told_is_no_header(tmp_path: Path, mark: str, encoding: str) -> None:
    path, named = tmp_path / "own.csv", {"encoding": encoding} if encoding == "cp1252" else {}
    rows = [(f"café, {text}", label) for text, label in BASE]
    division = read(path, f"{mark}\r\n{table(rows, delimiter=';')}".encode(encoding), **named)
    assert texts_of(division) == sorted(rows)
    assert division.understood.separator == "semicolon"
    assert "line 4: 1 cells" in told(path, "sep=;\ntext;label\na;b\nc\n")


def test_a_column_by_its_number_whose_name_is_a_label_is_asked_about(tmp_path: Path) -> None:
    path, places = tmp_path / "own.csv", {"text_column": 1, "label_column": 2}
    assert "the name of column 2, 'good', is a label too" in told(path, table(BASE, (*BASE[0][:1], "good")), **places)
    assert texts_of(read(path, table(BASE, None), header=False, **places)) == sorted(BASE)
    assert texts_of(read(path, table(BASE, ("a", "b")), **places)) == sorted(BASE)


def test_quotes_between_tabs_are_of_the_text_unless_they_fit(tmp_path: Path) -> None:
    written = [(f'"{text}" she said', label) for text, label in BASE]
    plain = "".join(f"{label}\t{text}\n" for text, label in written)
    assert texts_of(read(tmp_path / "own.tsv", "label\ttext\n" + plain)) == sorted(written)
    assert texts_of(read(tmp_path / "own.tsv", table(written, delimiter="\t"))) == sorted(written)
    # A comma in each line, and nothing that names a tab.
    odd = [(f'"{text}" she said, yes', label) for text, label in BASE]
    plain = "".join(f"{label}\t{text}\n" for text, label in odd)
    assert texts_of(read(tmp_path / "SMS", plain, header=False, text_column=2, label_column=1)) == sorted(odd)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_an_encoding_with_a_mark_is_read(tmp_path: Path, encoding: str) -> None:
    written = [(f"{text} é 好", label) for text, label in BASE]
    assert texts_of(read(tmp_path / "own.csv", table(written).encode(encoding))) == sorted(written)


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, b"\xd0\xcf\x11\xe0" + bytes(5000), bytes(5000)],
    ids=["image", "spreadsheet", "zeros"],
)
def test_what_is_no_text_is_not_taken_for_another_encoding(tmp_path: Path, content: bytes) -> None:
    message = told(tmp_path / "own.csv", content)
    assert message.endswith("does not look like a file of texts; save the table of a document or spreadsheet as CSV")


def test_another_encoding_is_told_with_its_line_and_read_when_given(tmp_path: Path) -> None:
    written = [(f"{text} café £5", label) for text, label in BASE]
    content = table(written).encode("latin-1")
    assert "line 2: byte 0xe9 is not UTF-8; it looks like latin-1: set encoding: latin-1" in told(
        tmp_path / "own.csv", content
    )
    assert texts_of(read(tmp_path / "own.csv", encoding="latin-1")) == sorted(written)
    assert "unknown encoding 'latin-11'" in told(tmp_path / "own.csv", encoding="latin-11")
    assert "looks like utf-16-le without a byte order mark" in told(
        tmp_path / "own.csv", table(written).encode("utf-16-le")
    )


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("windows-1252", "the card works \u2013 café"),
        ("windows-1251", "карта работает хорошо и быстро"),
        ("windows-1255", "הכרטיס עובד טוב ומהר"),
        ("windows-1253", "η κάρτα λειτουργεί καλά"),
        ("gb18030", "味道不错，下次再点"),
        ("shift_jis", "とても美味しいです"),
        ("euc-kr", "정말 맛있어요"),
    ],
)
def test_the_likely_encoding_is_named(encoding: str, text: str) -> None:
    assert likely_encoding(f"text,label\n{text},good\n".encode(encoding)) == encoding


def test_control_characters_become_spaces_and_are_counted(tmp_path: Path) -> None:
    division = read(tmp_path / "own.csv", table([(text.replace(" ", "\0", 1), label) for text, label in BASE]))
    assert texts_of(division) == sorted(BASE)
    assert division.understood.num_control_characters == len(BASE)


# --- Formats


def records(rows: list[Row]) -> list[dict[str, str]]:
    return [{"text": text, "label": label} for text, label in rows]


PACKED: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
WRITTEN = {
    "jsonl": "".join(json.dumps(each) + "\n" for each in records(BASE)),
    "array": json.dumps(records(BASE), indent=1),
    "columns": json.dumps({"text": [t for t, _ in BASE], "label": [x for _, x in BASE]}),
    "pandas": json.dumps(
        {"text": {n: t for n, (t, _) in enumerate(BASE)}, "label": {n: x for n, (_, x) in enumerate(BASE)}}
    ),
    "wrapped": json.dumps({"version": 2, "data": records(BASE)}),
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("name", ["own.json", "own.txt"])
def test_json_is_read(tmp_path: Path, form: str, name: str) -> None:
    division = read(tmp_path / name, WRITTEN[form])
    assert texts_of(division) == sorted(BASE)
    assert division.understood.format == ("jsonl" if form == "jsonl" else "json")


@pytest.mark.parametrize("as_lines", [True, False])
def test_objects_in_json_objects_are_columns(tmp_path: Path, as_lines: bool) -> None:
    objects = [{"id": n, "data": {"text": t, "by": {"name": ""}}, "label": {"is": x}} for n, (t, x) in enumerate(BASE)]
    content = "\n".join(map(json.dumps, objects)) if as_lines else json.dumps(objects)
    assert "text_column to one of 'id', 'data.text', 'data.by.name', 'label.is'" in told(tmp_path / "own.json", content)
    division = read(tmp_path / "own.json", text_column="data.text", label_column="label.is")
    assert texts_of(division) == sorted(BASE)


def test_nothing_in_json_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    assert "an empty label in line 1, 2;" in told(path, '{"text": "a", "label": NaN}\n{"text": "b", "label": null}\n')
    assert "line 1: not JSON: Expecting ':' delimiter at character 22" in told(path, '{"text": "a", "label"\n')
    for empty in ("", " \n"):
        assert "is empty" in told(tmp_path / "own.json", empty)


def test_json_numbers_stay_as_they_are_written_and_lines_are_told(tmp_path: Path) -> None:
    made = [f'{{"text": {json.dumps(t)}, "label": {"1.0" if x == "good" else "0"}}}' for t, x in BASE]
    assert read(tmp_path / "own.jsonl", "\n".join(made)).texts.classes == ("0", "1.0")
    assert "line 2: not JSON:" in told(tmp_path / "own.jsonl", "\n".join([made[0], made[1][:-5], *made[2:]]))
    assert "empty text in line 3;" in told(tmp_path / "own.jsonl", "\n".join([*made[:2], '{"label": 1}', *made[2:]]))


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_packed_files_are_read_and_cut_off_ones_told(tmp_path: Path, how: str, form: str) -> None:
    content = PACKED[how]((WRITTEN["jsonl"] if form == "jsonl" else table(BASE)).encode())
    division = read(tmp_path / f"own.{form}.{how}", content)
    assert texts_of(division) == sorted(BASE)
    assert division.understood.compression == how
    assert "damaged or truncated" in told(tmp_path / f"own.{form}.{how}", content[:-40])


def test_a_tar_archive_is_told_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(table(BASE))
    with tarfile.open(tmp_path / "own.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "own.csv", "own.csv")
    assert "is a tar archive: extract it" in told(tmp_path / "own.tar.gz")


def test_a_zip_of_one_file_is_read(tmp_path: Path) -> None:
    for number in (1, 2):
        with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
            for name in (".DS_Store", "a.csv", "b.csv")[: number + 1]:
                archive.writestr(name, table(BASE))
        if number == 1:
            assert texts_of(read(tmp_path / "own.zip")) == sorted(BASE)
    assert "should hold one file; it holds 2" in told(tmp_path / "own.zip")


def arrow_table(rows: list[Row], *, as_class: bool = False) -> pa.Table:
    labels: Any = [("bad", "good").index(label) for _, label in rows] if as_class else [label for _, label in rows]
    return pa.table({"id": range(len(rows)), "text": [text for text, _ in rows], "label": labels})


FEATURES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["bad", "good"], "_type": "ClassLabel"}}


def test_a_packed_parquet_file_is_told_to_be_unpacked(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": ["b"]}), tmp_path / "own.parquet")
    packed = gzip.compress((tmp_path / "own.parquet").read_bytes())
    assert "is a Parquet or Arrow file compressed as gz: decompress it" in told(tmp_path / "own.parquet.gz", packed)


def test_parquet_and_arrow_files_are_read(tmp_path: Path) -> None:
    pq.write_table(arrow_table(BASE), tmp_path / "own.parquet")
    feather.write_feather(arrow_table(BASE), tmp_path / "own.feather")
    named = json.dumps({"info": {"features": FEATURES}})  # as `datasets` writes it
    pq.write_table(arrow_table(BASE, as_class=True).replace_schema_metadata({"huggingface": named}), tmp_path / "hub")
    for name in ("own.parquet", "own.feather", "hub"):
        assert texts_of(read(tmp_path / name)) == sorted(BASE)
    cut = (tmp_path / "own.parquet").read_bytes()[:-30]
    assert "cannot read" in told(tmp_path / "own.parquet", cut)


def save_dataset(folder: Path, rows: list[Row]) -> None:
    """Saves a dataset in two files, as `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    made, files = arrow_table(rows, as_class=True), []
    for number, part in enumerate((made[: len(rows) // 2], made[len(rows) // 2 :])):
        files.append({"filename": f"data-0000{number}-of-00002.arrow"})
        with pa.OSFile(str(folder / files[-1]["filename"]), "wb") as file, pa.ipc.new_stream(file, made.schema) as out:
            out.write_table(part, max_chunksize=7)
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": "train"}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


def test_folders_that_datasets_saved_are_read(tmp_path: Path) -> None:
    save_dataset(tmp_path / "one", BASE)
    assert texts_of(read(tmp_path / "one")) == sorted(BASE)
    for split, part in {"train": BASE[:50], "test": BASE[50:], "unsupervised": BASE[:3]}.items():
        save_dataset(tmp_path / "several" / split, part)
    (tmp_path / "several" / "dataset_dict.json").write_text('{"splits": ["train", "test", "unsupervised"]}')
    division = read(tmp_path / "several")
    assert texts_of(division) == sorted(BASE)
    assert {text for text, _ in division.splits["test"]} == {text for text, _ in BASE[50:]}
    assert File(tmp_path / "one").fingerprint() != File(tmp_path / "several").fingerprint()
    assert "was not written by save_to_disk of `datasets`" in told(tmp_path)


# --- Splits


def test_a_split_column_is_used_and_said(tmp_path: Path) -> None:
    named = [(t, x, ("Train", "validation", "test")[(i % 10 > 5) + (i % 10 > 7)]) for i, (t, x) in enumerate(BASE)]
    division = read(tmp_path / "own.csv", table(named, ("text", "label", "Split")))
    assert division.understood.split_column == "Split"
    for split, name in (("train", "Train"), ("val", "validation"), ("test", "test")):
        assert {text for text, _ in division.splits[split]} == {t for t, _, each in named if each == name}
    assert read(tmp_path / "own.csv", split_column="none").understood.split_column == ""
    other = [(t, x, f"fold {i % 3}") for i, (t, x) in enumerate(BASE)]
    assert read(tmp_path / "own.csv", table(other, ("text", "label", "split"))).understood.split_column == ""
    assert "split_column is the column of texts or labels" in told(tmp_path / "own.csv", split_column="label")
    message = told(tmp_path / "own.csv", split_column="split")
    assert "line 2: the split should be train, val or test; got 'fold 0'" in message


def test_leaving_out_all_classes_is_no_advice(tmp_path: Path) -> None:
    for what in (None, "drop", "merge"):
        message = told(tmp_path / "own.csv", table(BASE[:12]), min_examples=what)
        assert "too few examples of 2 classes: 'bad' (" in message
        assert "min_examples" not in message
    assert "min_examples" in told(tmp_path / "own.csv", table([*BASE, ("rare", "rare")]))


def test_what_is_wrong_with_a_given_split_is_not_mended_by_more_texts(tmp_path: Path) -> None:
    rows = [(*row, "test" if row[1] == "good" and number % 4 == 0 else "train") for number, row in enumerate(BASE)]
    message = told(tmp_path / "own.csv", table(rows, ("text", "label", "split")))
    assert "class 'bad' (30, of which 0 in test)" in message
    assert "write split_column: none to divide all texts anew" in message
    assert "are enough" not in message


def test_a_folder_of_files_names_them(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for name in ("train.csv", "test.csv"):
        (tmp_path / "own" / name).write_text(table(BASE))
    assert told(tmp_path / "own").endswith("; name a file in it: test.csv, train.csv")


def test_a_file_of_its_own_is_the_test_split(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text(table([(x, t) for t, x in BASE[:12]], ("class", "review"), delimiter="\t"))
    division = read(tmp_path / "own.csv", table(BASE[12:]), test=f"csv:{tmp_path / 'test.tsv'}")
    assert {text for text, _ in division.splits["test"]} == {text for text, _ in BASE[:12]}
    assert texts_of(division) == sorted(BASE)


# --- Labels


def test_labels_stay_apart_and_are_merged_when_told(tmp_path: Path) -> None:
    numbers = [(t, x) for t, x in rows("0", "0.0", "1", "1.0")]
    assert read(tmp_path / "own.csv", table(numbers)).texts.classes == ("0", "0.0", "1", "1.0")
    merged = read(tmp_path / "own.csv", labels={"1.0": "1", "0.0": "0"})
    assert merged.texts.classes == ("0", "1")
    assert texts_of(merged) == sorted((t, x[0]) for t, x in numbers)
    assert "has no class '1.00' (did you mean '1.0'?)" in told(tmp_path / "own.csv", labels={"1.00": "1"})
    several = [(t, f"{x};urgent" if i % 2 else x) for i, (t, x) in enumerate(rows("bad", "good", each=99))]
    division = read(tmp_path / "own.csv", table(several), multi_label=";", labels={"urgent": "now"})
    assert division.texts.learned_classes == ("bad", "good", "now")


@pytest.mark.parametrize("labels", [("[/INST]", "[INST]"), ("NA", "None"), ("null", "nan"), ("[bold]", "{}")])
def test_any_label_is_a_label(tmp_path: Path, labels: Row) -> None:
    division = read(tmp_path / "own.csv", table(rows(*labels)))
    assert {*division.texts.classes} == {*labels}
    assert texts_of(division) == sorted(rows(*labels))


def test_contradictory_texts_are_counted_apart(tmp_path: Path) -> None:
    odd = [("the same text", "good")] * 9 + [("The same text.", "bad")]
    content = table([*BASE, *odd])
    dropped = read(tmp_path / "own.csv", content)
    assert texts_of(dropped) == sorted(BASE)
    counts = dropped.understood
    assert (counts.num_contradictions, counts.num_contradictory, counts.num_duplicates) == (1, 10, 0)
    kept = read(tmp_path / "own.csv", contradictions="majority")
    assert [label for text, label in texts_of(kept) if text.lower().startswith("the same")] == ["good"]
    everything = [*BASE, *((t, "good" if x == "bad" else "bad") for t, x in BASE)]
    assert f"each of its {len(BASE)} different texts has several labels" in told(
        tmp_path / "own.csv", table(everything)
    )


def test_near_duplicates_are_one_text_unless_told(tmp_path: Path) -> None:
    ends = ("", " ", "  ", "\r\n", "!", ".")
    doubled = [(t.upper() if end == "!" else t + end, x) for t, x in BASE for end in ends]
    division = read(tmp_path / "own.csv", table(doubled))
    assert len(texts_of(division)) == len(BASE)
    assert division.understood.num_duplicates == 5 * len(BASE)
    assert division.understood.num_near_duplicates == 5 * len(BASE)
    assert len(texts_of(read(tmp_path / "own.csv", duplicates="exact"))) == len(doubled)


def test_rare_classes_are_all_named_dropped_or_merged(tmp_path: Path) -> None:
    few = [(f"{label} {n}", label) for label in ("odd [1]", "rare", "scarce") for n in range(6)]
    message = told(tmp_path / "own.csv", table([*BASE, *few]))
    assert all(f"{label!r} (6, of which 1 in val)" in message.replace("in test", "in val") for _, label in few)
    assert "min_examples: drop" in message
    dropped = read(tmp_path / "own.csv", min_examples="drop")
    assert texts_of(dropped) == sorted(BASE)
    assert dropped.understood.dropped == {"odd [1]": 6, "rare": 6, "scarce": 6}
    merged = read(tmp_path / "own.csv", min_examples="merge")
    assert merged.texts.classes == ("bad", "good", "other")
    assert texts_of(merged) == sorted([*BASE, *((t, "other") for t, _ in few)])
    assert [*merged.understood.merged] == ["odd [1]", "rare", "scarce"]


# --- Paths, keys, prediction


def test_any_path_is_a_corpus_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my reviews #2, v: 1" / "reviews.csv"
    path.parent.mkdir()
    path.write_text(table(BASE))
    monkeypatch.chdir(tmp_path)
    relative = "my reviews #2, v: 1/reviews.csv"
    for name in (relative, f"csv:{relative}", str(path)):
        spec = specs.freeze(specs.read("csv", [f"corpus={name}", "separator=,", "label_column=label"]))
        assert spec.corpus == f"csv:{path}"
        assert texts_of(data.read(spec.corpus, reading=spec.reading)) == sorted(BASE)
        assert texts_of(data.read(specs.load(specs.dump(spec), "spec").corpus)) == sorted(BASE)
    with pytest.raises(UserError, match=r"no file my reviews/none.csv"):
        specs.read("csv", ["corpus=my reviews/none.csv"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("separator=ab", "separator: should be one character"),
        ("encoding=lattin-1", "unknown encoding 'lattin-1' .did you mean 'latin1'"),
        ("duplicates=fold", "duplicates: unknown 'fold' .did you mean 'folded'"),
        ("test=nowhere.csv", "no file nowhere.csv"),
    ],
)
def test_keys_of_reading_are_checked(tmp_path: Path, override: str, message: str) -> None:
    (tmp_path / "own.csv").write_text(table(BASE))
    with pytest.raises(UserError, match=message):
        specs.read("csv", [f"corpus={tmp_path / 'own.csv'}", override])


def test_a_kept_spec_means_what_was_done_in_its_time() -> None:
    spec = specs.load("corpus: csv:gone.csv\narchitectures: [gru]\n", "spec.yaml")
    assert spec.reading.key == []
    assert {name: getattr(spec.reading, name) for name in BEFORE} == BEFORE
    assert Reading().key != []
    assert Reading(test="csv:a.csv").key == Reading().key  # the test corpus has a fingerprint


def test_a_file_to_predict_keeps_its_rows_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b"id,text,label\n1,the card works well,good\n2,nobody answered, bad\n\n3,the help was quick,\n")
    found = read_rows(path)
    assert (found.columns, found.text, found.label) == (("id", "text", "label"), 1, 2)
    assert [cells[:1] for cells in found.cells] == [["1"], ["2"], [], ["3"]]
    path.write_text("anything\nthe card, which works\nand another\n")
    assert read_rows(path).cells == [["the card, which works"], ["and another"]]
    assert read_rows(path).label is None


# --- Anything


def complaint(path: Path, reading: Reading) -> str | None:
    try:
        data.read(str(path), reading=reading)
    except UserError as error:
        return str(error)
    return None


def pieces(*each: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(each), max_size=40).map(b"".join)


MARKS = [
    b"\xff\xfe",
    b"\xfe\xff\0t",
    b"\xef\xbb\xbf",
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"ARROW1\0\0",
    b"PAR1",
]
HEADERS = [
    b"",
    b"text,label\n",
    b"label\ttext\n",
    b"text;label\r",
    b'{"text": "a", "label": "b"}\n',
    b'[{"text": "a"}, ',
    b"[",
]
CUT_OFF = gzip.compress(b"text,label\na,b\n")[:-4]
beginnings = st.sampled_from([*MARKS, *HEADERS, CUT_OFF, table(BASE).encode(), WRITTEN["jsonl"].encode()])
bodies = st.one_of(
    st.binary(max_size=60),
    pieces(b'"', b",", b"\n", b"\r", b"\t", b";", b"a", b"1", b" ", b"\0", b"\xff", b"\xc3\xa9", b"\x1b"),
    pieces(b"{", b"}", b"[", b"]", b'"text"', b'"label"', b":", b",", b"1e999", b"null", b"\n", b'"\\ud800"', b"-"),
)
readings = st.builds(
    Reading,
    text_column=st.sampled_from([None, None, 1, 2, "text", "zzz"]),
    label_column=st.sampled_from([None, None, 2, "label"]),
    header=st.sampled_from([True, True, False]),
    encoding=st.sampled_from([None, None, "latin-1", "utf-16", "utf-7", "idna", "unicode_escape"]),
    separator=st.sampled_from([None, None, ",", "\t", "x"]),
    min_examples=st.sampled_from([None, "drop", "merge"]),
)
PACKING = [bytes, *PACKED.values()]


def check_any_file(folder: Path, beginning: bytes, body: bytes, reading: Reading, pack: Callable[..., bytes]) -> None:
    path = folder / "own.data"
    path.write_bytes(pack(beginning + body))
    message = complaint(path, reading)
    assert message is None or (len(message.splitlines()) == 1 and len(message) < 600), message


any_file = given(beginnings, bodies, readings, st.sampled_from(PACKING))
fuzz = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@any_file
@settings(max_examples=300, **fuzz)  # type: ignore[arg-type]
def test_any_file_is_read_or_told_in_one_line(
    tmp_path: Path, beginning: bytes, body: bytes, reading: Reading, pack: Callable[..., bytes]
) -> None:
    check_any_file(tmp_path, beginning, body, reading, pack)


@pytest.mark.slow
@any_file
@settings(max_examples=4000, **fuzz)  # type: ignore[arg-type]
def test_thousands_of_files_are_read_or_told_in_one_line(
    tmp_path: Path, beginning: bytes, body: bytes, reading: Reading, pack: Callable[..., bytes]
) -> None:
    check_any_file(tmp_path, beginning, body, reading, pack)
