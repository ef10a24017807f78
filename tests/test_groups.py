"""Dividing texts by group or by time: no author in two splits, no future texts in training."""

import csv
import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import data
from bakeoff.__main__ import app
from data.base import holding_out
from data.base.errors import UserError
from data.base.reading import USUAL, Reading
from data.base.splitting import Division, split_examples
from data.base.texts import SPLITS, Texts
from data.corpora.table import Others
from data.corpora.times import moments
from data.inspecting.columns import findings, of_splits
from search.spec.spec import Spec

GROUPS, TIMES = Reading(group_column="author"), Reading(time_column="date")

#: Class, group and time of every text.
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 100)), min_size=60, max_size=300)


def texts_of(rows: list[tuple[int, int, int]], order: list[int], **more: bool) -> Texts:
    """Texts with these classes, groups and times; group 0 means no group."""
    examples = [(f"text {place}", rows[place][0]) for place in order]
    groups = {f"text {place}": f"user {group}" for place, (_, group, _) in enumerate(rows) if group}
    times = {f"text {place}": float(time) for place, (_, _, time) in enumerate(rows)}
    return Texts(
        ("a", "b", "c")[: 1 + max(label for label, _, _ in rows)],
        examples,
        group_of=groups if more.get("groups") else {},
        time_of=times if more.get("times") else {},
    )


def divide(texts: Texts, reading: Reading, limit: int | None = None, seed: int = 0) -> Division | None:
    """The division; None if it is impossible, after checking that the message is one line."""
    try:
        return split_examples(texts, name="mine", limit=limit, seed=seed, reading=reading)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 500
    return None


def splits_of_groups(division: Division) -> dict[str, set[str]]:
    found = defaultdict(set)
    for split, examples in division.splits.items():
        for text, _ in examples:
            if text in division.texts.group_of:
                found[division.texts.group_of[text]].add(split)
    return found


@given(rows, st.randoms(), st.integers(0, 2), st.sampled_from([None, 50]))
def test_no_group_is_in_two_splits_in_any_order_of_rows(
    rows: list[tuple[int, int, int]], random: random.Random, seed: int, limit: int | None
) -> None:
    order = list(range(len(rows)))
    usual = divide(texts_of(rows, order, groups=True), GROUPS, limit, seed)
    random.shuffle(order)
    other = divide(texts_of(rows, order, groups=True), GROUPS, limit, seed)
    assert (usual and usual.splits) == (other and other.splits)
    if usual:
        assert all(len(splits) == 1 for splits in splits_of_groups(usual).values())
        whole = divide(texts_of(rows, order, groups=True), GROUPS, None, seed)
        assert whole
        assert all(set(usual.splits[split]) <= set(whole.splits[split]) for split in SPLITS)
        assert limit or sum(map(len, usual.splits.values())) == len(rows)


@given(rows, st.randoms(), st.booleans(), st.sampled_from([None, 50]))
def test_the_future_is_never_trained_on(
    rows: list[tuple[int, int, int]], random: random.Random, groups: bool, limit: int | None
) -> None:
    order = list(range(len(rows)))
    usual = divide(texts_of(rows, order, times=True, groups=groups), TIMES, limit)
    random.shuffle(order)
    other = divide(texts_of(rows, order, times=True, groups=groups), TIMES, limit)
    assert (usual and usual.splits) == (other and other.splits)
    if usual:
        times = {split: [usual.texts.time_of[text] for text, _ in usual.splits[split]] for split in SPLITS}
        assert max(times["train"]) < min(times["val"]) <= max(times["val"]) < min(times["test"])
        assert all(len(splits) == 1 for splits in splits_of_groups(usual).values())


def test_shares_stay_near_a_tenth_of_each_class() -> None:
    draw = random.Random(0)
    rows = [
        (int(draw.random() < share), author, 0)
        for author in range(1, 300)
        for share in [draw.choice((0.1, 0.2, 0.9))]
        for _ in range(draw.randint(1, 15))
    ]
    texts = texts_of(rows, list(range(len(rows))), groups=True)
    first, second = (divide(texts, GROUPS, seed=seed) for seed in (0, 1))
    assert first
    assert second
    for division in (first, second):
        for label, number in Counter(label for label, _, _ in rows).items():
            for split in ("val", "test"):
                held_out = sum(own == label for _, own in division.splits[split])
                assert held_out == pytest.approx(number / 10, abs=0.01 * number)
    assert len(set(first.splits["test"]) & set(second.splits["test"])) < 0.5 * len(first.splits["test"])


def test_a_large_group_is_trained_on_and_small_ones_are_held_out() -> None:
    rows = [(place % 2, 1 if place < 90 else 2 + place % 3, 0) for place in range(108)]
    division = divide(texts_of(rows, list(range(108)), groups=True), GROUPS)
    assert division
    splits = {group: split for group, (split,) in splits_of_groups(division).items()}
    assert splits["user 1"] == "train"
    assert set(splits.values()) == set(SPLITS)


def test_too_few_groups_or_times_are_one_line() -> None:
    rows = [(place % 2, 1 + place // 50, place // 50) for place in range(100)]
    texts = texts_of(rows, list(range(100)), groups=True)
    with pytest.raises(
        UserError, match="group_column: mine: at least 3 groups are needed, one for each split; there are 2"
    ):
        split_examples(texts, name="mine", limit=None, reading=GROUPS)
    texts = texts_of(rows, list(range(100)), times=True)
    with pytest.raises(
        UserError, match="time_column: mine: at least 3 different times are needed, one for each split; there are 2"
    ):
        split_examples(texts, name="mine", limit=None, reading=TIMES)
    rows = [(group // 5, 1 + group, 0) for group in (0, 0, 1, 1, 2, 2, *[5] * 20)]
    with pytest.raises(UserError, match=r"'b' \(20, of which 0 in .*each of the 4 groups is in one split only"):
        split_examples(texts_of(rows, list(range(26)), groups=True), name="mine", limit=None, reading=GROUPS)
    with pytest.raises(UserError, match="group_column: that column of imdb has no value in any row"):
        split_examples(Texts(("a", "b"), [("x", 0), ("y", 1)]), name="imdb", limit=None, reading=GROUPS)


@pytest.mark.parametrize(
    ("times", "train", "val"),
    [
        ([*range(20)], 16, 18),  # borders before these times
        ([0] * 15 + [1, 1, 2, 2, 2], 1, 2),  # ties: three of 20 to test, two to validate
        ([0] * 10 + [1] * 9 + [2], 1, 2),
        ([0, 1, 2] + [3] * 17, 1, 3),
        ([0] * 18 + [1, 2], 1, 2),
    ],
)
def test_times_by_hand(times: list[int], train: int, val: int) -> None:
    named = {f"text {place}": float(time) for place, time in enumerate(times)}
    split_of = holding_out.by_time(named, ("test", "val"), share=10)
    expected = ["train" if time < train else "val" if time < val else "test" for time in times]
    assert list(split_of.values()) == expected


def test_only_what_has_no_split_yet_is_divided() -> None:
    rows = [(place % 2, 1 + place % 30, place) for place in range(200)]
    texts = texts_of(rows, list(range(200)), times=True)
    given_test = [(f"new {place}", place % 2) for place in range(10)]
    old = {text: -1.0 for text, _ in given_test}
    texts = Texts(texts.classes[:2], texts.examples, given_test, time_of=texts.time_of | old)
    division = split_examples(texts, name="mine", limit=None, reading=TIMES)
    assert set(division.splits["test"]) == set(given_test)
    assert {text for text, _ in division.splits["val"]} == {f"text {place}" for place in range(180, 200)}


def test_equal_texts_of_several_groups_and_times_are_kept_with_the_first() -> None:
    rows = [(place % 2, 1 + place // 5, place) for place in range(200)]
    texts = texts_of(rows, list(range(200)), groups=True, times=True)
    more = [("Text 7!", 1), ("TEXT 7", 1)]
    texts = Texts(
        texts.classes[:2],
        [*texts.examples, *more],
        group_of=texts.group_of | {"Text 7!": "user 1", "TEXT 7": "zoe"},
        time_of=texts.time_of | {"Text 7!": -5.0, "TEXT 7": 999.0},
    )
    for examples in (texts.examples, texts.examples[::-1]):
        division = divide(Texts(texts.classes, examples, group_of=texts.group_of, time_of=texts.time_of), TIMES)
        assert division
        assert (division.texts.group_of["TEXT 7"], division.texts.time_of["TEXT 7"]) == ("user 1", -5.0)
        assert ("TEXT 7", 1) in division.splits["train"]


# --- Times


@pytest.mark.parametrize(
    "written",
    [
        ["2024-01-02", "2024-01-03T10:00:00Z", "2024-01-03T12:00:00+01:00", "2024-02-01 00:00:01.5"],
        ["1999", "2000", "2001"],
        ["20231231", "20240101"],
        ["1704067200", "1704067201.5", "1704153600"],
        ["01/02/2024", "02/02/2024", "25/02/2024", "01/03/2024"],
        ["02/01/2024", "02/13/2024", "03/01/2024"],
        ["31.12.2023 23:59", "01.01.2024 00:00"],
        ["Dec 31, 2023", "Jan 1, 2024"],
        ["31 Dec 2023", "1 Jan 2024"],
        ["Sun, 31 Dec 2023 23:59:00 +0000", "Mon, 01 Jan 2024 00:59:00 +0000"],
        ["Mon Apr 06 22:19:45 +0000 2009", "Tue Apr 07 01:19:45 +0200 2009"],
    ],
)
def test_times_are_ordered_however_they_are_written(written: list[str]) -> None:
    shuffled = random.Random(0).sample(written, len(written))
    found = moments({each: place for place, each in enumerate(shuffled)}, "mine.csv", "line", None)
    assert sorted(found, key=found.__getitem__) == written
    assert len(set(found.values())) == len(written)


@pytest.mark.parametrize(
    ("written", "format", "said"),
    [
        (["03/04/2024", "05/06/2024"], None, "line 2: '03/04/2024' is 4 March 2024 or 3 April 2024; write time_format"),
        (["2024-01-01", "soon"], None, "line 3: 'soon' is not a time; set time_format to"),
        (["2024-01-01", "2024-13-01"], None, "line 3: '2024-13-01' is not a time"),
        (["25/12/2024"], "%m/%d/%Y", "line 2: '25/12/2024' is not a time in time_format: %m/%d/%Y"),
        (["25/12/2024"], "%Q", "time_format: .*; got '%Q'"),
        (["1704067200", "1704067200000"], None, "times in different units, '1704067200' .line 2. and '1704067200000'"),
    ],
)
def test_what_is_no_time_is_one_line(written: list[str], format: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        moments({each: 2 + place for place, each in enumerate(written)}, "mine.csv", "line", format)


def test_a_stated_format_decides() -> None:
    numbers = {"03/04/2024": 2, "01/05/2024": 3}
    by_day, by_month = (moments(numbers, "mine.csv", "line", format) for format in ("%d/%m/%Y", "%m/%d/%Y"))
    assert by_day["03/04/2024"] < by_day["01/05/2024"]
    assert by_month["03/04/2024"] > by_month["01/05/2024"]


# --- A file


def write(path: Path, columns: list[str], rows: list[list[str]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return f"csv:{path}"


def some_rows() -> list[list[str]]:
    """text, label, author, date: 30 authors of 8 texts each, one a day."""
    return [
        [f"text {place} {'good' if place % 2 else 'bad'}", str(place % 2), f"user{place % 30}", f"{2000 + place}-01-01"]
        for place in range(240)
    ]


COLUMNS = ["text", "label", "author", "date"]


def test_the_columns_of_a_file_divide_its_texts(tmp_path: Path) -> None:
    rows = some_rows()
    rows[5][2] = " "  # an unknown author
    corpus = write(tmp_path / "mine.csv", COLUMNS, rows)
    by_group = data.read(corpus, reading=GROUPS)
    assert all(len(splits) == 1 for splits in splits_of_groups(by_group).values())
    assert rows[5][0] not in by_group.texts.group_of
    assert by_group.understood.num_groups == 30
    by_time = data.read(corpus, reading=TIMES)
    assert {text for text, _ in by_time.splits["test"]} == {text for text, *_ in rows[216:]}
    assert {text for text, _ in by_time.splits["val"]} == {text for text, *_ in rows[192:216]}
    numbered = Reading(header=False, text_column=1, label_column=2, group_column=3)
    headless = tmp_path / "headless.csv"
    headless.write_text("\n".join(Path(corpus.removeprefix("csv:")).read_text().splitlines()[1:]))
    assert data.read(str(headless), reading=numbered).splits == by_group.splits
    lines = tmp_path / "mine.jsonl"
    lines.write_text("\n".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows))
    assert data.read(str(lines), reading=GROUPS).splits == by_group.splits
    assert data.read(str(lines), reading=TIMES).splits == by_time.splits


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(group_column="auther"), "no column 'auther' .did you mean 'author'"),
        (Reading(group_column="label"), "group_column is the column of the labels"),
        (Reading(time_column="text"), "time_column is the column of the texts"),
        (Reading(time_column="author"), "line 2: 'user0' is not a time"),
        (Reading(time_format="%Y"), "time_format is for the times of time_column, which is not given"),
    ],
)
def test_a_wrong_column_is_one_line(reading: Reading, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        data.read(write(tmp_path / "mine.csv", COLUMNS, some_rows()), reading=reading)


def test_every_text_needs_a_time(tmp_path: Path) -> None:
    rows = some_rows()
    rows[3][3] = ""
    with pytest.raises(UserError, match="has an empty time in line 5; every example needs one"):
        data.read(write(tmp_path / "mine.csv", COLUMNS, rows), reading=TIMES)


def test_the_cache_keeps_what_is_divided_otherwise_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    corpus = write(tmp_path / "mine.csv", COLUMNS, some_rows())
    digests = {data.load(corpus, embeddings="learned", reading=each).digest for each in (Reading(), GROUPS, TIMES)}
    assert len(digests) == 3
    assert Reading().key == Reading(group_column=None, time_column=None).key


def test_the_keys_of_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    corpus = write(tmp_path / "mine.csv", COLUMNS, some_rows())
    assert Spec(corpus=corpus, group_column="author").reading == GROUPS
    options = [part for each in ("group_column=author", "embeddings=learned") for part in ("--set", each)]
    result = CliRunner().invoke(app, ["data", corpus, *options])
    assert result.exit_code == 0, result.output
    assert "column 'author', 30 of them" in result.output
    result = CliRunner().invoke(app, ["data", corpus, "--set", "embeddings=learned"])
    assert result.exit_code == 0, result.output
    assert "group_column: author" in result.output
    assert "time_column: date" in result.output


# --- What is said of columns that are not read


def found(columns: dict[str, list[str]], labels: list[str], reading: Reading = USUAL) -> list[tuple[str, str, str]]:
    return [
        (each.kind, each.severity, each.remedy.partition(": ")[2])
        for each in findings(Others(labels, columns), reading)
    ]


LABELS = [str(place % 2) for place in range(200)]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("author", [f"u{place % 40}" for place in range(200)], [("groups", "serious", "group_column: author")]),
        ("reviewerID", [f"u{place % 41}" for place in range(200)], [("groups", "minor", "group_column: reviewerID")]),
        ("x", [f"u{place % 40}" for place in range(200)], [("groups", "serious", "group_column: x")]),
        ("x", [f"u{place % 41}" for place in range(200)], []),  # neither its name nor its values suggest groups
        ("author", [f"u{place}" for place in range(200)], []),  # all different
        ("author", ["me"] * 200, []),
        ("language", [str(place % 3) for place in range(200)], []),
        ("author", ["bot"] * 150 + [f"u{place % 20}" for place in range(50)], []),  # most are of one
        ("author", [""] * 200, []),
        ("when", [f"2024-01-{1 + place % 28:02}" for place in range(200)], [("times", "minor", "time_column: when")]),
        ("when", [f"{1 + place % 28}/1/2024" for place in range(200)], [("times", "minor", "time_column: when")]),
        (
            "when",
            [f"{1 + place % 12}/1/2024" for place in range(200)],
            [("times", "minor", "time_column: when, with time_format")],
        ),
        ("x", [str(1_700_000_000 + 60 * place) for place in range(200)], [("times", "minor", "time_column: x")]),
        ("year", [str(1990 + place % 20) for place in range(200)], [("times", "minor", "time_column: year")]),
        ("votes", [str(1990 + place // 10) for place in range(200)], []),
        ("when", ["2024-01-01", "soon", "2024-01-02", "2024-01-03"] * 50, []),
        ("when", ["2024-01-01", ""] * 100, []),
    ],
)
def test_columns_that_look_like_groups_or_times(name: str, values: list[str], expected: list[object]) -> None:
    assert found({name: values}, LABELS) == expected


def test_what_is_used_already_is_not_advised() -> None:
    columns = {
        "author": [f"u{place % 40}" for place in range(200)],
        "when": [f"2024-01-{1 + place % 28:02}" for place in range(200)],
    }
    assert [kind for kind, *_ in found(columns, LABELS)] == ["groups", "times"]
    assert [kind for kind, *_ in found(columns, LABELS, GROUPS)] == ["times"]
    assert [kind for kind, *_ in found(columns, LABELS, TIMES)] == ["groups"]


def test_splits_of_ones_own_that_part_groups_or_mix_times_are_told(tmp_path: Path) -> None:
    parted = [
        [*row, "test" if place % 5 == 0 else "val" if place % 5 == 1 else "train"]
        for place, row in enumerate(some_rows())
    ]
    kept = [
        [*row[:4], split]
        for row, split in zip(some_rows(), ["train"] * 160 + ["val"] * 40 + ["test"] * 40, strict=True)
    ]
    for rows, reading, kinds in (
        (parted, TIMES, {"future in training"}),
        (kept, TIMES, set()),
        (kept, GROUPS, {"groups in two splits"}),
    ):
        corpus = write(tmp_path / "mine.csv", [*COLUMNS, "split"], rows)
        division = data.read(corpus, reading=reading)
        assert {each.kind for each in of_splits(division.splits, division.texts)} == kinds
        assert len(division.splits["test"]) == sum(split == "test" for *_, split in rows)
