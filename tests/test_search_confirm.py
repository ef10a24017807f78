"""Confirmation: the best configurations again, on seeds of their own, as a search like any other."""

import json
import os
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import FinishedSearch, command
from test_search_studies import HERE, epoch_result

import data
from analysis.base import runs as analysis_runs
from analysis.boards.confirmation import confirmation_tables, read
from analysis.explain import lookup
from analysis.verdicts.differences import best_configurations
from bakeoff import api
from search.base.schema import Outcome
from search.run.confirm import confirmation
from search.run.folders import new_search
from search.run.run import _require_same_data
from search.serve import export
from search.spec import read as specs
from search.spec.read import read_spec
from search.spec.spec import Spec
from search.study import ranking
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.recorded import read_runs
from search.track.tracking import Tracker
from search.train.checkpoints import folder_of

POINTS = {
    "sampler": "grid",
    "pruner": "none",
    "epochs": 1,
    "space": {"hidden_size": [8, 16, 24]},
    "seeds": 2,
    "baselines": "none",
}


def finished(root: Path, spec: Spec) -> Path:
    """A search in which wide is good and the second of two equal trials is luckier."""
    folder = new_search(spec, root)
    studies = Studies(folder.name, spec, folder, "new")
    studies.provenance = {"data_digest": "one"}
    while trial := studies.ask():
        score = trial.hyperparameters["hidden_size"] / 100 + (trial.repetition or 0) / 1000
        studies.report(trial, epoch_result(1, score), HERE)
    return folder


def test_the_best_different_configurations_are_repeated_on_fresh_seeds(tmp_path: Path) -> None:
    spec = specs.validate(POINTS | {"architectures": ["rnn", "mlp"]})
    folder = finished(tmp_path, spec)
    again = confirmation(folder, top=2, seeds=4, architectures=[])
    assert (again.name, again.confirms, again.seeds, again.trials) == ("search-confirm", folder.name, 4, None)
    assert again.configurations
    for architecture in ("rnn", "mlp"):
        ranked = [trial.name for trial in Studies(folder.name, spec, folder).ranked(architecture)]
        points = again.configurations[architecture]
        assert list(points) == [ranked[0], ranked[2]]  # the second is the first's repetition
        assert [point["hidden_size"] for point in points.values()] == [24, 16]
        assert all(set(point) >= {"learning_rate", "dropout", "batch_size"} for point in points.values())
    confirmed = finished(tmp_path, again)
    seeds = {trial.seed for each in (folder, confirmed) for trial in Studies(each.name, read_spec(each), each).trials()}
    assert len(seeds) == 12 + 16
    assert confirmation(folder, 2, 4, []).seed not in (spec.seed, again.seed)  # a second one has seeds of its own


def test_only_complete_trials_and_only_the_architectures_asked_for(tmp_path: Path) -> None:
    spec = specs.validate(POINTS | {"architectures": ["rnn", "mlp"], "epochs": 2})
    folder = new_search(spec, tmp_path)
    studies = Studies(folder.name, spec, folder, "new")
    with pytest.raises(ValueError, match="has no complete trial to confirm"):
        confirmation(folder, 1, 1, [])
    while trial := studies.ask():
        studies.report(trial, epoch_result(1, 0.9, "loss became nan" if trial.architecture == "rnn" else None), HERE)
        if trial.architecture == "mlp":
            studies.report(trial, epoch_result(2, 0.5), HERE)
    assert list(confirmation(folder, 1, 1, []).configurations or {}) == ["mlp"]
    assert confirmation(folder, 9, 1, ["mlp"]).architectures == ["mlp"]
    with pytest.raises(ValueError, match="has no complete trial to confirm"):
        confirmation(folder, 1, 1, ["rnn"])
    with pytest.raises(ValueError, match="did you mean 'mlp'"):
        confirmation(folder, 1, 1, ["mpl"])


def test_other_data_than_the_confirmed_search_saw_are_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path, specs.validate(POINTS | {"architectures": ["rnn"]}))
    again = new_search(confirmation(folder, 1, 1, []), tmp_path)
    studies = Studies(again.name, read_spec(again), again, "new")
    studies.provenance = {"data_digest": "one"}
    _require_same_data(studies, again)
    studies.provenance = {"data_digest": "another"}
    with pytest.raises(ValueError, match=r"their digest is another, \S+ learned from one"):
        _require_same_data(studies, again)


@pytest.mark.slow
def test_a_search_is_confirmed_from_the_command_line(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    # In a folder of its own, so that the newest search that other tests read stays the same.
    (tmp_path / "searches").mkdir()
    os.symlink(smoke_search.folder, tmp_path / "searches" / smoke_search.id)
    arguments = ["--top", "1", "--seeds", "2", "--architecture", "gru"]
    done = command("search", "confirm", smoke_search.id, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (path for path in (tmp_path / "searches").iterdir() if "confirm" in path.name)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    recorded = read_runs(uri, folder.name)
    outcome, runs = recorded.outcome, recorded.runs
    assert outcome == "complete"
    best = smoke_best(smoke_search, "gru")
    assert sorted((run.params["configuration"], run.params["repetition"]) for run in runs) == [(best, "0"), (best, "1")]
    labels = data.load("imdb", limit=800, max_words=30, progress=False).test.labels_N
    for run in runs:
        predictions = pd.read_csv(client.download_artifacts(run.run_id, "test_predictions.csv", str(tmp_path)))
        assert [("negative", "positive")[label] for label in labels] == list(predictions["label"])
        accuracy = (predictions["label"] == predictions["predicted"]).mean()
        assert accuracy == pytest.approx(run.best["test_accuracy"])
    parent = client.search_runs(["1"], "tags.kind = 'search'")[0]
    assert parent.data.tags["confirms"] == smoke_search.id
    audited = command("search", "audit", cwd=tmp_path)
    assert audited.returncode == 0, audited.stdout
    exported = command("search", "export", folder.name, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert f"of {folder.name} is version 1" in exported.stdout  # trained on a fresh seed
    predicted = command("analysis", "predict", folder.name, "a great movie", "--format", "json", cwd=tmp_path)
    assert json.loads(predicted.stdout)[0]["predicted"] in ("negative", "positive")
    again = command("search", "confirm", folder.name, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        2, f"error: {folder.name} is itself a confirmation; confirm {smoke_search.id}\n"
    )  # fmt: skip


def test_a_lost_seed_counts_the_same_wherever_one_asks_for_the_best(
    smoke_search: FinishedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rnn one seed failed and the other was lucky; the mlp is worse, but lost none."""
    monkeypatch.chdir(tmp_path)
    root, uri = tmp_path / "searches", f"sqlite:///{tmp_path / 'mlflow.db'}"
    root.mkdir()
    os.symlink(smoke_search.folder, origin := root / smoke_search.id)
    shutil.copy(smoke_search.cwd / "mlflow.db", tmp_path)
    folder = new_search(confirmation(origin, 1, 2, ["rnn", "mlp"]), root)
    studies = Studies(folder.name, read_spec(folder), folder, "new")
    studies.provenance = Studies(origin.name, read_spec(origin), origin).trials()[0].provenance
    tracker = Tracker(uri, studies)
    studies.listeners = [tracker]
    scores = {"rnn": [None, 0.99], "mlp": [0.7, 0.8]}
    while trial := studies.ask():
        score = scores[trial.architecture].pop(0)
        if score is None:
            studies.finish(trial, Outcome.FAILED, "its worker died")
            continue
        assert trial.configuration
        shutil.copytree(folder_of(origin, trial.configuration), folder_of(folder, trial.name))
        for epoch in range(1, studies.spec.epochs + 1):
            studies.report(trial, epoch_result(epoch, score), HERE)
    assert tracker.close(Outcome.COMPLETE)

    search = analysis_runs.find_search(uri, origin.name)
    assert confirmation_tables(read(uri, search))[0].frame["architecture"].tolist() == ["mlp", "rnn"]
    assert list(best_configurations(analysis_runs.read_trials(uri, folder.name))) == ["mlp", "rnn"]
    leaderboard = api.Search(origin, uri).leaderboard
    best = api.Search(origin, uri).best()
    assert list(leaderboard().iloc[0][["architecture", "trial"]]) == [best.architecture, best.configuration]
    assert leaderboard().equals(leaderboard(confirmed=True))
    assert len(leaderboard(confirmed=False)) == smoke_search.num_trials
    explained = lookup.find(uri, origin.name)
    assert (explained.search, explained.name) == (folder.name, "mlp-1")  # the better one of its repetitions
    assert lookup.best_of_each(uri, search)[0] == explained
    exported = export.export(origin.name, root, uri).trial
    assert (exported.search, exported.name) == (folder.name, "mlp-1")


def test_what_was_confirmed_comes_before_the_searchs_own_repetitions(tmp_path: Path) -> None:
    def trial(search: str, number: int, configuration: str, score: float) -> Trial:
        return Trial(
            architecture="gru",
            number=number,
            search=search,
            folder=tmp_path,
            metric="val_accuracy",
            seed=number,
            configuration=configuration,
            outcome=Outcome.COMPLETE,
            best={"val_accuracy": score},
        )

    lucky = trial("deep-20260101-120000", 0, "deep", 0.9)
    confirmed = [trial("deep-confirm-20260101-130000", number, "gru-0", 0.82) for number in range(5)]
    assert ranking.best([lucky, *confirmed], "val_accuracy", lucky.search) == confirmed[0]
    assert ranking.best([lucky], "val_accuracy", lucky.search) == lucky


def smoke_best(search: FinishedSearch, architecture: str) -> str:
    """The trial with the best validation accuracy, as the leaderboard has it."""
    arguments = ["leaderboard", "--architecture", architecture, "--format", "json"]
    shown = command("analysis", *arguments, cwd=search.cwd)
    return str(json.loads(shown.stdout)[0]["trial"])
