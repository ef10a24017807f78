"""The path from the default configuration to the best."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.base import runs
from analysis.verdicts import why
from data.base.errors import UserError
from search.base.schema import Outcome
from search.run import path
from search.run.folders import new_search
from search.spec import read as specs
from search.spec.spec import Spec
from search.study.studies import Studies
from search.track.tracking import Tracker
from tests.test_data_size import HERE, epoch_result


def test_the_next_change_is_the_one_that_promises_most() -> None:
    def predicted(point: path.Point) -> float:
        return {(1, 1): 0.0, (2, 1): 1.0, (1, 2): 2.0, (2, 2): 1.5}[point["a"], point["b"]]

    points = path.path({"a": 1, "b": 1, "c": 5}, {"a": 2, "b": 2, "c": 5}, predicted)
    assert list(points) == ["0 default", "1 b 2", "2 a 2"]
    assert list(points.values()) == [{"a": 1, "b": 1, "c": 5}, {"a": 1, "b": 2, "c": 5}, {"a": 2, "b": 2, "c": 5}]


def test_steps_add_up_to_the_gain_over_the_same_seeds() -> None:
    scores = {"0 default": [0.5, 0.6, 0.1], "1 b 2": [0.6, 0.8, None], "2 a 2": [0.6, 0.7, 0.9]}
    rows = [
        {"configuration": name, "seed": seed, "test_accuracy": score, "outcome": "complete" if score else "diverged"}
        for name, own in scores.items()
        for seed, score in enumerate(own)
    ]
    frame = why.steps(pd.DataFrame(rows), "test_accuracy")
    assert frame["step"].tolist() == ["0 default", "1 b 2", "2 a 2", "total"]
    assert frame["gain"].tolist()[1:] == pytest.approx([0.15, -0.05, 0.1])
    assert frame["seeds"].tolist() == [2] * 4
    assert frame["low"][1] == pytest.approx(0.15 - 12.7062 * 0.05, abs=1e-4)


SPEC = {"sampler": "grid", "pruner": "none", "epochs": 1, "architectures": ["mlp"], "baselines": ["majority"]}


def run(spec: Spec, root: Path, uri: str = "") -> Path:
    """A search in which a trial is the better the more it changes of the default; in MLflow, if there is one."""
    folder = new_search(spec, root)
    studies, usual = Studies(folder.name, spec, folder, "new"), spec.default_point("mlp")
    tracker = Tracker(uri, studies) if uri else None
    studies.listeners = [tracker] if tracker else []
    while trial := studies.ask():
        changed = sum(trial.hyperparameters.get(name) != value for name, value in usual.items())
        studies.report(trial, epoch_result(1, 0.5 + changed / 10 + (trial.repetition or 0) / 100), HERE)
    if tracker:
        tracker.close(Outcome.COMPLETE)
    return folder


def test_the_search_of_a_path(tmp_path: Path) -> None:
    spec = specs.validate(SPEC | {"space": {"hidden_size": [8, 64], "dropout": [0.0, 0.5]}})
    folder, usual = run(spec, tmp_path), spec.default_point("mlp")
    again, budget = path.of_path(folder, "mlp", 3)
    points = list(again.points["mlp"].values())
    assert (again.path_of, again.seeds, again.studied, len(points)) == (folder.name, 3, ["mlp"], 3)
    assert usual.items() <= points[0].items()
    assert budget.startswith("3 configurations of mlp, 3 seeds each")
    asked = Studies("path-1", again, tmp_path, "new")
    seeds: dict[str | None, list[int | None]] = {}
    while trial := asked.ask():
        seeds.setdefault(trial.configuration, []).append(trial.seed)
        asked.report(trial, epoch_result(1, 0.5), HERE)
    assert len({tuple(sorted(map(str, own))) for own in seeds.values()}) == 1
    with pytest.raises(UserError, match="majority is a baseline"):
        path.of_path(folder, "majority", 3)
    with pytest.raises(UserError, match="architecture"):
        path.of_path(folder, "gru", 3)
    with pytest.raises(UserError, match=f"name an architecture too: {folder.name}:mlp; choose from mlp"):
        path.of_path(folder, "", 3)


@pytest.mark.slow
def test_the_newest_path_of_each_architecture_counts_and_the_first_says_what_it_costs(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = run(specs.validate(SPEC | {"space": {"hidden_size": [8, 64], "dropout": [0.0, 0.5]}}), tmp_path, uri)
    search = runs.find_search(uri, folder.name)
    assert why.tables(uri, search) == {}
    for asked in ("mlp", ""):
        with pytest.raises(UserError, match=rf"do so \(3 configurations, 3 seeds each: .*ablate {folder.name}:mlp$"):
            why.read(uri, search, asked)
    with pytest.raises(UserError, match="unknown architecture 'mpl'"):
        why.read(uri, search, "mpl")
    paths = [run(path.of_path(folder, "mlp", 2)[0], tmp_path, uri) for _ in range(2)]
    (found,) = why.tables(uri, search).values()
    assert found.title.startswith(paths[1].name)
    assert why.read(uri, search, "")["mlp"].title == why.read(uri, search, "mlp")["mlp"].title == found.title
    first = why.tables(uri, runs.find_search(uri, paths[0].name))["mlp"]
    assert first.title.startswith(paths[0].name)
