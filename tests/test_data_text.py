"""Cleaning, and tokenizers: built-in ones and a user's."""

import json
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import data
import models
from analysis.explain import words as explaining
from data.base import plugins
from data.base.errors import UserError
from data.base.reading import Reading
from data.cleaning import clean
from data.encoded import TEXTS
from data.inspecting import script
from data.text import AS_WRITTEN, TOKENIZERS, UNSPACED, Tokenizer, basic_english, characters
from models import WordVectors
from search.serve import export, loading
from search.serve.classifier import MODEL, TOKENIZER_CODE, TextModel
from search.spec import read as specs
from tests.conftest import answer_alone, command

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


@given(
    st.text(st.sampled_from("abc .,!?'\"-\n<3&;#"), max_size=60).filter(
        lambda written: not re.search(r"--|&#?\w+;", written)  # dashes and entities, such as &ac;, are changed
    )
)
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
        ("か\u3099く", ["か\u3099", "く"]),  # a combining mark stays with its character
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
    """A tokenizer from a file that returns this expression."""
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
    """Texts are the words joined by spaces; an encoded corpus from the cache is equal to a new one."""
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


def test_inspection_knows_the_scripts_that_are_cut_into_characters() -> None:
    letters = [chr(code) for code in range(0x3FFFF) if chr(code).isalpha()]
    cut = [each for each in letters if re.match(f"[{UNSPACED}]", each)]
    named = [each for each in letters if script.letters([each]).keys() & {*script.UNSPACED}]
    assert len({*cut} & {*named}) > 0.98 * len({*cut} | {*named})
    assert {*"好のカไລខမབꦲ"} <= {*cut} & {*named}
    assert not {*"aéяאبहक한"} & {*cut, *named}


def test_a_corpus_without_a_known_word_is_told_what_helps(tmp_path: Path) -> None:
    rows = "".join(f"{'好吃' * (n // 2 + 1)}{'呢' if n % 2 else '吗'},{n % 2}\n" for n in range(40))
    (tmp_path / "zh.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    exact = {"duplicates": "exact"}
    helps = {
        "basic_english": "has a vector; use embeddings: learned and tokenizer: characters$",
        "characters": "has a vector; use embeddings: learned$",
    }
    for name, message in helps.items():
        with pytest.raises(UserError, match=message):
            data.load(f"csv:{tmp_path / 'zh.csv'}", cache=tmp_path, reading=Reading(tokenizer=name, **exact))
    with pytest.raises(UserError, match=r"comes twice; use tokenizer: characters$"):
        data.load(f"csv:{tmp_path / 'zh.csv'}", cache=tmp_path, reading=Reading(**exact), embeddings="learned")
    learned = Reading(tokenizer="characters", **exact)
    encoded = data.load(f"csv:{tmp_path / 'zh.csv'}", cache=tmp_path, reading=learned, embeddings="learned")
    assert {*encoded.vocabulary} == {"<pad>", "<unk>", *"好吃呢吗"}


WORDS = "def cut(text):\n    return [text[i : i + 2] for i in range(0, len(text), 2)]\n"


def model(tokenizer: Tokenizer) -> TextModel:
    torch.manual_seed(0)
    vocabulary = ["<pad>", "<unk>", "好吃", "好", "“好", "good"]
    network = models.build("mlp", WordVectors.learned(len(vocabulary), 4), 2, hidden_size=8, num_layers=2)
    weights = network.state_dict()
    own = {"hidden_size": 8, "num_layers": 2}
    return TextModel.build("mlp", own, ["a", "b"], vocabulary, 5, weights, None, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (AS_WRITTEN, ["“good”—<i>好吃</i>"]),
        (Tokenizer(True), ["good", "--", "好吃"]),
        (Tokenizer(True, "characters"), ['"', "good", '"', "-", "-"]),
        (Tokenizer(False, plugins.Plugin("/home/me/my_words.py:cut", WORDS)), ["“g", "oo", "d”", "—<", "i>"]),
    ],
)
def test_a_model_keeps_how_it_reads(tokenizer: Tokenizer, words: list[str], tmp_path: Path) -> None:
    own = model(tokenizer)
    text = "“good”—<i>好吃</i>"
    own.save(tmp_path / "model")
    again = TextModel.load(tmp_path / "model")
    assert again.encode([text])[2] == own.encode([text])[2] == [words]
    assert again.answer([text, ""]) == own.answer([text, ""])
    assert (tmp_path / "model" / TOKENIZER_CODE).exists() == isinstance(tokenizer.cuts, plugins.Plugin)


def test_a_model_that_does_not_say_how_it_reads_is_of_before_there_was_a_choice(tmp_path: Path) -> None:
    model(Tokenizer(True)).save(tmp_path / "model")
    content = json.loads((tmp_path / "model" / MODEL).read_text())
    del content["clean"], content["tokenizer"]
    (tmp_path / "model" / MODEL).write_text(json.dumps(content))
    assert TextModel.load(tmp_path / "model").tokenizer == AS_WRITTEN


def test_a_kept_spec_reads_as_in_its_time_and_a_new_one_cleans() -> None:
    assert specs.validate({}).reading.clean
    kept = specs.load("name: old\n", "spec.yaml")
    assert Tokenizer.of(kept.reading) == AS_WRITTEN
    reports = [path for path in specs.SHIPPED.rglob("*.yaml") if path.parent.name == "report" or "image" in path.name]
    assert len(reports) == 11
    assert all(Tokenizer.of(specs.read(str(path)).reading) == AS_WRITTEN for path in reports)


def test_a_spec_keeps_the_source_of_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_words.py"
    file.write_text(WORDS)
    spec = specs.validate({"tokenizer": "my_words.py:cut"})
    own = plugins.Plugin(f"{file}:cut", WORDS)
    assert (spec.tokenizer, spec.code.tokenizer) == (own.reference, {own.reference: own})
    file.unlink()
    again = specs.load(specs.dump(specs.freeze(spec)), "spec.yaml")
    assert again == spec
    assert Tokenizer.of(again.reading) == Tokenizer(True, own)
    for wrong, message in (
        ("charcters", r"tokenizer: unknown tokenizer 'charcters' \(did you mean 'characters'\?\)"),
        ("my_words.py:cut", "tokenizer: no file "),
        ("json.decoder:nothing", "tokenizer: json.decoder has no 'nothing'"),
        ("json.decoder:NaN", "tokenizer: json.decoder:NaN should be a function from a text to a list of words"),
    ):
        with pytest.raises(UserError, match=message):
            specs.validate({"tokenizer": wrong})


@pytest.mark.slow
def test_a_search_with_a_tokenizer_from_outside(tmp_path: Path) -> None:
    """Networks and baselines are searched, explained and exported after the file is gone."""
    good, bad = ("好吃", "便宜", "干净"), ("难吃", "太贵", "很脏")
    rows = [f"{'饭菜' * (n % 7)}{(good, bad)[n % 2][n // 2 % 3]}{'今天' * (n // 14)},{n % 2}\n" for n in range(120)]
    (tmp_path / "zh.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    (tmp_path / "my_words.py").write_text(WORDS)
    spec = {"name": "zh", "corpus": "csv:zh.csv", "tokenizer": "my_words.py:cut", "embeddings": "learned"}
    spec |= {
        "architectures": ["mlp"],
        "baselines": ["tfidf"],
        "epochs": 5,
        "trials": 1,
        "space": {"learning_rate": 0.02},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = command("search", "run", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "my_words.py").unlink()
    (tmp_path / "zh.csv").unlink()
    (folder,) = (tmp_path / "searches").iterdir()
    uri, text = f"sqlite:///{tmp_path / 'mlflow.db'}", "饭菜好吃今天"
    for architecture in ("mlp", "tfidf"):
        exported = export.export(folder.name, folder.parent, uri, architecture)
        own = loading.load(exported.trial)
        assert explaining.explain(own, text).words == ["饭菜", "好吃", "今天"]
        answer = answer_alone(exported.uri, [text, "难吃"], uri, tmp_path)
        assert answer["predicted"] == ["0", "1"]
        assert answer["unknown_share"] == [0, 0]
