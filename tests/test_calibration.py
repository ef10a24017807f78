"""Calibration: a temperature computed by hand, for an overconfident model, and in exported models.

Shapes: N texts, C classes.
"""

import dataclasses
import math
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
import torch

import data
import models
from analysis.base import runs
from analysis.explain import words
from analysis.figures import reliability as figure
from analysis.figures.style import STYLE, looks
from bakeoff import api
from data.base.reading import Reading
from data.encoded import TEXTS
from search.base import schema
from search.run.confirm import trials_of
from search.run.setting import make_setting
from search.serve import export
from search.serve.calibration import of_trial
from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble
from search.serve.loading import load
from search.spec import read as specs
from search.train import calibrating, training
from search.train.running import run_trial
from search.train.tasks import TASKS
from search.train.tasks.observed import calibration_error, reliability
from tests.conftest import FinishedSearch, command


def two_classes(margin: float, num: int, num_right: int) -> tuple[torch.Tensor, tuple[torch.Tensor]]:
    """Equally confident logits of texts, some of which are wrong."""
    logits_NC = torch.tensor([[0.0, margin]] * num_right + [[margin, 0.0]] * (num - num_right))
    return logits_NC, (torch.ones(num, dtype=torch.int64),)


def test_a_temperature_by_hand() -> None:
    """With 80 of 100 texts right, the calibrated probability is 81/102, by Platt's targets."""
    logits_NC, targets = two_classes(4.0, 100, 80)
    found = calibrating.temperature(TASKS["classification"], logits_NC, targets)
    assert found == pytest.approx(4.0 / math.log(81 / 21), rel=1e-3)
    shares_NC = (logits_NC / found).softmax(1)
    assert calibration_error(shares_NC, targets[0], logits_NC.argmax(1)) == pytest.approx(abs(81 / 102 - 0.8), abs=1e-4)
    # The same for two independent classes, one of which never occurs.
    logits_NC = torch.stack([logits_NC[:, 1] - logits_NC[:, 0], torch.full((100,), -50.0)], 1)
    labels_NC = torch.tensor([[1, 0]] * 100, dtype=torch.uint8)
    alone = calibrating.temperature(TASKS["multi_label"], logits_NC[:, :1], (labels_NC[:, :1],))
    assert alone == pytest.approx(found, rel=1e-3)


def test_a_few_texts_that_are_all_right_ask_for_no_certainty() -> None:
    logits_NC, targets = two_classes(1.0, 10, 10)
    found = calibrating.temperature(TASKS["classification"], logits_NC, targets)
    assert found == pytest.approx(1 / math.log(11), rel=1e-3)
    uniform_NC = torch.zeros(10, 3)
    assert calibrating.temperature(TASKS["classification"], uniform_NC, (torch.arange(10) % 3,)) == 1.0


def test_bins_by_hand() -> None:
    outputs_NC = torch.tensor([[0.9, 0.1], [0.92, 0.08], [0.3, 0.7]], dtype=torch.float64)
    bins = reliability(outputs_NC, torch.tensor([0, 1, 1]), outputs_NC.argmax(1))
    assert bins == [(pytest.approx(0.7), 1.0, 1), (pytest.approx(0.91), 0.5, 2)]
    # Of several classes, each answer by itself: 0.9 and 0.8 that are right, 0.6 that is wrong.
    several_NC = torch.tensor([[0.9, 0.2, 0.6]], dtype=torch.float64)
    said_NC = (several_NC > 0.5).long()
    bins = reliability(several_NC, torch.tensor([[1, 0, 0]]), said_NC)
    assert bins == [(pytest.approx(0.6), 0.0, 1), (pytest.approx(0.8), 1.0, 1), (pytest.approx(0.9), 1.0, 1)]
    expected = (0.6 + 0.2 + 0.1) / 3
    assert calibration_error(several_NC, torch.tensor([[1, 0, 0]]), said_NC) == pytest.approx(expected)


@pytest.mark.parametrize("several", [False, True])
def test_a_model_that_is_too_sure_loses_less_and_predicts_the_same(several: bool, tmp_path: Path) -> None:
    """The model has memorised a few reviews."""
    reading = Reading(multi_label=";" if several else None)
    corpus = data.load("imdb", limit=600, max_words=40, reading=reading, texts=True, progress=False)
    keys = {"multi_label": ";"} if several else {}
    spec = specs.validate({"name": "a", "corpus": "imdb", "architectures": ["mlp"], "epochs": 15, **keys})
    setting, task = make_setting(spec, tmp_path), TASKS["multi_label" if several else "classification"]
    config = {schema.ARCHITECTURE: "mlp", schema.NUMBER: 0, schema.SEED: 1} | spec.default_point("mlp")
    *_, last = run_trial(config | {"learning_rate": 0.02, "batch_size": 32}, corpus, setting)
    assert schema.TEMPERATURE in last.best

    own = {key: config[key] for key in models.architecture("mlp").hyperparameters}
    model = TextModel.build(
        "mlp", own, corpus.classes, corpus.vocabulary, 40, last.state["model"], corpus.vectors_VE, task=task.name
    )
    texts, targets = [*corpus.val.arrays[TEXTS]], task.tensors(corpus.val)
    divisor = calibrating.temperature(task, task.logits(model.outputs(texts)), targets)
    assert divisor > 1.2
    calibrated = dataclasses.replace(model, temperature=divisor)
    before, after = (
        training.measure(task, task.logits(each.outputs(texts)), targets, "val") for each in (model, calibrated)
    )
    assert after["val_loss"] < before["val_loss"] - 0.01
    assert after["val_ece"] < before["val_ece"]
    assert after["val_accuracy"] == before["val_accuracy"]
    assert model.answer(texts)["predicted"] == calibrated.answer(texts)["predicted"]


def test_an_estimator_is_calibrated_on_its_probabilities(tmp_path: Path) -> None:
    corpus = data.load("imdb", limit=600, max_words=40, texts=True, progress=False)
    spec = specs.validate({"name": "a", "corpus": "imdb", "architectures": ["mlp"]})
    config = {schema.ARCHITECTURE: "nbsvm", schema.NUMBER: 0, schema.SEED: 1, "ngrams": 2, "C": 100.0}
    (result,) = run_trial(config | {"interpolation": 0.5}, corpus, make_setting(spec, tmp_path))
    assert result.best[schema.TEMPERATURE] > 1.2
    assert result.best[schema.CALIBRATED_ECE] < result.best["test_ece"]
    assert schema.TEMPERATURE not in result.metrics
    files, own = result.state["best_weights"], {"ngrams": 2, "C": 100.0, "interpolation": 0.5}
    model, calibrated = (
        TextModel.build("nbsvm", own, corpus.classes, corpus.vocabulary, 40, files, None, temperature=each)
        for each in (1.0, result.best[schema.TEMPERATURE])
    )
    texts = ["a great movie", "the worst movie of all"]
    odds, other = (torch.log(each[:, 1] / each[:, 0]) for each in (model.outputs(texts), calibrated.outputs(texts)))
    torch.testing.assert_close(odds / result.best[schema.TEMPERATURE], other, rtol=1e-3, atol=1e-3)
    both = Ensemble({"a": model, "b": model}, temperature=2.0)
    both.save(tmp_path / "both")
    again = Ensemble.load(tmp_path / "both")
    assert again.temperature == 2.0
    torch.testing.assert_close(torch.logit(again.outputs(texts)[:, 1]), odds / 2, rtol=1e-3, atol=1e-3)


def test_a_search_keeps_its_calibration_and_exports_it(smoke_search: FinishedSearch) -> None:
    done = command("search", "export", smoke_search.id, "--architecture", "mlp", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = list(trials_of(smoke_search.folder, smoke_search.folder.parent))
    trial, _ = export.choose(trials, smoke_search.spec.metric, smoke_search.id, "mlp")
    temperature = trial.best[schema.TEMPERATURE]
    assert f"Calibrated at temperature {temperature:.2f}: expected calibration error on test" in done.stdout
    assert f"{trial.best[schema.CALIBRATED_ECE]:.4f}, {trial.best['test_ece']:.4f} before" in done.stdout
    assert trial.run_id
    bins = runs.read_reliability(smoke_search.uri, trial.run_id)
    assert bins is not None
    for calibrated, name in ((0, "test_ece"), (1, schema.CALIBRATED_ECE)):
        own = bins[bins["calibrated"] == calibrated]
        apart = ((own["confidence"] - own["right"]).abs() * own["answers"]).sum() / own["answers"].sum()
        assert apart == pytest.approx(trial.best[name], abs=1e-5)

    # In a separate process, with MLflow only.
    uri = f"models:/{export.registered_name(smoke_search.spec)}@mlp"
    done = command("analysis", "predict", uri, "this movie is great", "--format", "csv", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    model = load(trial)
    raw = float(model.outputs(["this movie is great"])[0, 1])
    share = 1 / (1 + math.exp(-math.log(raw / (1 - raw)) / temperature))
    header, row = (line.split(",") for line in done.stdout.splitlines()[:2])
    assert float(row[header.index("probability of positive")]) == pytest.approx(share, abs=1e-4)

    # And so say what Python and an explanation ask a trial.
    found = api.open(smoke_search.id, tracking_uri=smoke_search.uri, searches=smoke_search.folder.parent)
    (explanation,) = words.explain_all(found.best("mlp"), ["this movie is great"], None)
    (answer,) = found.predict("this movie is great", "mlp")["probability of positive"]
    assert [answer, explanation.probabilities_C[1]] == pytest.approx([share, share], abs=1e-4)

    # A search from before trials were calibrated: from the held-out texts, the same.
    best = {name: value for name, value in trial.best.items() if name != schema.TEMPERATURE}
    trial.best = best
    again = of_trial(trial, model)
    assert again[schema.TEMPERATURE] == pytest.approx(temperature, rel=1e-3)
    assert again["test_ece"] == pytest.approx(best["test_ece"], abs=1e-4)


def test_the_figure_has_a_panel_for_each_model() -> None:
    rows = [
        {"architecture": name, "calibrated": each, "temperature": 1.5, "confidence": c, "right": c - 0.1, "answers": 20}
        for name in ("gru", "mlp", "nbsvm")
        for each in (0.0, 1.0)
        for c in (0.55, 0.7, 0.95)
    ]
    with matplotlib.rc_context(STYLE):
        drawn = figure.draw(pd.DataFrame(rows), looks(["gru", "mlp"]))
    titles = [axes.get_title() for axes in drawn.axes if axes.get_visible()]
    assert titles == ["gru, temperature 1.50", "mlp, temperature 1.50", "nbsvm, temperature 1.50"]


def test_calibration_is_nothing_without_classes() -> None:
    task = TASKS["text_to_image"]
    nothing = torch.zeros(2, 16, 16), (torch.zeros(2, 16, 16), torch.zeros(2, 4, dtype=torch.int64))
    assert calibrating.calibrate(task, *nothing, *nothing) == {}
