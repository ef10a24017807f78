"""Where models differ, by hand for four texts, and as a command on a real search."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.explain import disagree
from analysis.explain.disagree import Reading
from analysis.explain.explanation import explain
from data import encode
from data.encoded import ALL_WORDS
from data.text import Tokenizer
from search.spec import read
from tests.conftest import FinishedSearch, here
from tests.test_analysis_explain import classifier

CLASSES = ("negative", "positive")


@pytest.fixture
def reading() -> Reading:
    """Two models and four texts; they differ on the second and the fourth."""
    texts = pd.DataFrame(
        {
            "text": ["good", "not good at all", "bad bad bad bad bad bad", "never again qzxqz"],
            "label": ["positive", "negative", "negative", "negative"],
            "words": [1, 4, 8, 3],
            "negations": [0, 1, 0, 2],
            "unknown_share": [0.0, 0.0, 0.04, 1 / 3],
        }
    )
    positive = {"gru": [0.9, 0.4, 0.2, 0.3], "mlp": [0.6, 0.55, 0.4, 0.99]}
    return Reading(texts, CLASSES, 8, {name: np.array([[1 - p, p] for p in each]) for name, each in positive.items()})


def test_disagreements_are_the_texts_that_differ_the_widest_gap_first(reading: Reading) -> None:
    frame = disagree.disagreements(reading)
    assert frame["row"].tolist() == [3, 1]
    assert frame["gap"].tolist() == pytest.approx([0.69, 0.15])  # of the label negative: 0.7 and 0.01, 0.6 and 0.45
    assert frame[["gru", "mlp"]].to_numpy().tolist() == [["negative", "positive"]] * 2
    assert frame["gru_probability"].tolist() == pytest.approx([0.7, 0.6])
    assert frame["text"][0] == "never again qzxqz"
    assert len(disagree.text_table(reading, long=True).frame) == 2


def test_slices_hold_the_texts_of_their_kind(reading: Reading) -> None:
    frame = disagree.slices(reading).set_index("texts of")
    assert frame["texts"].to_dict() == {
        "all": 4,
        "1 to 2 words": 1,
        "3 to 4 words": 2,
        "8 words and more": 1,
        "no negation": 2,
        "1 negation": 1,
        "2 negations and more": 1,
        "all words known": 2,
        "up to 5 % unknown": 1,
        "over 5 % unknown": 1,
    }
    assert frame.loc["all", ["gru", "mlp", "differ"]].tolist() == [1.0, 0.5, 0.5]
    assert frame.loc["3 to 4 words", ["gru", "mlp", "differ"]].tolist() == [1.0, 0.0, 1.0]
    assert frame.loc["no negation", ["gru", "mlp", "differ"]].tolist() == [1.0, 1.0, 0.0]


def test_lengths_are_those_of_the_texts_where_a_model_reads_all_words(reading: Reading) -> None:
    frame = disagree.slices(dataclasses.replace(reading, max_words=ALL_WORDS))
    assert frame["texts of"].tolist()[:4] == ["all", "1 to 2 words", "3 to 4 words", "7 to 8 words"]
    assert frame["texts"].tolist()[:4] == [4, 1, 2, 1]


def test_words_side_by_side_speak_for_the_label() -> None:
    models = {"mlp": classifier("mlp"), "gru": classifier("gru")}
    frame, verdicts = disagree.side_by_side(models, "this movie is great " * 2, "negative")
    assert len(frame) == 8
    assert frame["word"].tolist() == ["this", "movie", "is", "great", "this", "movie", "is", "great"]
    scores_TC = explain(models["mlp"], "this movie is great " * 2).scores_TC
    assert frame["mlp"].tolist() == pytest.approx((scores_TC[:, 0] - scores_TC[:, 1]).tolist())
    assert set(verdicts) == {"mlp", "gru"}


def test_a_model_says_nothing_of_words_that_it_does_not_read() -> None:
    models = {"mlp": dataclasses.replace(classifier("mlp"), max_words=2), "gru": classifier("gru")}
    frame, _ = disagree.side_by_side(models, "this movie is great", "negative")
    assert frame["word"].tolist() == ["this", "movie", "is", "great"]
    assert frame["mlp"].isna().tolist() == [False, False, True, True]
    assert frame["gru"].notna().all()


def test_only_the_loudest_words_of_a_long_text_are_shown_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disagree, "NUM_WORDS", 2)
    frame, _ = disagree.side_by_side(
        {"mlp": classifier("mlp"), "rnn": classifier("rnn")}, "this movie is bad", "negative"
    )
    assert len(frame) == 2
    assert frame["position"].is_monotonic_increasing


@pytest.mark.parametrize("split_seed", [0, 7])
def test_the_examples_are_those_that_are_encoded(
    split_seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path))
    spec = read.validate({"limit": 800, "max_words": 30, "split_seed": split_seed})
    corpus, examples = read.load_corpus(spec), read.read_examples(spec, "test")
    ids = encode.word_ids(corpus.vocabulary)
    cut = Tokenizer.of(spec.reading)
    tokens_NT, _, _ = encode.encode_texts([text for text, _ in examples], ids, max_words=30, cut=cut)
    assert tokens_NT.tolist() == corpus.test.tokens_NT.tolist()
    assert [label for _, label in examples] == corpus.test.labels_N.tolist()


def test_disagree_command(smoke_search: FinishedSearch) -> None:
    done = here("analysis", "disagree", "latest", "--top", "1", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    assert "test accuracy by kind of text" in done.stdout
    assert "texts on which the models disagree" in done.stdout
    assert "scores of its words for" in done.stdout
    listed = here("analysis", "disagree", "latest", "--format", "json", cwd=smoke_search.cwd)
    rows = json.loads(listed.stdout)
    assert rows
    assert all(len({row[name] for name in smoke_search.spec.architectures}) == 2 for row in rows)
    assert [row["gap"] for row in rows] == sorted((row["gap"] for row in rows), reverse=True)


def test_one_model_does_not_disagree() -> None:
    with pytest.raises(ValueError, match="at least two architectures with a model are needed"):
        disagree.load_all([])
