"""From a text to its words: cleaning, and the tokenizers, ours and somebody's own."""

import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from data.base.reading import Reading
from data.cleaning import clean
from data.encoded import TEXTS
from data.text import TOKENIZERS, Tokenizer, basic_english, characters

PIECES = [
    *("film", " ", "x", "é", "e\u0301", "\u0301", "\u200b", "\u200c", "\u200d", "\u00ad", "\ufeff", "\ufe0f", "\u0085"),
    *("\u2019", "\u201c", "\u2014", "\u2013", "\u2026", "-", "--", "\x00", "\x93", "\x7f", "\n", "\r", "\t", "\u00a0"),
    *(
        "&",
        "amp;",
        "#38;",
        "lt;",
        "&lt;",
        "&amp;",
        "&#x212A;",
        "&#8203;",
        "&nbsp;",
        "&foo;",
        ";",
        "#",
        "&#0;",
        "&#xD800;",
    ),
    *("<", ">", "/", "b", "<b", "<br />", "<br>", "</p >", "<!--", "-->", "<script>", "</script>", "<style ", "<user>"),
    *("\u4e2d", "\u0e17\u0e35\u0e48", "\u0627", "\u0915\u094d", "\u2764", "\U0001f468", "\ud83d", "\ude00", "\u037e"),
]
any_text = st.one_of(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.text(st.characters(), max_size=40))


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("It is a plain film, isn't it? <3", "It is a plain film, isn't it? <3"),
        ("don\u2019t \u201cquote\u201d \u2018me\u2019", "don't \"quote\" 'me'"),
        ("\u00abOui\u00bb, \u201eja\u201c, don\u00b4t", '"Oui", "ja", don\'t'),
        ("a film\u2014good", "a film -- good"),
        ("a film \u2014 good", "a film -- good"),
        ("a film--good", "a film -- good"),
        ("1990\u20131995, \u22125", "1990-1995, -5"),
        ("well\u2026", "well..."),
        ("cafe\u0301", "café"),
        ("one<br />two<br>three<BR/>four", "one two three four"),
        ('see <a href="http://x.org/?a=1&amp;b=2">this</a>', "see  this "),
        ("&lt;p&gt;Tom &amp; Jerry&lt;/p&gt; &quot;fun&quot;", ' Tom & Jerry  "fun"'),
        ("&amp;amp;lt;b&amp;amp;gt;twice quoted", " twice quoted"),
        ("it&#39;s &#x2019;ok&#8217; &eacute;t&eacute;", "it's 'ok' été"),
        ("AT&T; R&D, a&copy=2 &unheard;", "AT&T; R&D, a&copy=2 &unheard;"),
        ("x < y and y > z, <user> <3 <unk> a<b", "x < y and y > z, <user> <3 <unk> a<b"),
        ("<script>var x = 1 < 2;</script>shown<!-- hidden <b> -->", " shown "),
        ("<style type='text/css'>p {}</style>shown", " shown"),
        ("gr\u200beat inter\u00adnational \ufeffstart\u2060", "great international start"),
        ("non\u00a0breaking\u202fthin\u3000wide", "non breaking thin wide"),
        ("nul\x00 bell\x07, windows\x92 \x93quotes\x94 \x96 dash\x85", 'nul  bell , windows\' "quotes" - dash...'),
        ("two\nlines\tand a tab\r\n", "two\nlines\tand a tab\r\n"),
        ("\u2764\ufe0f \U0001f468\u200d\U0001f469", "\u2764 \U0001f468\U0001f469"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("half \ud83d of one", "half \ufffd of one"),
        ("", ""),
    ],
)
def test_cleaning(written: str, cleaned: str) -> None:
    assert clean(written) == cleaned


@given(any_text)
@settings(max_examples=1500, deadline=None)
def test_what_is_clean_stays_as_it_is(written: str) -> None:
    cleaned = clean(written)
    assert clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not {*cleaned} & {*"\u200b\u00ad\ufeff\u00a0\u2019\u201c\u2014\u2026\x00\x93\ud83d"}
    assert len(cleaned) <= 4 * len(written)
    cleaned.encode()  # it can be written


@given(st.text(st.sampled_from("abc .,!?'\"-\n<3&;#"), max_size=60).filter(lambda each: "--" not in each))
def test_plain_english_is_not_touched(written: str) -> None:
    assert clean(written) == written


@pytest.mark.parametrize(
    "piece",
    ["<script>", "<!--", "<b", "<b ", "&amp;", "&amp;amp", "&lt;", "-", "- ", "\u200d", "<style></style", "e\u0301"],
)
def test_no_text_takes_long_to_clean(piece: str) -> None:
    started = time.perf_counter()
    cleaned = clean(piece * 100_000)
    assert time.perf_counter() - started < 3
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("A good film, isn't it?", ["a", "good", "film", ",", "isn", "'", "t", "it", "?"]),
        ("这家餐厅很好吃！", [*"这家餐厅很好吃！"]),
        ("我爱Python3编程", ["我", "爱", "python3", "编", "程"]),
        ("カレーを食べた。", [*"カレーを食べた。"]),
        ("か\u3099く", ["か\u3099", "く"]),  # a mark stays with what it is on
        ("한국어는 띄어쓰기가 있다", ["한국어는", "띄어쓰기가", "있다"]),
        ("ที่นี่ดีมาก", ["ที่", "นี่", "ดี", "ม", "า", "ก"]),
        ("သည်", ["သ", "ည်"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("مرحبا، بالعالم!", ["مرحبا", "،", "بالعالم", "!"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("Straße ÉTÉ", ["straße", "été"]),
        ("好👍👍 ❤️", ["好", "👍", "👍", "❤️"]),
        (" \n\t\u3000", []),
    ],
)
def test_characters(written: str, words: list[str]) -> None:
    assert characters(written, 100) == words
    assert characters(written, 2) == words[:2]


@given(any_text, st.integers(1, 6), st.booleans(), st.sampled_from(sorted(TOKENIZERS)))
@settings(max_examples=600, deadline=None)
def test_every_tokenizer_takes_any_text(written: str, max_words: int, cleaned: bool, name: str) -> None:
    cut = Tokenizer(cleaned, name)
    words = cut(written, 10_000)
    assert cut(written, max_words) == words[:max_words]
    assert " ".join(words).split() == words


def test_cleaning_comes_before_the_tokenizer() -> None:
    written = "Don\u2019t \u201cmiss\u201d it\u2014really&hellip; <i>good</i>"
    assert basic_english(written, 20) == ["don’t", "“miss”", "it—really&hellip", "<i>good</i>"]
    usual = ["don", "'", "t", "miss", "it", "--", "really", ".", ".", ".", "good"]
    assert Tokenizer.of(Reading())(written, 20) == usual
    assert Tokenizer.of(Reading(clean=False))(written, 20) == basic_english(written, 20)


def test_a_tokenizer_that_is_not_known_is_told() -> None:
    with pytest.raises(ValueError, match=r"unknown tokenizer 'charcters' \(did you mean 'characters'\?\), or yours: "):
        Tokenizer.of(Reading(tokenizer="charcters"))
    with pytest.raises(ValueError, match=r"no file .*nowhere\.py"):
        Tokenizer.of(Reading(tokenizer="nowhere.py:cut"))


def own(folder: Path, returned: str) -> Tokenizer:
    """A tokenizer from a file, which returns this."""
    (folder / "words.py").write_text(f"def cut(text):\n    return {returned}\n")
    return Tokenizer.of(Reading(clean=False, tokenizer=f"{folder / 'words.py'}:cut"))


def test_a_function_is_a_tokenizer(tmp_path: Path) -> None:
    assert own(tmp_path, "text.split('|')")("a|New  York||\u3000| b", 10) == ["a", "New_York", "b"]
    assert own(tmp_path, "(each for each in text)")("abc", 2) == ["a", "b"]
    assert own(tmp_path, "[]")("abc", 2) == []


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("text", "words.py:cut should return a list of words; got str"),
        ("None", "words.py:cut should return a list of words; got NoneType"),
        ("[1, 2]", "words.py:cut should return a list of words; got int in a list"),
        ("text.cut()", r"words.py, line 2: AttributeError: 'str' object has no attribute 'cut'"),
    ],
)
def test_what_a_tokenizer_does_wrong_is_a_line(returned: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as told:
        own(tmp_path, returned)("some words", 10)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("clean_", "tokenizer"), [(True, "basic_english"), (False, "characters"), (True, "own")])
def test_words_are_the_same_to_networks_and_estimators(clean_: bool, tokenizer: str, tmp_path: Path) -> None:
    """Texts hold the words with spaces between; an encoded corpus is the same when it comes from the cache."""
    (tmp_path / "words.py").write_text("def cut(text):\n    return ['New York', '', *text.split()]\n")
    rows = [f"“film”—number {n} 好看,{n % 2}\n" for n in range(40)]
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    name = f"{tmp_path / 'words.py'}:cut" if tokenizer == "own" else tokenizer
    options: dict[str, Any] = {
        "reading": Reading(clean=clean_, tokenizer=name, duplicates="exact"),
        "embeddings": "learned",
        "texts": True,
        "progress": False,
    }
    first, again = (data.load(f"csv:{tmp_path / 't.csv'}", cache=tmp_path / "cache", **options) for _ in range(2))
    assert first.digest == again.digest
    assert [*first.train.arrays[TEXTS]] == [*again.train.arrays[TEXTS]]
    for tokens_T, length, joined in zip(
        again.train.tokens_NT, again.train.lengths_N, again.train.arrays[TEXTS], strict=True
    ):
        words = joined.split()
        decoded = [again.vocabulary[token] for token in tokens_T[:length]]
        assert decoded == [word if word in again.vocabulary else "<unk>" for word in words]
    known = {"basic_english": {"film", "--"}, "characters": {"film", "好", "看"}, "own": {"New_York", '"film"'}}[
        tokenizer
    ]
    assert known <= {*first.vocabulary}


def test_how_texts_are_read_is_part_of_what_an_encoded_corpus_is(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"a film number {n},{n % 2}\n" for n in range(40)))
    words = tmp_path / "words.py"
    words.write_text("def cut(text):\n    return text.split()\n")

    def digest(**options: Any) -> str:
        reading = Reading(**options)
        return data.load(f"csv:{tmp_path / 't.csv'}", embeddings="learned", cache=tmp_path, reading=reading).digest

    mine = {"tokenizer": f"{words}:cut"}
    digests = [digest(), digest(clean=False), digest(tokenizer="characters"), digest(**mine)]
    assert len({*digests}) == 4
    words.write_text("def cut(text):\n    return text.lower().split()\n")
    assert digest(**mine) not in digests
