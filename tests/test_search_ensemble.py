"""Ensembles: selected on validation, averaged, and recorded as a run that is not a trial.

Shapes: N texts, C classes.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import sklearn.metrics
import torch

from analysis.base import runs
from analysis.boards.ensembles import ensemble_tables
from bakeoff import boards
from data.base.errors import UserError
from search.base import schema
from search.base.schema import Outcome
from search.prove import audit
from search.run.confirm import trials_of
from search.serve import ensemble, export, loading
from search.serve.selection import Selection, pool, select
from search.spec.read import read_examples
from search.study import ranking
from search.study.trial import Trial
from tests.conftest import FinishedSearch, here
from tests.test_analysis_explain import classifier

TEXTS = ["this movie is great", "the worst film ever, really bad", "qzxqz", ""]


def trial(architecture: str, number: int, score: float) -> Trial:
    of: dict[str, Any] = {"search": "s", "folder": Path("s"), "metric": "val_accuracy", "outcome": Outcome.COMPLETE}
    return Trial(architecture=architecture, number=number, best={"val_accuracy": score}, **of)


def test_the_pool_is_the_best_of_all_and_the_best_of_each() -> None:
    trials = [trial("gru", number, 0.9 - number / 100) for number in range(4)]
    trials += [trial("mlp", 0, 0.7), trial("mlp", 1, 0.8)]
    ranked = sorted(trials, key=ranking.order("val_accuracy"))

    def names(size: int, *lost: str) -> list[str]:
        return [each.name for each, _ in pool(ranked, size, lambda of: None if of.name in lost else torch.ones(1, 2))]

    assert names(2) == ["gru-0", "gru-1", "mlp-1"]
    assert names(2, "gru-1", "mlp-1") == ["gru-0", "gru-2", "mlp-0"]
    assert names(9) == ["gru-0", "gru-1", "gru-2", "gru-3", "mlp-1", "mlp-0"]


def test_an_ensemble_is_the_mean_of_models_that_read_their_own_words(tmp_path: Path) -> None:
    members = {"mlp-0": classifier("mlp"), "gru-1": dataclasses.replace(classifier("gru"), max_words=2)}
    ensemble.Ensemble(members, {"search": "some"}).save(tmp_path / "model")
    read = ensemble.load(tmp_path / "model")
    assert isinstance(read, ensemble.Ensemble)
    assert list(read.members) == list(members)
    assert [member.max_words for member in read.members.values()] == [classifier("mlp").max_words, 2]
    outputs = [member.outputs(TEXTS) for member in members.values()]
    assert torch.equal(read.outputs(TEXTS), (outputs[0] + outputs[1]) / 2)
    assert read.card == {"search": "some"}
    assert torch.equal(outputs[1], members["gru-1"].outputs([" ".join(text.split()[:2]) for text in TEXTS]))
    assert read.answer(TEXTS)["predicted"] == [read.classes[i] for i in read.outputs(TEXTS).argmax(1)]
    classifier("mlp").save(tmp_path / "one")
    assert not isinstance(ensemble.load(tmp_path / "one"), ensemble.Ensemble)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((None, 1), "--ensemble: the number of models to average, should be at least 2; got 1"),
        (("gru", 2), "--ensemble chooses among all architectures: leave out --architecture gru, or --ensemble"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[Any, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{problem}$"):
        export.export("latest", tmp_path, "", *arguments)


@pytest.fixture(scope="module")
def trials(smoke_search: FinishedSearch) -> list[Trial]:
    return list(trials_of(smoke_search.folder, smoke_search.folder.parent))


@pytest.fixture(scope="module")
def selected(trials: list[Trial], smoke_search: FinishedSearch) -> Selection:
    return select(trials, smoke_search.folder, 3)


def test_each_model_is_the_one_with_which_the_average_is_best_on_validation(
    selected: Selection, trials: list[Trial], smoke_search: FinishedSearch
) -> None:
    metric, spec = selected.metric, smoke_search.spec
    examples = read_examples(spec, "val")
    labels_N = torch.tensor([label for _, label in examples])
    ranked = ranking.candidates([each for each in trials if each.outcome is Outcome.COMPLETE], metric)
    found = pool(ranked, 3, lambda of: loading.load(of).outputs([text for text, _ in examples]))
    outputs = {each.name: outputs_NC for each, outputs_NC in found}
    chosen: list[str] = []
    for number, step in enumerate(selected.steps, 1):
        assert len(step.members) == number
        tried = {}
        for name in set(outputs) - set(chosen):
            mean_NC = torch.stack([outputs[each] for each in [*chosen, name]]).double().mean(0)
            mean_NC /= mean_NC.sum(1, keepdim=True)
            loss = sklearn.metrics.log_loss(labels_N, mean_NC)
            tried[name] = (sklearn.metrics.accuracy_score(labels_N, mean_NC.argmax(1)), -loss)
        chosen.append(step.members[-1].name)
        # the first by the metric that ranks, the others by the loss alone
        best = max(tried.values(), key=lambda each: each if number == 1 else each[1])
        assert tried[chosen[-1]] == pytest.approx(best, abs=1e-6)
        assert (step.metrics["val_accuracy"], -step.metrics["val_loss"]) == pytest.approx(best, abs=1e-6)
    first = selected.steps[0].members[0]
    assert selected.steps[0].metrics["val_accuracy"] == pytest.approx(first.best["val_accuracy"])
    assert selected.best.metrics[metric] == max(step.metrics[metric] for step in selected.steps)


def test_what_cannot_be_read_is_left_out(trials: list[Trial], smoke_search: FinishedSearch) -> None:
    lost = [dataclasses.replace(each, number=90 + each.number) for each in trials if each.architecture == "gru"]
    rest = [each for each in trials if each.architecture != "gru"]
    found = select([*lost, *rest], smoke_search.folder, 2)
    assert "gru" not in {each.architecture for each in found.steps[-1].members}
    assert any("has no checkpoint in" in line for line in found.left_out)
    assert any(line.startswith("Left out: gru-9") for line in found.lines())
    with pytest.raises(UserError, match=r"needs two trained models; smoke-.* has 0 to choose from; gru-9"):
        select(lost, smoke_search.folder, 2)


def test_it_is_registered_as_one_model_with_a_run_of_its_own_that_is_no_trial(
    selected: Selection, smoke_search: FinishedSearch
) -> None:
    before = runs.read_trials(smoke_search.uri, smoke_search.id)
    exported = export.export("latest", smoke_search.folder.parent, smoke_search.uri, ensemble=3)
    assert exported.uri == "models:/smoke-imdb@ensemble"
    assert runs.read_trials(smoke_search.uri, smoke_search.id).equals(before)
    assert audit.audit(smoke_search.folder, smoke_search.uri) == []

    client = mlflow.MlflowClient(smoke_search.uri)
    version = client.get_model_version_by_alias("smoke-imdb", "ensemble")
    members = ", ".join(each.name for each in selected.best.members)
    assert version.tags == {"search": smoke_search.id, "members": members}
    run = client.get_run(version.run_id)
    assert (run.info.status, run.data.tags["kind"], run.data.params) == ("FINISHED", "ensemble", {"members": members})
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert (parent.data.tags["kind"], parent.data.tags["search"]) == ("search", smoke_search.id)
    assert run.data.metrics["best_val_accuracy"] == pytest.approx(selected.metrics["val_accuracy"])
    said = runs.read_predictions(smoke_search.uri, version.run_id)
    assert said is not None
    assert (said["label"] == said["predicted"]).mean() == pytest.approx(run.data.metrics["test_accuracy"])
    labels = [label for _, label in read_examples(smoke_search.spec, "test")]
    assert said["label"].tolist() == [selected.ensemble.classes[label] for label in labels]

    search = runs.find_search(smoke_search.uri, smoke_search.id)
    assert ensemble_tables(smoke_search.uri, dataclasses.replace(search, id="another")) == []
    (table,) = ensemble_tables(smoke_search.uri, search)
    (row,) = table.frame.to_dict("records")  # of equal ones the newest
    assert row["run_id"] == version.run_id
    assert (row["members"], row["test_accuracy"]) == (members, run.data.metrics["test_accuracy"])
    shown = boards.leaderboard(smoke_search.uri, smoke_search.id)
    assert [each.title for each in shown].count(table.title) == 1
    assert (
        not boards.leaderboard(smoke_search.uri, smoke_search.id, form="csv")[0].frame["run_id"].eq(row["run_id"]).any()
    )


@pytest.mark.slow
def test_as_a_command_it_says_what_was_chosen_and_needs_nothing_of_the_project(
    selected: Selection, smoke_search: FinishedSearch, tmp_path: Path
) -> None:
    done = here("search", "export", "latest", "--ensemble", "3", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    for line in selected.lines():
        assert line in done.stdout
    assert line.startswith("The selected ensemble on test")
    assert "test_accuracy" in line
    assert "test_mcc" not in line  # only what tables show
    assert "models:/smoke-imdb@ensemble" in done.stdout
    again = export.export("latest", smoke_search.folder.parent, smoke_search.uri, ensemble=3)
    newest = mlflow.MlflowClient(smoke_search.uri).get_model_version("smoke-imdb", again.version)
    (row,) = runs.read_ensembles(smoke_search.uri, smoke_search.id).to_dict("records")
    assert row["run_id"] == newest.run_id
    code = (
        "import json, sys, mlflow, pandas\n"
        "place = mlflow.artifacts.download_artifacts(sys.argv[1])\n"
        "answer = mlflow.pyfunc.load_model(place).predict(pandas.DataFrame({'text': json.loads(sys.argv[2])}))\n"
        "(ensemble,) = [module for name, module in sys.modules.items() if name.endswith('.serve.ensemble')]\n"
        "assert ensemble.__file__.startswith(place)\n"
        "print(place)\n"
        "print(answer.to_json(orient='records', double_precision=15))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": smoke_search.uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    arguments = [sys.executable, "-c", code, "models:/smoke-imdb@ensemble", json.dumps(TEXTS)]
    loaded = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert loaded.returncode == 0, loaded.stderr
    place, answer = loaded.stdout.splitlines()[-2:]
    names = [f"probability of {name}" for name in selected.ensemble.classes]
    calibrated = dataclasses.replace(selected.ensemble, temperature=selected.metrics[schema.TEMPERATURE])
    expected_NC = calibrated.outputs(TEXTS).numpy()
    assert pd.DataFrame(json.loads(answer))[names].to_numpy() == pytest.approx(expected_NC, abs=1e-6)
    (card,) = Path(place).rglob("ensemble.json")
    assert len(json.loads(card.read_text())["tried"]) == len(selected.steps)
    assert not [path for path in Path(place).rglob("*") if path.suffix in (".pkl", ".pickle")]
