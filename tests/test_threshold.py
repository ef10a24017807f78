"""Thresholds of the positive class, chosen on validation by the metric that ranks trials."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models import WordVectors
from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble
from search.serve.ensemble import load as load_model
from search.serve.export import _with_threshold
from search.train.metrics import METRICS
from search.train.tasks import TASKS
from search.train.tasks.base import Observation
from search.train.thresholding import HALF, MOST_TRIED, choose, threshold

TASK = TASKS["classification"]


def logits(*positive: float) -> torch.Tensor:
    return torch.tensor([[1 - each, each] for each in positive]).log()


def seen(labels: list[int], *positive: float) -> Observation:
    return TASK.observe(logits(*positive), (torch.tensor(labels),), 0.0)


def test_it_lies_between_the_texts_that_it_parts() -> None:
    rare = seen([0, 0, 0, 1, 0, 1], 0.01, 0.02, 0.05, 0.2, 0.1, 0.3)
    assert choose(METRICS["macro_f1"], rare) == pytest.approx(0.15)
    assert choose(METRICS["accuracy"], rare) == pytest.approx(0.15)
    # of equally good ones the nearest to one half; and that itself where none is better
    assert choose(METRICS["accuracy"], seen([0, 1, 0, 1], 0.1, 0.2, 0.3, 0.45)) == pytest.approx(0.375)
    assert choose(METRICS["f1"], seen([0, 1], 0.1, 0.9)) == HALF
    assert choose(METRICS["accuracy"], seen([0, 0], 0.1, 0.2)) == HALF


def test_no_other_threshold_is_better() -> None:
    rng = np.random.default_rng(0)
    labels_N = (rng.random(150) < 0.2).astype(int)
    found = seen(labels_N.tolist(), *np.clip(0.1 + 0.2 * labels_N + 0.1 * rng.standard_normal(150), 0.01, 0.99))
    scores_N = found.outputs_N[:, 1]
    for name in ("f1", "macro_f1", "mcc", "balanced_accuracy", "weighted_f1", "accuracy"):
        tried = {
            float(each): METRICS[name].compute(dataclasses.replace(found, predicted_N=(scores_N > each).long()))
            for each in scores_N
        }
        best = choose(METRICS[name], found)
        chosen = METRICS[name].compute(dataclasses.replace(found, predicted_N=(scores_N > best).long()))
        assert chosen >= max(tried.values()) - 1e-9


def test_texts_of_the_same_probability_stand_together() -> None:
    # 0.3 is of a text of either class, 0.4 of the positive one only: what parts them is between the two.
    labels = [0, 0, 0, 1, 0, 0, 1, 1]
    assert choose(METRICS["accuracy"], seen(labels, *[0.3] * 6, 0.4, 0.4)) == pytest.approx(0.35)
    for last in range(6):
        own = [0] * 6
        own[last] = 1
        assert choose(METRICS["f1"], seen([*own, 1, 1], *[0.3] * 6, 0.4, 0.4)) == pytest.approx(0.35)


def test_of_very_many_some_are_tried() -> None:
    rng = np.random.default_rng(0)
    labels_N = rng.integers(2, size=5000)
    found = seen(labels_N.tolist(), *np.clip(rng.random(5000), 0.01, 0.99))
    computed = []
    metric = dataclasses.replace(METRICS["f1"], compute=lambda each: computed.append(1) or 0.0)
    assert choose(metric, found) == HALF
    assert len(computed) == MOST_TRIED + 1


def test_what_is_kept_are_both_numbers_and_test_chooses_nothing() -> None:
    val = logits(0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4), (torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),)
    test = logits(0.2, 0.4, 0.26, 0.9), (torch.tensor([0, 0, 1, 1]),)
    kept = threshold(TASK, "val_accuracy", *val, *test)
    assert kept == pytest.approx({"threshold": 0.25, "threshold_val": 1.0, "threshold_test": 3 / 4})
    assert threshold(TASK, "val_accuracy", *val, test[0], (1 - test[1][0],))["threshold"] == kept["threshold"]


def test_it_is_one_half_where_another_is_better_on_some_texts_only() -> None:
    """The first, third, ... text favour 0.25, which gains nothing on the others."""
    val = logits(0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4), (torch.tensor([0, 0, 0, 0, 1, 0, 1, 1]),)
    assert choose(METRICS["accuracy"], TASK.observe(*val, 0.0)) == pytest.approx(0.35)
    assert threshold(TASK, "val_accuracy", *val, *val)["threshold"] == HALF


@pytest.mark.parametrize("metric", ["val_loss", "val_roc_auc", "val_average_precision"])
def test_a_metric_of_probabilities_has_none(metric: str) -> None:
    val = logits(0.1, 0.4), (torch.tensor([0, 1]),)
    assert threshold(TASK, metric, *val, *val) == {}


def test_more_classes_and_several_a_text_have_none() -> None:
    three = torch.eye(3), (torch.arange(3),)
    assert threshold(TASK, "val_accuracy", *three, *three) == {}
    several = torch.zeros(3, 2), (torch.ones(3, 2),)
    assert threshold(TASKS["multi_label"], "val_accuracy", *several, *several) == {}


def text_model() -> TextModel:
    torch.manual_seed(0)
    vocabulary = ["<pad>", "<unk>", "good", "bad", "so"]
    weights = models.build("mlp", WordVectors.learned(len(vocabulary), 4), 2).state_dict()
    return TextModel.build("mlp", {}, ["legit", "fraud"], vocabulary, 5, weights, None)


def test_an_exported_model_answers_by_it_before_and_after_it_is_written(tmp_path: Path) -> None:
    model, texts = text_model(), ["good", "bad", "so good", "so bad"]
    second, high = model.outputs(texts)[:, 1].sort().values[[-2, -1]].tolist()
    scores = dict.fromkeys(("threshold_val", "threshold_test", "val_macro_f1", "test_macro_f1"), 0.5)
    kept, told = _with_threshold(model, {"threshold": (second + high) / 2, **scores}, "val_macro_f1")
    assert told is not None
    assert "'fraud' is predicted from a probability of" in str(told)
    wanted = ["fraud" if each > kept.threshold else "legit" for each in kept.outputs(texts)[:, 1]]
    assert set(wanted) == {"fraud", "legit"}
    assert kept.answer(texts)["predicted"] == wanted
    assert model.answer(texts)["predicted"] != wanted
    kept.save(tmp_path / "model")
    assert load_model(tmp_path / "model").answer(texts)["predicted"] == wanted
    both = Ensemble({"a": model, "b": model}, threshold=kept.threshold)
    both.save(tmp_path / "both")
    assert load_model(tmp_path / "both").answer(texts)["predicted"] == wanted


def test_a_temperature_moves_it_and_changes_no_answer() -> None:
    model, texts = text_model(), ["good", "bad", "so good", "so bad"]
    middle = float(model.outputs(texts)[:, 1].median()) + 1e-4
    metrics = {"threshold": middle} | dict.fromkeys(("threshold_val", "threshold_test", "val_f1", "test_f1"), 0.5)
    plain, _ = _with_threshold(model, metrics, "val_f1")
    tempered, _ = _with_threshold(dataclasses.replace(model, temperature=0.2), metrics, "val_f1")
    assert abs(tempered.threshold - 0.5) > abs(plain.threshold - 0.5)
    assert tempered.answer(texts)["predicted"] == plain.answer(texts)["predicted"]
    assert _with_threshold(model, {"threshold": 0.5}, "val_f1") == (model, None)
