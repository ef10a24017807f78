"""The path from the default configuration to the best."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.verdicts import why
from data.base.errors import UserError
from search.run import path
from search.run.folders import new_search
from search.spec import read as specs
from search.study.studies import Studies
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


def test_the_search_of_a_path(tmp_path: Path) -> None:
    spec = specs.validate(
        {"sampler": "grid", "pruner": "none", "epochs": 1, "architectures": ["mlp"], "baselines": ["majority"]}
        | {"space": {"hidden_size": [8, 64], "dropout": [0.0, 0.5]}}
    )
    folder = new_search(spec, tmp_path)
    studies, usual = Studies(folder.name, spec, folder, "new"), spec.default_point("mlp")
    while trial := studies.ask():
        changed = sum(trial.hyperparameters.get(name) != value for name, value in usual.items())
        studies.report(trial, epoch_result(1, 0.5 + changed / 10), HERE)
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
