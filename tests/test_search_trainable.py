"""One trial as a worker runs it, over every architecture and every kind of embeddings, on a corpus of one's own."""

import copy
import csv
import dataclasses
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

import data
import models
from data.encoded import EncodedCorpus
from models import num_parameters
from search.base import schema
from search.base.names import config_name
from search.run.setting import make_setting
from search.spec import read, spec
from search.train import checkpoints
from search.train.parameter_matching import solve_hidden_size
from search.train.running import build_model, predictions_csv, run_trial
from search.train.stepping import alone
from search.train.tasks import TASKS
from search.train.training import Result
from search.tune.callback import Silent
from search.tune.worker import run_on

WORDS = {"good": ["great", "fine", "lovely"], "bad": ["awful", "poor", "dull"], "so-so": ["average", "plain", "usual"]}


@pytest.fixture(scope="module")
def csv_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of three classes, told by one word in five."""
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(240):
        label = list(WORDS)[i % 3]
        words = [*rng.choice(["the", "film", "was", "a", "story"], 4), rng.choice(WORDS[label]), str(i)]
        lines.append(f"{' '.join(words)},{label}")
    path = tmp_path_factory.mktemp("csv") / "texts.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def spec_and_corpus(csv_file: Path, embeddings: str) -> tuple[spec.Spec, EncodedCorpus]:
    content: dict[str, Any] = {
        "corpus": f"csv:{csv_file}",
        "architectures": list(models.of_task(models.CLASSIFICATION)),
        "embeddings": embeddings,
        "embedding_size": 12,
        "epochs": 12,
    }
    spec = read.validate(content)
    return spec, data.load(
        spec.corpus, embeddings=embeddings, embedding_size=12, cache=csv_file.parent / "cache", progress=False
    )  # type: ignore[arg-type]


def config_of(spec: spec.Spec, architecture: str, **changes: Any) -> dict[str, Any]:
    values = spec.default_point(architecture)
    return {schema.ARCHITECTURE: architecture, schema.NUMBER: 0, schema.SEED: 1} | values | changes


@pytest.mark.parametrize("architecture", models.of_task(models.CLASSIFICATION))
@pytest.mark.parametrize("embeddings", ["frozen", "finetuned", "learned"])
def test_every_architecture_learns_three_classes(architecture: str, embeddings: str, csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, embeddings)
    setting = make_setting(spec, csv_file.parent)
    config = config_of(spec, architecture, learning_rate=0.01, batch_size=16)
    results = list(run_trial(config, corpus, setting))
    assert [result.diverged for result in results] == [None] * 12
    assert results[-1].best["test_accuracy"] > 0.6  # 1/3 by chance
    assert 0 < results[-1].best["test_f1"] <= 1
    has_vectors = any("vectors_VE" in name for name in results[-1].state["model"])
    reads_vectors = models.of_task(models.CLASSIFICATION)[architecture].classify is not models.Architecture.classify
    assert has_vectors == (reads_vectors and embeddings != "frozen")  # no frozen vectors in each checkpoint


def test_a_trial_reads_its_own_words(csv_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here no sixth word is in the vocabulary: what is encoded at six words and cut is what is encoded at five."""
    monkeypatch.setenv("BAKEOFF_CACHE", str(csv_file.parent / "cache"))
    base = {"corpus": f"csv:{csv_file}", "embeddings": "learned", "embedding_size": 12, "epochs": 2}
    base["architectures"] = ["gru", "mlp"]

    def metrics(architecture: str, max_words: Any) -> list[dict[str, float]]:
        spec = read.validate(base | {"max_words": max_words})
        setting, corpus = make_setting(spec, csv_file.parent), read.load_corpus(spec)
        results = list(run_trial(config_of(spec, architecture, batch_size=16), corpus, setting))
        return [*(result.metrics | {schema.EPOCH_SECONDS: 0} for result in results), results[-1].best]

    of_each = {"gru": 5, "mlp": 6}
    for architecture, own in of_each.items():
        assert metrics(architecture, of_each) == metrics(architecture, own)
    assert metrics("gru", 5) != metrics("gru", 6)


def test_a_trial_starts_from_its_training_texts_and_a_resumed_one_from_its_weights(csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "frozen")
    setting = make_setting(spec, csv_file.parent)

    def results(state: dict[str, Any] | None = None, **changes: Any) -> tuple[list[dict[str, float]], dict[str, Any]]:
        """Of three reports, and the state after the first."""
        given = config_of(spec, "ngram", buckets=100, learning_rate=1e-5, batch_size=16, **changes)
        trial = itertools.islice(run_trial(given, corpus, setting, state), 3)
        first = next(trial)
        after = copy.deepcopy(first.state)
        return [each.metrics | {schema.EPOCH_SECONDS: 0} for each in (first, *trial)], after

    whole, after = results()
    assert whole[0]["train_accuracy"] > results(start="random")[0][0]["train_accuracy"] + 0.1
    before = copy.deepcopy(after["model"])
    assert results(after)[0][:2] == whole[1:]
    assert all(torch.equal(each, before[name]) for name, each in after["model"].items())


@pytest.mark.parametrize("patience", [None, 1])
def test_of_a_finished_trial_only_its_best_weights_are_kept(
    patience: int | None, csv_file: Path, tmp_path: Path
) -> None:
    spec, corpus = spec_and_corpus(csv_file, "learned")
    setting = make_setting(spec.model_copy(update={"patience": patience, "epochs": 12 if patience else 3}), tmp_path)
    setting.checkpoints.mkdir()
    config = config_of(spec, "mlp", learning_rate=0.05, batch_size=16)
    folder = setting.checkpoints / config_name(config)
    sizes, results = [], []
    for result, problem in alone(run_on(config, corpus, setting)):
        assert problem is None
        results.append(result)
        sizes.append([path.stat().st_size for path in sorted(folder.glob("epoch-*.pt"))])
    last = results[-1]
    assert patience is None or last.step < 12
    assert [len(each) for each in sizes] == [1, *[2] * (last.step - 2), 1]
    assert sizes[-1][0] < sizes[0][0] / 2.5
    saved = checkpoints.load_last(folder)
    assert saved
    assert Result.from_dict(saved["result"]) == last
    best = next(itertools.islice(run_trial(config, corpus, setting), last.best_step - 1, None))
    assert all(best.state["model"][name].equal(each) for name, each in saved["state"]["best_weights"].items())

    # The driver may be lost before it hears of the last report.
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert [result for result, _ in alone(run_on(config, corpus, setting))] == [last]
    assert files == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_finished_trial_s_checkpoint_of_earlier_versions_is_reported_again(csv_file: Path, tmp_path: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "learned")
    setting = make_setting(spec.model_copy(update={"epochs": 2}), tmp_path)
    setting.checkpoints.mkdir()
    config = config_of(spec, "mlp", batch_size=16)
    *_, last = run_trial(config, corpus, setting)
    checkpoints.save(
        setting.checkpoints / config_name(config), last.step, {"result": last.to_dict(), "state": last.state}
    )
    assert [result for result, _ in alone(run_on(config, corpus, setting))] == [last]


def test_the_seed_decides_the_weights(csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "learned")
    one, same, other = (
        build_model(config_of(spec, "gru", seed=seed), corpus, "learned").state_dict() for seed in (1, 1, 2)
    )
    assert all(one[name].equal(same[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_training_does_not_change_the_corpus_that_trials_share(csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "finetuned")
    assert corpus.vectors_VE is not None
    before = corpus.vectors_VE.copy(), corpus.train.tokens_W.copy()
    list(itertools.islice(run_trial(config_of(spec, "mlp"), corpus, make_setting(spec, csv_file.parent)), 2))
    assert np.array_equal(corpus.vectors_VE, before[0])
    assert np.array_equal(corpus.train.tokens_W, before[1])


@pytest.mark.parametrize("architecture", models.of_task(models.CLASSIFICATION))
@pytest.mark.parametrize("wanted", [22_210, 50_000])
def test_a_hidden_size_is_solved_for_every_architecture(architecture: str, wanted: int, csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "frozen")
    config = config_of(spec, architecture, num_layers=2, buckets=200)
    size = solve_hidden_size(config, wanted, corpus, "frozen")
    counts = [num_parameters(build_model(config | {"hidden_size": size + i}, corpus, "frozen")) for i in (-1, 0, 1)]
    assert abs(counts[1] - wanted) <= 0.02 * wanted
    assert abs(counts[1] - wanted) == min(abs(count - wanted) for count in counts)


def test_a_number_of_parameters_out_of_reach_says_what_is_nearest(csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "frozen")
    with pytest.raises(ValueError, match=r"no hidden_size gives 40 .* within 2%: the nearest, 1, gives 58"):
        solve_hidden_size(config_of(spec, "rnn"), 40, corpus, "frozen")
    with pytest.raises(ValueError, match="the nearest, 2048, gives"):
        solve_hidden_size(config_of(spec, "mlp"), 10**9, corpus, "frozen")


def test_kept_predictions_say_label_prediction_and_probabilities_of_each_text(csv_file: Path) -> None:
    _, corpus = spec_and_corpus(csv_file, "frozen")
    corpus = dataclasses.replace(corpus, classes=("bad", 'good, "really"', "so-so"))
    probabilities_NC = torch.full((len(corpus.test), 3), 0.25)
    probabilities_NC[:, 1] = 0.5
    text = predictions_csv(TASKS[models.CLASSIFICATION].predictions(probabilities_NC, corpus))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == [
        "label", "predicted", "probability of bad", 'probability of good, "really"', "probability of so-so"
    ]  # fmt: skip
    assert [row[0] for row in rows[1:]] == [corpus.classes[label] for label in corpus.test.labels_N]
    assert {tuple(row[1:]) for row in rows[1:]} == {('good, "really"', "0.250000", "0.500000", "0.250000")}


def test_a_trial_that_has_not_started_ends_without_a_word_of_rays(capsys: pytest.CaptureFixture[str]) -> None:
    trial = Trial("any", stub=True)
    for callback, says in ((TrialProgressCallback(), True), (Silent(), False)):
        callback.on_trial_complete(0, [trial], trial)
        assert ("Last result" in capsys.readouterr().out) is says
