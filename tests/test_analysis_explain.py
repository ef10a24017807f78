"""Word scores add up to what a model says, whichever way they come about; and the right model is read back."""

import csv
import dataclasses
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from analysis.base import runs
from analysis.boards import leaderboard
from analysis.explain import explanation as explaining
from analysis.explain import lookup, word_picture, word_tables, words
from models import ARCHITECTURES, CLASSIFICATION, Architecture, WordVectors, of_task
from search.base import names
from search.base.schema import Outcome
from search.serve import loading
from search.serve.classifier import TextModel
from search.spec.read import load_corpus, read_spec
from search.study import ranking
from search.study.trial import Trial
from search.train.tasks import TASKS
from tests.conftest import FinishedSearch, here

VOCABULARY = ("<pad>", "<unk>", "this", "movie", "is", "great", "bad", "said", "no", "one")
SENTENCE = "This movie is great said qzxq one"


def vectors(size: int = 6) -> np.ndarray:
    """Zero for padding and unknown words, as the encoded corpus has them."""
    vectors_VE = np.random.default_rng(0).normal(size=(len(VOCABULARY), size)).astype(np.float32)
    vectors_VE[:2] = 0
    return vectors_VE


def classifier(architecture: str, classes: tuple[str, ...] = ("negative", "positive"), **more: object) -> TextModel:
    torch.manual_seed(1)
    cls = ARCHITECTURES[architecture]
    hyperparameters = {name: cls.__init__.__kwdefaults__[name] for name in cls.hyperparameters} | more
    weights = cls(WordVectors(torch.from_numpy(vectors())), len(classes), **hyperparameters).state_dict()
    for weight in weights.values():
        if weight.is_floating_point():
            weight += 0.3 * torch.randn_like(weight)  # biases, too
    return TextModel.build(architecture, hyperparameters, classes, VOCABULARY, 10, weights, vectors())


@pytest.mark.parametrize("architecture", of_task(CLASSIFICATION))
@pytest.mark.parametrize("classes", [("negative", "positive"), ("bad", "middling", "good")])
def test_scores_add_up_to_the_logits(architecture: str, classes: tuple[str, ...]) -> None:
    model = classifier(architecture, classes)
    explanation = explaining.explain(model, SENTENCE)
    assert explanation.words == SENTENCE.lower().split()
    assert explanation.unknown_T.tolist() == [False] * 5 + [True, False]
    assert explanation.scores_TC.shape == (7, len(classes))
    own = hasattr(model.model, "word_scores")
    assert own == (explanation.method != "integrated gradients")
    assert own == (not explanation.baseline_C.any())
    assert explanation.missed < (1e-5 if own else explaining.TOLERANCE)
    assert explanation.averages + explanation.baseline_C == pytest.approx(explanation.logits_C, abs=explanation.missed)
    assert np.abs(explanation.scores_TC).max() > 0.1  # and there is something to add up
    probabilities_C = model.outputs([SENTENCE])[0].numpy()
    assert explanation.probabilities_C == pytest.approx(probabilities_C, abs=1e-6)
    assert explanation.predicted == classes[int(probabilities_C.argmax())]


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "none"])
def test_integrated_gradients_are_complete_for_every_activation(activation: str) -> None:
    for architecture in ("rnn", "gru"):
        explanation = explaining.explain(classifier(architecture, activation=activation, pooling="mean"), SENTENCE)
        logits_C = explanation.averages + explanation.baseline_C
        assert logits_C == pytest.approx(explanation.logits_C, rel=3e-3, abs=3e-3)
        told = any("miss the logits" in note for note in word_tables.sentence_table(explanation).notes)
        assert told == (explanation.missed > word_tables.WORTH_TELLING)
        assert explanation.scores_TC[5] == pytest.approx([0, 0])  # an unknown word has the baseline's vector


class Linear(Architecture):
    """The mean over words of W x + b, of which integrated gradients are known: W x for each word, and b remains."""

    def __init__(self, embedding: WordVectors) -> None:
        super().__init__(embedding)
        self.output = nn.Linear(embedding.size, 2)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        return self.output(words_BTE).sum(1) / lengths_B.unsqueeze(1)


def test_integrated_gradients_of_a_linear_model_are_its_products() -> None:
    model = Linear(WordVectors(torch.from_numpy(vectors())))
    tokens_1T, lengths_1 = torch.tensor([[2, 5, 6]]), torch.tensor([3])
    scores_TC, baseline_C = explaining.integrated_gradients(model, model.embedding(tokens_1T), lengths_1, [0, 1])
    products_TC = torch.from_numpy(vectors()[[2, 5, 6]]) @ model.output.weight.detach().T
    assert scores_TC.numpy() == pytest.approx(products_TC.numpy(), abs=1e-5)
    assert baseline_C.numpy() == pytest.approx(model.output.bias.detach().numpy(), abs=1e-6)


def test_attention_shows_whom_each_word_looked_at() -> None:
    model = classifier("attention", window=2)
    explanation = explaining.explain(model, SENTENCE)
    assert explanation.attention_TJ is not None
    tokens_1T, lengths_1, _ = model.encode([SENTENCE])
    weights_TJ = model.model.attention_weights(tokens_1T, lengths_1)[0].numpy()
    first, middle = explanation.neighbours(0), explanation.neighbours(3)
    assert {word for word, _ in first} == {"this", "movie", "is"}
    assert dict(first)["movie"] == pytest.approx(float(weights_TJ[0, 3]))  # itself is at 2
    assert {word for word, _ in middle} == {"movie", "is", "great", "said", "qzxq"}
    assert dict(middle)["qzxq"] == pytest.approx(float(weights_TJ[3, 4]))
    for near in (first, middle):
        assert sum(weight for _, weight in near) == pytest.approx(1, abs=1e-5)
        assert [weight for _, weight in near] == sorted((weight for _, weight in near), reverse=True)
    assert explaining.explain(classifier("mlp"), SENTENCE).neighbours(0) == []


def handmade(label: str | None = "negative") -> explaining.Explanation:
    return explaining.Explanation(
        text="Bad, qzxq!",
        label=label,
        classes=("negative", "positive"),
        method="integrated gradients",
        words=["bad", "qzxq"],
        unknown_T=np.array([False, True]),
        scores_TC=np.array([[3.0, -1.0], [0.0, 0.5]]),
        baseline_C=np.array([0.5, 0.0]),
        logits_C=np.array([2.0, -0.25]),
        probabilities_C=np.array([0.9, 0.1]),
        attention_TJ=None,
        task=TASKS["classification"],
    )


def test_the_table_of_a_sentence() -> None:
    table = word_tables.sentence_table(handmade())
    assert table.frame.to_dict("list") == {
        "word": ["bad", "qzxq (unknown)", "average", "baseline", "both together"],
        "negative": [3.0, 0.0, 1.5, 0.5, 2.0],
        "positive": [-1.0, 0.5, -0.25, 0.0, -0.25],
    }
    assert table.notes == ["Scores: integrated gradients. Predicted negative (90.0%), which is right."]
    assert handmade("positive").verdict == "predicted negative (90.0%), but it is positive: wrong"
    assert handmade(None).verdict == "predicted negative (90.0%)"
    assert handmade(None).is_right is None


def test_margins_speak_for_the_second_of_two_and_the_predicted_of_more() -> None:
    two = handmade()
    assert two.margins(two.scores_TC).tolist() == [-4.0, 0.5]
    three = explaining.explain(classifier("mlp", ("a", "b", "c")), SENTENCE)
    predicted = three.classes.index(three.predicted)
    others_T = np.delete(three.scores_TC, predicted, axis=1).mean(1)
    assert three.margins(three.scores_TC) == pytest.approx(three.scores_TC[:, predicted] - others_T)


def test_a_terminal_shows_each_word_on_its_colour() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=100).print(word_tables.coloured(handmade()))
    shown = out.getvalue()
    against, _ = word_tables.colours(-1.0)
    red, green, blue = (int(against[i : i + 2], 16) for i in (1, 3, 5))
    assert f"48;2;{red};{green};{blue}m bad " in shown
    assert red > blue  # orange
    assert "purple: positive, orange: negative" in shown


def test_a_picture_has_every_word_and_its_data_beside_it(tmp_path: Path) -> None:
    long = explaining.explain(classifier("gru"), "this movie is great " * 2)
    figure = word_picture.draw([handmade(), long], "a")
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written.count("movie") == 2
    assert written.count("average") == written.count("baseline") == 2
    assert "qzxq?" in written
    assert "a: predicted negative (90.0%), which is right" in written
    words.save_picture([handmade(), long], "a", tmp_path / "a.png")
    image = (tmp_path / "a.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert struct.unpack(">I", image[16:20]) == (990,)  # 9 inches
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["word"] for row in rows[:3]] == ["bad", "qzxq", "this"]
    assert float(rows[0]["score of negative"]) == 3.0


# --- Which model


def trial(name: str, score: float | None, configuration: str | None = None, **more: Any) -> Trial:
    architecture, number = names.split_trial(name) or ("", 0)
    given = {"outcome": Outcome.COMPLETE, "num_parameters": 10.0} | more
    return Trial(
        architecture=architecture,
        number=number,
        search="default-20260101-120000",
        folder=Path("default-20260101-120000"),
        metric="val_accuracy",
        best={} if score is None else {"val_accuracy": score},
        configuration=configuration,
        **given,
    )


def test_the_best_without_confirmation_ranks_first() -> None:
    trials = [
        trial("gru-0", 0.7),
        trial("gru-1", 0.9, outcome=Outcome.PRUNED),
        trial("mlp-2", 0.8, num_parameters=20.0),
        trial("mlp-1", 0.8),
        trial("rnn-0", 0.99, outcome=Outcome.DIVERGED),
        trial("rnn-1", None),
    ]
    assert ranking.best(trials, "val_accuracy").name == "mlp-1"
    assert ranking.best(trials, "val_loss").name == "gru-0"
    with pytest.raises(ValueError, match="none of the 2 trials has ended with a model"):
        ranking.best(trials[4:], "val_accuracy")


def test_the_best_confirmed_has_the_best_mean_not_the_best_score() -> None:
    repeated = [
        trial("gru-0", 0.95, "gru-7"),  # mean 0.80
        trial("gru-1", 0.65, "gru-7"),
        trial("gru-2", 0.82, "gru-3"),  # mean 0.83
        trial("gru-3", 0.84, "gru-3"),
        trial("mlp-0", 0.99, "mlp-1"),  # of the one that did not diverge
        trial("mlp-1", None, "mlp-1", outcome=Outcome.DIVERGED),
        trial("mlp-2", None, "mlp-1", outcome=Outcome.INTERRUPTED),
    ]
    assert ranking.best([trial("gru-9", 0.999), *repeated], "val_accuracy").name == "gru-3"


def test_the_best_is_the_leaderboards(smoke_search: FinishedSearch) -> None:
    search = runs.find_search(smoke_search.uri)
    board = leaderboard.by_architecture(runs.read_trials(smoke_search.uri, search.id), lookup.metric(search))
    best = board[board["trial"].notna()]
    chosen = lookup.best_of_each(smoke_search.uri, search)
    assert [each.name for each in chosen] == best["trial"].tolist()
    assert lookup.find(smoke_search.uri, "latest").name == chosen[0].name
    for each in chosen:
        assert lookup.find(smoke_search.uri, f"smoke:{each.architecture}") == each
        assert lookup.find(smoke_search.uri, f"{search.id}:{each.name}") == each
        assert each.run_id is not None
        assert lookup.find(smoke_search.uri, each.run_id[:8]) == each


def test_a_model_read_back_has_the_recorded_test_numbers(smoke_search: FinishedSearch) -> None:
    search = runs.find_search(smoke_search.uri)
    trials = runs.read_trials(smoke_search.uri, search.id).set_index("trial")
    corpus = load_corpus(read_spec(smoke_search.folder))
    compared = 0
    for each in lookup.best_of_each(smoke_search.uri, search):
        if each.outcome != Outcome.COMPLETE:
            continue
        model = loading.load(each)
        with torch.no_grad():
            tokens_NT, lengths_N = (torch.tensor(each) for each in (corpus.test.tokens_NT, corpus.test.lengths_N))
            logits_NC = model.model(tokens_NT, lengths_N)
        labels_N = torch.tensor(corpus.test.labels_N)
        accuracy = float((logits_NC.argmax(1) == labels_N).float().mean())
        loss = float(nn.functional.cross_entropy(logits_NC, labels_N))
        assert accuracy == pytest.approx(trials.loc[each.name, "test_accuracy"], abs=1e-6)
        assert loss == pytest.approx(trials.loc[each.name, "test_loss"], abs=1e-5)
        compared += 1
    assert compared >= 2


def test_what_cannot_be_read_is_told(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    found = lookup.find(smoke_search.uri, "latest:mlp-0")
    changed = dataclasses.replace(found, provenance={"data_digest": "f" * 64})
    with pytest.raises(ValueError, match="imdb has changed since mlp-0 learned from it"):
        loading.load(changed)
    with pytest.raises(ValueError, match="mlp-99 has no checkpoint in"):
        loading.load(dataclasses.replace(found, number=99))
    with pytest.raises(ValueError, match="not on this machine"):
        loading.load(dataclasses.replace(found, folder=tmp_path / "gone"))


# --- As commands


def test_explain_commands(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    arguments = ["analysis", "explain", "latest:attention", "this movie is great", "so bad qzxqz"]
    labels = ["--label", "positive", "--label", "negative"]
    out, png = tmp_path / "a.json", tmp_path / "a.png"
    done = here(*arguments, *labels, "--out", str(out), "--png", str(png), cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    rows = pd.DataFrame(json.loads(out.read_text(encoding="utf-8")))
    assert rows["word"].tolist() == ["this", "movie", "is", "great", "so", "bad", "qzxqz"]
    assert rows["unknown"].tolist() == [False] * 6 + [True]
    assert set(rows["looked at"].str.contains("%")) == {True}
    assert (rows["right"] == (rows["predicted"] == rows["label"])).all()
    means = rows.groupby("sentence")["score of positive"].mean()
    assert means.tolist() == pytest.approx(rows.groupby("sentence")["logit of positive"].first().tolist(), abs=1e-5)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.with_suffix(".csv").is_file()

    shown = here("analysis", "explain", "latest:gru", cwd=smoke_search.cwd)
    assert shown.returncode == 0, shown.stderr
    assert "this movie is great said no one" in shown.stdout
    assert shown.stdout.count("Scores: integrated gradients.") == 3
    assert "baseline" in shown.stdout


def test_mistakes_are_told(smoke_search: FinishedSearch) -> None:
    done = here("analysis", "explain", f"{smoke_search.id}:grü", "x", cwd=smoke_search.cwd)
    assert done.returncode == 2
    assert done.stderr.endswith("has no trial or architecture 'grü' (did you mean 'gru'?)\n")
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(ValueError, match="no search '0123456789abcdef'"):
        lookup.find(smoke_search.uri, "0123456789abcdef")
    with pytest.raises(ValueError, match=r"unknown class 'positiv' \(did you mean 'positive'\?\)"):
        words.check_labels(["positiv"], 1, ("negative", "positive"), TASKS["classification"])
    with pytest.raises(ValueError, match="got 2 for 1"):
        words.check_labels(["positive", "negative"], 1, ("negative", "positive"), TASKS["classification"])
