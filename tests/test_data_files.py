"""Users' files: CSV corpora and vectors in text format. Invalid ones raise a ValueError with a one-line message."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data.base import splitting as encode
from data.base.ordering import natural_order
from data.base.texts import Texts
from data.corpora.files import File
from data.vectors import TextFile

LEAST_OF_A_CLASS = 15  # texts, so that each split has two


def read_csv(folder: Path, content: str | bytes) -> Texts:
    path = folder / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return File(path).read(folder, progress=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: it has no column 'text'"),
        ("text,label\n", "has a header but no examples"),
        (
            "texxt,label\na,b\n",
            r"no column 'text' \(did you mean 'texxt'\?\); .* text_column to one of 'texxt', 'label'",
        ),
        ("text,mood\na,b\n", "no column 'label'; .* set label_column to one of 'text', 'mood'"),
        (
            "text,review,label\na,b,c\n",
            "several columns that may be the text: set text_column to one of 'text', 'review'",
        ),
        (
            "text,Class,label\na,b,c\n",
            "several columns that may be the label: set label_column to one of 'Class', 'label'",
        ),
        ("text,label,text\na,b,c\n", "several columns 'text'"),
        ("text,label\na,0\n,1\n \t,0\nb,1\n", "empty text in line 3, 4;"),
        ("text,label\n" + ",0\n" * 9, "empty text in line 2, 3, 4, 5, 6 and 4 more;"),
        ("text,label\na,0\nb,\n", "empty label in line 3;"),
        ('text,label\n"two\nlines",0\nb,\n', "empty label in line 4;"),
        ("text,label\na,0\nwell, well,1\n", "line 3: 3 cells, but the header has 2"),
        ("text,label\na,0\nb\n", "line 3: 1 cells, but the header has 2"),
        ('text,label\na,0\n"b,1\nc,1\n', "line 3: a quoted cell that begins here never ends; a quote inside"),
        ('text,label\n"a \\"b\\" c",1\n', "line 2: a quoted cell continues after its closing quote; a quote inside"),
        ("\n \n\n", "is empty: it has no column 'text'"),
        ("text~label\na~1\n", "has only one column, 'text~label'; .* set separator to"),
        (b"text,label\na,0\nb\xe9,1\n", "line 3: byte 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbftext,label\n\xff,0\n", "line 2: byte 0xff is not UTF-8"),
    ],
)
def test_a_bad_csv_is_told_in_one_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(tmp_path, content)
    assert str(tmp_path / "own.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cells_are_taken_as_they_are_written(tmp_path: Path) -> None:
    content = (
        '\ufeffid, label ,text\r\n1,None,NA\r\n\r\n2,0, null\r\n3,None,"say ""no"", twice\nor more"\r\n4,é,nan\r\n'
    )
    texts = read_csv(tmp_path, content)
    assert texts.classes == ("0", "None", "é")
    assert texts.examples == [("NA", 1), (" null", 0), ('say "no", twice\nor more', 1), ("nan", 2)]
    assert texts.test_examples is None


def test_a_long_text_is_no_fault(tmp_path: Path) -> None:
    texts = read_csv(tmp_path, f"text,label\n{'long ' * 50_000},0\nb,1\n")
    assert len(texts.examples[0][0]) == 250_000


@pytest.mark.parametrize(
    "ordered",
    [
        ["0", "1"],
        ["negative", "positive"],
        ["no", "yes"],
        ["False", "True"],
        ["-1", "0.5", "2", "10", "1e3"],
        ["7", "a", "B", "c"],
        ["v1", "v2", "v10"],
        ["5", "inf", "nan", "None"],
    ],
)
def test_labels_are_in_natural_order(ordered: list[str]) -> None:
    shuffled = ordered[1::2] + ordered[::2]
    assert sorted(shuffled, key=natural_order) == ordered


def test_a_class_too_small_for_the_splits_is_told(tmp_path: Path) -> None:
    def rows(label: str, number: int) -> list[str]:
        return [f"text {label} {i},{label}" for i in range(number)]

    enough = read_csv(tmp_path, "\n".join(["text,label", *rows("a", 15), *rows("b", LEAST_OF_A_CLASS)]))
    splits = encode.split_examples(enough, name="own", limit=None).splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 22, "val": 4, "test": 4}
    with pytest.raises(ValueError, match="own has only one class, 'a'"):
        encode.split_examples(read_csv(tmp_path, "text,label\na,a\nb,a\n"), name="own", limit=None)
    few = read_csv(tmp_path, "\n".join(["text,label", *rows("a", 15), *rows("b", LEAST_OF_A_CLASS - 1)]))
    with pytest.raises(
        ValueError,
        match=r"too few examples of class 'b' \(14, of which 1 in .* 15 different texts of a class are enough",
    ):
        encode.split_examples(few, name="own", limit=None)
    with pytest.raises(ValueError, match=r"limit=10 leaves . examples .* limit=30 is enough"):
        encode.split_examples(enough, name="own", limit=10)
    splits = encode.split_examples(enough, name="own", limit=30).splits
    assert sum(map(len, splits.values())) == 30


def complaint(call: Callable[[], object]) -> str | None:
    """The message of the ValueError that the call raises; None if it succeeds. Other exceptions fail the test."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


hypothesis_settings = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
header = st.sampled_from([b"", b"text,label\n", b"label,text,more\r\n", b"\xef\xbb\xbftext,label\n", b'"text",label\r'])
csv_like = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"1", b" ", b"\x00", b"\xff", b"\xc3\xa9"]))


@given(header, st.one_of(st.binary(max_size=80), csv_like.map(b"".join)))
@example(b"text,label\n", b'a,"' + b"9" * 5000 + b'"\nb,v' + b"9" * 5000)
@hypothesis_settings
def test_any_bytes_are_read_or_told_in_one_line(tmp_path: Path, header: bytes, body: bytes) -> None:
    message = complaint(
        lambda: encode.split_examples(read_csv(tmp_path, header + body), name="own", limit=None),
    )
    assert message is not None  # a few bytes are never enough for two classes in three splits
    assert len(message.splitlines()) == 1


cell = st.text(st.one_of(st.characters(codec="utf-8", exclude_categories=["Cc"]), st.sampled_from("\n\t")), max_size=8)


@given(st.lists(st.tuples(cell, cell), max_size=12))
@hypothesis_settings
def test_what_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    """Every row with a text and a label is read back unchanged."""
    rows = [row for row in rows if row[0].strip() and row[1].strip()]
    rows += [("first", "-"), ("second", "+")]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    texts = read_csv(tmp_path, buffer.getvalue())
    assert [(text, texts.classes[label]) for text, label in texts.examples] == [
        (text, label.strip()) for text, label in rows
    ]


def read_vectors(folder: Path, content: bytes, words: set[str]) -> tuple[list[str], np.ndarray]:
    path = folder / "own.txt"
    path.write_bytes(content)
    return TextFile(path).read(words, folder, progress=False)


@pytest.mark.parametrize(
    "content",
    [
        b"a 1 2\nb 3 -4e-1\nc 5 6\n",
        b"3 2\na 1 2 \nb 3 -.4 \nc 5 6",
        b"a 1 2\r\n. . . 9 9\r\nb 3 -0.4\r\nb 7 7\r\nc 5 6\r\n",
    ],
    ids=["glove", "word2vec", "odd"],
)
def test_both_text_forms_are_read(content: bytes, tmp_path: Path) -> None:
    found, vectors_FE = read_vectors(tmp_path, content, {"a", "b", "z"})
    assert found == ["a", "b"]
    np.testing.assert_array_equal(vectors_FE, np.array([[1, 2], [3, -0.4]], dtype=np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no vectors"),
        (b"2 3\n", "holds no vectors"),
        (b"a\nb 1\n", "line 1: should have some numbers after the word; got 0"),
        (b"a 1 2\nb 1\n", "line 2: should have 2 numbers after the word; got 1"),
        (b"a 1 2\nb 1 2 3\n", "line 2: should have 2 numbers after the word; got 3"),
        (b"a 1 2\n\nb 1 2\n", "line 2: should have 2 numbers"),
        (b"a 1 x\n", "line 1: 'x' is not a finite number"),
        (b"a 1 nan\n", "line 1: 'nan' is not a finite number"),
        (b"a 1 1e39\n", "line 1: '1e39' is not a finite number"),
        (b"b 1 2\na\xff 1 2\n", "line 2: the word .* is not UTF-8"),
        (b"3 2\na 1 2\nb 1 2\n", "promises 3 words, but 2 follow"),
        (b"2 3\na 1 2\nb 1 2\n", "line 2: should have 3 numbers after the word; got 2"),
    ],
)
def test_bad_vectors_are_told_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_vectors(tmp_path, content, {"a"})
    assert "\n" not in str(caught.value)


@given(st.lists(st.sampled_from([b"a", b" ", b"1", b"-.5", b"\n", b"\xff", b"\t", b"e", b"nan"])).map(b"".join))
@hypothesis_settings
def test_any_bytes_are_vectors_or_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    message = complaint(lambda: read_vectors(tmp_path, content, {"a", "1", "aa"}))
    assert message is None or len(message.splitlines()) == 1
