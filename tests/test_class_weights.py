"""Class weights: how they are computed, the key of the spec, and their effects."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

import data
import models
from data.base.errors import UserError
from data.encoded import EncodedCorpus
from models.parts.estimator import fit_weighted
from search.run.setting import make_setting
from search.spec import read as specs
from search.train.config import defaults
from search.train.running import run_trial
from search.train.tasks import TASKS
from search.train.training import Result
from search.train.weighting import class_weights
from tests.conftest import as_read

LABELS_N = np.array([0] * 6 + [1] * 3 + [2])


def test_the_weights_by_hand() -> None:
    assert class_weights("none", "abc", LABELS_N) is None
    balanced_C = class_weights("balanced", "abc", LABELS_N)
    assert balanced_C is not None
    assert balanced_C == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert balanced_C == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=LABELS_N))
    assert balanced_C[LABELS_N].mean() == pytest.approx(1)
    assert class_weights({"c": 5}, "abc", LABELS_N) == pytest.approx([1, 1, 5])


def test_the_loss_is_the_mean_over_weights() -> None:
    task, logits_NC, labels_N = TASKS["classification"], torch.randn(4, 2), torch.tensor([0, 0, 0, 1])
    of_each_N = [float(task.loss(logits_NC[[n]], (labels_N[[n]],))) for n in range(4)]
    weighted = task.loss(logits_NC, (labels_N,), weights_C=torch.tensor([1.0, 3.0]))
    assert float(weighted) == pytest.approx(np.average(of_each_N, weights=[1, 1, 1, 3]), rel=1e-5)


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("balnced", r"class_weights: unknown class_weights 'balnced' \(did you mean 'balanced'\?\)"),
        ({"fraud": 0}, "class_weights: the weight of 'fraud' should be a number above 0; got 0"),
        ({"fraud": "x"}, "class_weights: the weight of 'fraud' should be a number above 0; got 'x'"),
        ([1, 2], r"class_weights: should be none, balanced or a mapping from class to weight; got \[1, 2\]"),
        ({True: 2}, "class_weights: YAML reads it as True; write the class in quotes"),
    ],
)
def test_a_wrong_key_is_one_line(written: Any, line: str) -> None:
    with pytest.raises(UserError, match=line):
        specs.validate({"architectures": ["mlp"], "class_weights": written})


def test_numbers_are_names_of_classes_and_images_have_none() -> None:
    spec = specs.validate({"architectures": ["mlp"], "class_weights": {0: 1, "1": 2.5}})
    assert spec.class_weights == {"0": 1.0, "1": 2.5}
    assert specs.load(specs.dump(spec), "spec.yaml") == spec
    assert specs.validate({"architectures": ["mlp"]}).class_weights == "none"
    images = {"architectures": ["text_to_image"], "corpus": "captions", "embeddings": "learned"}
    with pytest.raises(
        UserError,
        match="class_weights: only for single-label classification, not for text_to_image",
    ):
        specs.validate(images | {"class_weights": "balanced"})


# --- What they change


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> str:
    """900 texts of one class and 100 of another, whose words also occur in the first, half as often."""
    draw, rows = random.Random(0), []
    for label, count, words in (("normal", 900, "a b c d e f g h x y"), ("fraud", 100, "a b c d e f x y x y")):
        rows += [f"{' '.join(draw.choices(words.split(), k=8))} {label[0]}{n},{label}" for n in range(count)]
    path = tmp_path_factory.mktemp("own") / "overlapping.csv"
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return f"csv:{path}"


@pytest.fixture(scope="module")
def corpus(overlapping: str, tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    cache = tmp_path_factory.mktemp("cache")
    return data.load(overlapping, embeddings="learned", texts=True, cache=cache, progress=False)


def last(architecture: str, corpus: EncodedCorpus, folder: Path, **changes: Any) -> Result:
    usual = {"corpus": corpus.name, "embeddings": "learned", "architectures": ["mlp"], "epochs": 4}
    setting = make_setting(specs.validate(usual | changes), folder)
    config = {"architecture": architecture, "number": 0, "seed": 1, **defaults(architecture)}
    config |= {"learning_rate": 0.01} if "learning_rate" in config else {}
    return list(run_trial(config, corpus, setting))[-1]


def recall(result: Result, corpus: EncodedCorpus) -> float:
    """The recall of the rare class on test."""
    assert result.test_outputs_N is not None
    rare_N = corpus.test.labels_N == corpus.classes.index("fraud")
    return float((result.test_outputs_N.argmax(1).numpy()[rare_N] == 1).mean())


@pytest.mark.parametrize("architecture", ["mlp", "tfidf", "nbsvm"])
def test_balanced_weights_find_more_of_the_rare_class(architecture: str, corpus: EncodedCorpus, tmp_path: Path) -> None:
    plain, balanced = (last(architecture, corpus, tmp_path, class_weights=each) for each in ("none", "balanced"))
    assert recall(balanced, corpus) > recall(plain, corpus) + 0.1
    # Weights make the rare class count as much; the measured loss is over unweighted texts.
    assert balanced.best["val_loss"] > plain.best["val_loss"]
    assert balanced.test_outputs_N is not None
    of_label_N = balanced.test_outputs_N[range(len(corpus.test)), corpus.test.labels_N.tolist()]
    assert balanced.best["test_loss"] == pytest.approx(float(-of_label_N.log().mean()), rel=1e-4)


def test_the_majority_stays_what_it_is_and_equal_weights_change_nothing(corpus: EncodedCorpus, tmp_path: Path) -> None:
    plain, balanced = (last("majority", corpus, tmp_path, class_weights=each) for each in ("none", "balanced"))
    assert plain.best == balanced.best
    equal = last("mlp", corpus, tmp_path, class_weights={"fraud": 1})
    assert equal.best == last("mlp", corpus, tmp_path).best


def test_a_wrong_class_is_told_before_anything_is_trained(overlapping: str) -> None:
    spec = {"corpus": overlapping, "embeddings": "learned", "architectures": ["mlp"], "class_weights": {"frud": 2}}
    line = r"^class_weights: no class 'frud' \(did you mean 'fraud'\?\); the classes are 'normal', 'fraud'$"
    with pytest.raises(UserError, match=line):
        specs.load_corpus(specs.validate(spec))


def test_a_pipeline_gives_them_to_its_last_step_and_what_cannot_weigh_says_so() -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    texts, labels_N = ["a b", "a c", "a b", "a d"] * 4, np.array([0, 0, 0, 1] * 4)
    found = []
    for weights_N in (None, np.where(labels_N == 1, 50.0, 1.0)):
        made = make_pipeline(CountVectorizer(token_pattern=r"\w"), LogisticRegression())
        fit_weighted(made, texts, labels_N, weights_N)
        found.append(made.predict_proba(["a"])[0, 1])
    assert found[1] > 0.5 > found[0]
    neighbours = make_pipeline(CountVectorizer(), KNeighborsClassifier())
    with pytest.raises(UserError, match="fit of KNeighborsClassifier takes no sample_weight"):
        fit_weighted(neighbours, texts, labels_N, np.ones(len(texts)))


def test_every_baseline_takes_them() -> None:
    for name in models.BASELINES:
        estimator = models.build_estimator(name)
        fit_weighted(estimator, as_read(name, ["a b", "a b", "a c", "a c"]), np.array([0, 0, 1, 1]), np.ones(4))
