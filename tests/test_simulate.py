"""Searches simulated from a table of runs: reading it, replaying it, and the surrogate. No Ray, no training."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, here

from benchmarks.table import record as recorder
from data.base.errors import UserError
from search.base.schema import Outcome
from search.simulate import simulate, table
from search.simulate.surrogate import Surrogate
from search.simulate.table import Run, Table
from search.simulate.worlds import Replay
from search.spec import read as specs
from search.spec.spec import Spec
from search.train.length import Length

ARCHITECTURES = ["mlp", "gru"]


def make_spec(**changes: Any) -> Spec:
    content = {
        "architectures": ARCHITECTURES,
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "dropout": {"low": 0.0, "high": 0.5}},
        "epochs": 4,
        "trials": 6,
        "sampler": "random",
        "pruner": "none",
        "baselines": "none",
        "limit": 5000,
    }
    return specs.validate(content | changes)


def made(path: Path, configurations: int = 12) -> Table:
    """A table in which a rate of 1e-3 is best, gru is better by a point, and seeds differ."""
    spec, rng = make_spec(), np.random.default_rng(0)
    drawn = {
        name: {number: recorder.draw(spec, name, number) for number in range(configurations)} for name in ARCHITECTURES
    }
    rows = []
    for name, points in drawn.items():
        for number, point in points.items():
            quality = 0.8 + 0.01 * (name == "gru") - 0.02 * math.log10(point["learning_rate"] / 1e-3) ** 2
            for repetition in range(2):
                luck = rng.normal(0, 0.002)
                for step in range(1, 5):
                    score = quality + luck - 0.1 / step
                    key = {"architecture": name, "configuration": number, "repetition": repetition, "step": step}
                    scores = {"val_accuracy": score, "test_accuracy": score - 0.01}
                    rows.append(key | {"diverged": None, "seconds": 2.0 * step, "num_parameters": 10.0} | scores)
    table.write(pd.DataFrame(rows), drawn, spec, {"data_digest": "abc"}, path)
    return table.read(path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return made(tmp_path_factory.mktemp("table") / "made.parquet")


def run_of(*scores: float, diverged: str | None = None) -> Run:
    metrics = [{"val_accuracy": score, "test_accuracy": score / 2} for score in scores]
    return Run({}, 10.0, [float(step) for step, _ in enumerate(scores, 1)], metrics, diverged)


def test_a_run_reports_as_training_does() -> None:
    first, second, last = run_of(0.6, 0.8, 0.7).results("val_accuracy", Length(3))
    assert [first.best_step, second.best_step, last.best_step] == [1, 2, 2]
    assert "test_accuracy" not in second.best  # known only when the trial ends
    assert last.best == {"val_accuracy": 0.8, "test_accuracy": 0.4}  # of the best report
    assert (last.seconds, last.metrics["num_parameters"]) == (3.0, 10.0)
    patient = run_of(0.6, 0.8, 0.7, 0.9).results("val_accuracy", Length(4, patience=1))
    assert [len(patient), patient[-1].best["test_accuracy"]] == [3, 0.4]
    *_, lost = run_of(0.6, 0.1, diverged="loss became nan").results("val_accuracy", Length(3))
    assert (lost.diverged, lost.best_step) == ("loss became nan", 1)


def test_a_table_is_read_as_it_was_written(recorded: Table) -> None:
    assert recorded.spec == make_spec()
    assert {name: len(own) for name, own in recorded.runs.items()} == {"mlp": 12, "gru": 12}
    run = recorded.runs["gru"][3][1]
    assert run.hyperparameters == recorder.draw(make_spec(), "gru", 3)
    assert (run.seconds, run.diverged) == ([2.0, 4.0, 6.0, 8.0], None)
    assert recorded.metrics == ["test_accuracy", "val_accuracy"]
    assert recorded.provenance == {"data_digest": "abc"}


def test_without_a_pruner_nothing_is_lost_and_nothing_saved(recorded: Table) -> None:
    found, label = simulate.searches(make_spec(), recorded, 5, workers=2)
    assert "real runs" in label
    assert found["regret"].tolist() == [0.0] * 5
    assert found["epochs"].tolist() == [2 * 6 * 4] * 5
    assert found["core_seconds"].tolist() == [12 * 8.0] * 5
    assert found["wall_seconds"].tolist() == [6 * 8.0] * 5  # two at a time
    best = max(run.metrics[-1]["val_accuracy"] for own in recorded.runs["gru"].values() for run in own)
    assert found["val_accuracy"].max() <= best
    assert found["test_accuracy"].to_numpy() == pytest.approx(found["val_accuracy"] - 0.01)


def test_pruners_replay_the_same_trials(recorded: Table) -> None:
    whole, _ = simulate.searches(make_spec(), recorded, 5, workers=2)
    for pruner in ("asha", "hyperband", "median"):
        found, _ = simulate.searches(make_spec(pruner=pruner), recorded, 5, workers=2)
        # What a search would have found without its pruner is what the one without a pruner found.
        assert (found["val_accuracy"] + found["regret"]).to_numpy() == pytest.approx(whole["val_accuracy"])
        assert found["epochs"].max() < 48
        assert (found["complete_share"] + found["pruned_share"]).to_numpy() == pytest.approx(1.0)
    again, _ = simulate.searches(make_spec(pruner="median"), recorded, 5, workers=2)
    pd.testing.assert_frame_equal(found, again)


def test_stopping_is_shown_beside_the_same_searches_without_it(recorded: Table) -> None:
    whole, _ = simulate.searches(make_spec(trials=10), recorded, 3, workers=2)
    assert "stop_regret" not in whole
    found, _ = simulate.searches(make_spec(trials=10, stop="decided", min_gain=0.5), recorded, 3, workers=2)
    assert found["trials"].max() < 20
    assert found["epochs_saved"].to_numpy() == pytest.approx(1 - found["epochs"] / whole["epochs"])
    assert (found["val_accuracy"] + found["stop_regret"]).to_numpy() == pytest.approx(whole["val_accuracy"])
    assert (found["regret"] >= 0).all()
    assert found["stop_regret_mean"].notna().all()


def test_the_studies_decide_what_is_pruned(recorded: Table) -> None:
    results = Replay(make_spec(pruner="median"), recorded)
    spec = results.spec(np.random.default_rng(1))
    ended = simulate.search(spec, results, workers=1)
    assert {trial.outcome for trial in ended.trials} == {Outcome.COMPLETE, Outcome.PRUNED}
    for trial in ended.trials:
        runs = recorded.runs[trial.architecture][int(trial.configuration or "")]
        assert trial.score in [run.metrics[trial.step - 1]["val_accuracy"] for run in runs]  # a score rises to its end
        assert trial.seconds == 2.0 * trial.step


def test_no_trial_starts_once_so_many_core_seconds_are_spent(recorded: Table) -> None:
    results = Replay(make_spec(), recorded)
    spec = results.spec(np.random.default_rng(1))
    ended = simulate.search(spec, results, workers=1, core_seconds=17.0)  # of 8 each
    assert len(ended.trials) == 3
    assert {trial.outcome for trial in ended.trials} == {Outcome.COMPLETE}


def test_a_surrogate_knows_the_landscape_and_the_noise(recorded: Table) -> None:
    model = Surrogate(recorded.runs["mlp"], recorded.spec.spaces["mlp"], ["val_accuracy", "test_accuracy"], Length(4))
    assert model.rank_correlation > 0.7
    point = recorder.draw(make_spec(), "mlp", 0)
    rng = np.random.default_rng(0)

    def last(rate: float) -> list[float]:
        runs = [model.run(point | {"learning_rate": rate}, rng) for _ in range(200)]
        return [run.metrics[-1]["val_accuracy"] for run in runs]

    best, worse = last(1e-3), last(1e-4)
    assert np.mean(best) - np.mean(worse) == pytest.approx(0.02, abs=0.005)
    assert np.std(best) == pytest.approx(0.002, rel=0.5)  # as it was made
    run = model.run(point, rng)
    assert run.seconds == pytest.approx([2.0, 4.0, 6.0, 8.0], rel=0.01)


def test_seeds_of_the_bad_do_not_lift_the_good(recorded: Table) -> None:
    """Half of the configurations are noisy; the others, which score higher, hardly differ between seeds."""
    space = recorded.spec.spaces["mlp"]

    def runs(number: int, own: list[Run]) -> list[Run]:
        ends = (0.8, 0.801) if number % 2 else (0.5, 0.7)
        point = own[0].hyperparameters | {"learning_rate": 1e-3 if number % 2 else 1e-4}
        metrics = [[{"val_accuracy": end, "test_accuracy": end}] * 4 for end in ends]
        return [Run(point, 1.0, own[0].seconds, each) for each in metrics]

    made = {number: runs(number, list(own)) for number, own in recorded.runs["mlp"].items()}
    made |= {100 + number: runs(number, own) for number, own in made.items()}
    made |= {200 + number: runs(number, own) for number, own in made.items()}
    model, rng = Surrogate(made, space, ["val_accuracy", "test_accuracy"], Length(4)), np.random.default_rng(0)
    best = [model.run(made[1][0].hyperparameters, rng).metrics[-1]["val_accuracy"] for _ in range(100)]
    assert max(best) < 0.82


def test_other_samplers_ask_the_surrogate(recorded: Table) -> None:
    found, label = simulate.searches(make_spec(sampler="tpe"), recorded, 2, workers=2)
    assert "not real runs" in label
    assert found["trials"].tolist() == [12, 12]
    assert found["val_accuracy"].between(0.75, 0.82).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 13}, "trials: should be at most 12, the table's configurations of an architecture; got 13"),
        ({"architectures": ["cnn"]}, "architectures: should be among those of the table, mlp, gru; got cnn"),
        ({"metric": "val_f1"}, "metric: should be one that the table records, val_accuracy; got val_f1"),
    ],
)
def test_what_a_table_cannot_tell_is_refused(recorded: Table, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        simulate.searches(make_spec(**changes), recorded, 2, workers=1)
    assert str(error.value) == message


def test_the_command_shows_a_row_for_each_value(tmp_path: Path) -> None:
    path = tmp_path / "made.parquet"
    made(path)
    options = ["--set", "sampler=random", "--set", "trials=4", "--vary", "pruner=asha,none", "--repeats", "3"]
    shown = here("search", "simulate", str(path), "default", *options, "--format", "csv", cwd=tmp_path)
    rows = pd.read_csv(io.StringIO(shown.stdout))
    assert rows["searched"].tolist() == ["pruner: asha", "pruner: none"]
    assert rows[["regret", "epochs_share"]].iloc[1].tolist() == [0.0, 1.0]
    refused = here("search", "simulate", str(tmp_path / "none.parquet"), cwd=tmp_path)
    assert refused.returncode == 2
    assert "no table" in refused.stderr


def test_the_table_that_comes_with_the_source_simulates_the_default_search() -> None:
    path = ROOT / "benchmarks" / "table" / "imdb-5000.parquet"
    assert path.stat().st_size < 2e6
    found, spec = table.read(path), specs.read("default", ["sampler=random"])
    assert list(found.runs) == spec.architectures
    assert {len(runs) for own in found.runs.values() for runs in own.values()} == {2}  # seeds
    assert len({len(own) for own in found.runs.values()}) == 1  # configurations
    searches, _ = simulate.searches(spec, found, 2, workers=2)
    assert searches["trials"].tolist() == [48, 48]
    assert searches["epochs_share"].between(0.2, 0.6).all()
