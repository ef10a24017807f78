"""Which architecture wins at which budget: the expected best of draws, of repeated searches, and what is refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, command

from analysis.base.best_of import Curve, crossing, expected_best, of_draws, of_searches
from analysis.base.runs import Search, tidy
from analysis.figures.budget import PLOT
from analysis.figures.plot import PlotData
from analysis.verdicts import budget_tables
from analysis.verdicts.budget import SECONDS, TRIALS, NotKnownError, budget
from benchmarks import budgets
from search.spec import read as specs
from search.spec.read import read_spec

# --- The estimator


@pytest.mark.parametrize("num_trials", [1, 2, 5, 8])
def test_the_expected_best_is_the_mean_over_all_subsets(num_trials: int) -> None:
    rng = np.random.default_rng(0)
    val, test = np.sort(rng.normal(size=8)), rng.normal(size=8)
    chosen = [max(places) for places in combinations(range(8), num_trials)]  # the best has the last place
    assert expected_best(val, [num_trials])[0] == pytest.approx(np.mean(val[chosen]))
    assert expected_best(val, [num_trials], test)[0] == pytest.approx(np.mean(test[chosen]))


def test_draws_without_a_result_lose_against_any_other() -> None:
    val = np.array([np.nan, np.nan, 0.5, 0.7])
    # Of the six pairs one has no result, one has 0.5 twice over a lost one, three have 0.7.
    assert expected_best(val, [2])[0] == pytest.approx((2 * 0.5 + 3 * 0.7) / 5)
    assert expected_best(val, [4])[0] == 0.7


def test_the_mean_of_one_trial_has_the_error_of_a_mean_of_draws_and_one_beyond_each_end() -> None:
    sample = np.arange(20.0)
    curve = of_draws(sample, [1, 10, 11])
    wider = np.array([-2.0, *sample, 21.0])
    assert curve.value[0] == pytest.approx(9.5)
    assert curve.error[0] == pytest.approx(wider.std(ddof=1) / 22**0.5)  # the jackknife's is exact for a mean
    assert curve.freedom.tolist()[:2] == [19.0, 2.0]
    assert np.isnan(curve.value[2])  # of more than half of the draws nothing is said


def test_a_budget_buys_as_many_trials_as_their_mean_cost_says() -> None:
    sample, cost = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), np.array([5.0, 15.0, 10.0, 10.0, 10.0, 10.0])
    by_trials, by_cost = of_draws(sample, [1, 2, 3]), of_draws(sample, [5, 10, 15, 20, 30, 31], cost)
    assert by_cost.value[[1, 3, 4]] == pytest.approx(by_trials.value)
    assert by_cost.value[2] == pytest.approx(by_trials.value[:2].mean())
    assert np.isnan(by_cost.value[[0, 5]]).all()
    assert by_cost.error[1] != by_trials.error[0]  # what trials cost on average is not known exactly


@pytest.mark.parametrize("num_draws", [8, 16, 40])
def test_intervals_cover_what_is_true(num_draws: int) -> None:
    """Of accuracies that crowd below a ceiling, as those of random configurations do."""
    rng = np.random.default_rng(num_draws)
    num_trials = np.array([1, num_draws // 4, num_draws // 2])
    quantiles = (np.arange(100_000) + 0.5) / 100_000
    ceiling = 0.85 + 0.03 * np.log(quantiles)
    truth = [float((ceiling * k * quantiles ** (k - 1)).mean()) for k in num_trials]  # the density of the best of k
    covered = np.zeros(3)
    for _ in range(300):
        curve = of_draws(np.sort(0.85 - 0.03 * rng.exponential(size=num_draws)), num_trials)
        covered += np.abs(curve.value - truth) <= curve.half
    assert (covered / 300 >= 0.89).all(), covered / 300


def test_intervals_cover_what_recorded_runs_would_reach() -> None:
    """Of gru a few runs are much better than all others: two in three samples of 40 know nothing of the best."""
    draw = budgets.recorded(ROOT / "benchmarks" / "table" / "imdb-5000.parquet")["gru, recorded"]
    rng, truth, covered = np.random.default_rng(1), budgets.expected(draw, np.array([20])), 0
    for _ in range(300):
        curve = of_draws(np.sort(draw(rng, 40)), [20])
        covered += abs(curve.value[0] - truth[0]) <= curve.half[0]
    assert covered / 300 >= 0.92


def test_draws_without_a_result_are_no_reason_for_an_unknown_error() -> None:
    found = of_draws([np.nan, np.nan, np.nan, 0.5, 0.6, 0.6, 0.7, 0.8], [1, 4])
    assert np.isfinite(found.error).all()
    assert np.isfinite(of_draws([np.nan] * 4 + [0.5, 0.7], [1, 3]).error).all()


def test_repeated_searches_are_averaged_where_all_have_something() -> None:
    spent = [np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0])]
    had = [np.array([0.5, 0.6, 0.6]), np.array([0.4, 0.8])]
    curve = of_searches(spent, had, [1.0, 2.0, 3.0, 4.0])
    assert curve.value[1:3] == pytest.approx([0.5, 0.5])
    assert np.isnan(curve.value[[0, 3]]).all()  # the second has nothing yet, the first has ended
    assert curve.error[1] == pytest.approx(0.1)  # 0.6 and 0.4
    assert curve.freedom[1] == 1


def curve_of(value: list[float], error: float) -> Curve:
    num = len(value)
    return Curve(np.arange(1.0, num + 1), np.array(value), np.full(num, error), np.full(num, 1000.0))


def test_curves_cross_where_their_difference_changes_sign() -> None:
    quick, slow = curve_of([0.7, 0.7, 0.7, 0.7, 0.7], 0.01), curve_of([0.5, 0.6, 0.68, 0.76, 0.8], 0.01)
    found = crossing(quick, slow)
    assert found is not None
    assert found.at == pytest.approx(3.25)  # 0.02 before, 0.06 after
    assert (found.low, found.high, found.apart) == (3.0, 4.0, True)  # half of the interval is 0.028
    vague = crossing(curve_of([0.7] * 5, 0.05), curve_of([0.5, 0.6, 0.68, 0.76, 0.8], 0.05))
    assert vague is not None
    assert (vague.low, vague.apart) == (2.0, False)
    assert np.isnan(vague.high)  # beyond what is known
    never = crossing(quick, curve_of([0.5] * 5, 0.01))
    assert never is not None
    assert np.isnan(never.at)
    assert never.apart


# --- Searches


def search_of(id: str = "demo-20260101-100000", **changes: Any) -> Search:
    content = {
        "name": "demo",
        "architectures": ["mlp", "gru"],
        "baselines": ["majority"],
        "space": {"dropout": {"low": 0.0, "high": 0.5}},
        "sampler": "random",
        "pruner": "none",
        "epochs": 2,
        "trials": 9,
    }
    spec = specs.validate(content | changes, files=False)
    start, tags = datetime(2026, 1, 1, tzinfo=UTC), {"data_digest": "abc"}
    return Search(id, f"run-{id}", "1", start, "val_accuracy", None, tags, load_spec=lambda: spec)


def trials_of(search: Search, score: Callable[[str, int], float], seconds: Callable[[str], float]) -> pd.DataFrame:
    rows = [
        {"search": search.id, "architecture": name, "number": number, "trial": f"{name}-{number}", "seed": number}
        | {"outcome": "complete", "run_id": f"{search.id}-{name}-{number}", "epochs_run": 2, "seconds": seconds(name)}
        | {"val_accuracy": score(name, number), "test_accuracy": score(name, number) - 0.1, "end": 1000 * number}
        for name in ("mlp", "gru")
        for number in range(9)
    ]
    baseline = {"search": search.id, "architecture": "majority", "number": 0, "trial": "majority-0", "seconds": 1.0}
    baseline |= {"outcome": "complete", "val_accuracy": 0.5, "test_accuracy": 0.5, "role": "baseline", "epochs_run": 1}
    return tidy([*rows, baseline])


def rising(name: str, number: int) -> float:
    """The default configuration, number 0, is better than any draw."""
    return 0.9 if number == 0 else 0.6 + 0.01 * number + 0.1 * (name == "gru")


def test_independent_draws_are_those_of_the_sampler_and_cost_what_their_cores_do() -> None:
    search = search_of(resources={"cpu": 2})
    found = budget([search], trials_of(search, rising, lambda name: 10.0), "val_accuracy")
    assert found.trials == {"majority": 1, "mlp": 8, "gru": 8}  # without the default configuration
    val, test = found.curves[TRIALS]["mlp"]
    assert val.budget.tolist() == [1, 2, 3, 4]
    assert val.value[0] == pytest.approx(np.mean([0.6 + 0.01 * number for number in range(1, 9)]))
    assert test.value == pytest.approx(val.value - 0.1)
    seconds = found.curves[SECONDS]["mlp"][0]
    assert (seconds.budget[0], seconds.budget[-1]) == pytest.approx((20.0, 80.0))  # of one trial, of four
    assert seconds.value[-1] == pytest.approx(val.value[-1])
    frame = found.frame
    assert frame[frame["architecture"] == "majority"]["val_accuracy_low"].isna().all()


def test_what_to_use_and_where_they_cross() -> None:
    search = search_of()
    # gru is better by any number of trials, but its trials take fifty times as long.
    trials = trials_of(search, rising, lambda name: 10.0 if name == "mlp" else 500.0)
    found = budget([search], trials, "val_accuracy")
    use = budget_tables.what_to_use(found).query("role == 'searched'")
    assert use[["budget", "use", "beyond"]].to_numpy().tolist() == [
        ["a minute", "mlp", True],
        ["ten minutes", "gru", False],
        ["an hour", "gru", True],
    ]
    pairs = budget_tables.crossings(found).query("first == 'mlp' and unit == 'trials'")
    assert pairs[["ahead", "later", "told_apart"]].to_numpy().tolist() == [["gru", "gru", True]]
    shown = budget_tables.tables(found, "demo")
    assert "With a minute of one core, mlp: validation accuracy 0.6" in " ".join(shown["use"].notes)
    assert "crossings" in shown
    assert set(PLOT.render(PlotData(tidy([{"architecture": "mlp"}, {"architecture": "gru"}]), budget=found))) == {
        "csv",
        "png",
        "svg",
    }


def test_adaptive_searches_tell_it_only_together() -> None:
    searches = [search_of(f"demo-2026010{seed}-100000", sampler="tpe", seed=seed) for seed in range(1, 4)]
    trials = [
        trials_of(each, lambda name, number, by=place: 0.6 + 0.01 * by + 0.01 * min(number, 3), lambda name: 10.0)
        for place, each in enumerate(searches)
    ]
    found = budget(searches, pd.concat(trials, ignore_index=True), "val_accuracy")
    assert not found.independent
    val = found.curves[TRIALS]["mlp"][0]
    assert val.value[:4] == pytest.approx([0.61, 0.62, 0.63, 0.64])  # the best so far, on average
    assert len(val.budget) == 9  # all of them: nothing is drawn from them
    assert val.error[0] == pytest.approx(0.01 / 3**0.5)
    with pytest.raises(NotKnownError, match="2 are too few"):
        budget(searches[:2], pd.concat(trials[:2], ignore_index=True), "val_accuracy")


def test_what_would_be_wrong_is_refused_with_what_would_tell_and_its_cost() -> None:
    adaptive = search_of(pruner="asha")
    trials = trials_of(adaptive, rising, lambda name: 60.0)
    with pytest.raises(NotKnownError) as refused:
        budget([adaptive], trials, "val_accuracy")
    said = str(refused.value)
    assert "its trials are not independent (pruner: asha)" in said
    assert "search run spec.yaml --repeat 5 (about 90 core-minutes)" in said
    assert "--set sampler=random --set pruner=none (about 18 core-minutes)" in said
    grid = search_of(sampler="grid", trials=None, space={"dropout": [0.0, 0.5]})
    other = search_of("demo-20260102-100000", epochs=3)
    same = search_of("demo-20260103-100000")
    for searches, why in (
        ([grid], "points of a grid"),
        ([search_of(), other], "they differ in epochs"),
        ([search_of(), same], "different seeds"),
    ):
        with pytest.raises(NotKnownError, match=why):
            budget(searches, trials, "val_accuracy")


@pytest.mark.slow
def test_a_search_is_repeated_with_the_next_seeds(tmp_path: Path) -> None:
    options = ["--repeat", "2", "--set", "architectures=[mlp]", "--set", "baselines=none", "--set", "epochs=1"]
    done = command("search", "run", "smoke", *options, "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = sorted((tmp_path / "searches").iterdir())
    assert [read_spec(folder).seed for folder in folders] == [0, 1]
    assert f"{folders[1].name}: 2 of 2, seed 1" in done.stdout
    refused = command("analysis", "budget", cwd=tmp_path)
    assert "2 are too few" in refused.stderr
