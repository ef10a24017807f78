"""Do the intervals of `analysis budget` cover the true values? Simulated with draws whose expected best is known.

    python -m benchmarks.budgets [--table benchmarks/table/imdb-5000.parquet] [--repeats 1000]

Trials are drawn from several distributions and from the recorded runs of each architecture. Each row has the share of
95 % intervals that contain the true expected best of n trials, where n is one, a quarter, and half of the number of
draws; and the same for bootstrap percentile intervals. A second table has the coverage of the intervals for the
crossing of two curves.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from analysis.base.best_of import crossing, expected_best, of_draws
from benchmarks import measure
from search.simulate import table

Draw = Callable[[np.random.Generator, int], np.ndarray]
NUM_DRAWS = (8, 16, 40)
RESAMPLES = 500

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, num: rng.normal(0.8, 0.02, num),
    "beta": lambda rng, num: 0.5 + 0.4 * rng.beta(5, 2, num),
    "below a ceiling": lambda rng, num: 0.86 - 0.03 * rng.exponential(1, num),
    "a quarter fails": lambda rng, num: np.where(rng.random(num) < 0.25, 0.5, rng.normal(0.82, 0.015, num)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=Path(__file__).parent / "table" / "imdb-5000.parquet")
    parser.add_argument("--repeats", type=int, default=1000)
    chosen = parser.parse_args()
    draws = DISTRIBUTIONS | recorded(chosen.table)
    heads = ["distribution", "draws", "n = 1", "a quarter", "half", "bootstrap, n = 1", "a quarter", "half"]
    rows = []
    for name, draw in draws.items():
        for num_draws in NUM_DRAWS:
            shares = [f"{share:.1%}" for share in coverage(draw, num_draws, chosen.repeats)]
            rows.append([name, str(num_draws), *shares])
    print(measure.table(heads, rows))
    print()
    crossed = [[str(num), f"{crossings(num, chosen.repeats):.1%}"] for num in NUM_DRAWS]
    print(measure.table(["draws per curve", "intervals with the true crossing"], crossed))


def recorded(path: Path) -> dict[str, Draw]:
    """Draws, with replacement, from the runs of each architecture in a table."""
    found = {}
    for name, own in table.read(path).runs.items():
        sound = [run for runs in own.values() for run in runs if not run.diverged]
        scores = np.array([max(metrics["val_accuracy"] for metrics in run.metrics) for run in sound])
        found[f"{name}, recorded"] = partial(_choice, scores)
    return found


def _choice(scores: np.ndarray, rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.choice(scores, num)


def coverage(draw: Draw, num_draws: int, repeats: int) -> np.ndarray:
    """The coverage (6) of the intervals: three of ours, then three of the bootstrap's."""
    rng = np.random.default_rng(num_draws)
    num_trials = np.array([1, num_draws // 4, num_draws // 2])
    truth = expected(draw, num_trials)
    covered = np.zeros(6)
    for _ in range(repeats):
        scores = np.sort(draw(rng, num_draws))
        curve = of_draws(scores, num_trials)
        covered[:3] += np.abs(curve.value - truth) <= np.nan_to_num(curve.half, posinf=np.inf)
        resampled = np.sort(rng.choice(scores, (RESAMPLES, num_draws)), axis=1)
        low, high = np.quantile(resampled @ weights(num_draws, num_trials).T, [0.025, 0.975], axis=0)
        covered[3:] += (low <= truth) & (truth <= high)
    return covered / repeats


def crossings(num_draws: int, repeats: int) -> float:
    """The share of intervals that contain the true crossing of two curves."""
    rng = np.random.default_rng(num_draws)
    steady, varied = _normal(0.80, 0.01), _normal(0.79, 0.03)
    fine = np.linspace(1, num_draws // 2, 200)
    whole = np.arange(1, num_draws // 2 + 1)
    both = [np.interp(fine, whole, expected(draw, whole)) for draw in (steady, varied)]
    true = float(fine[np.argmin(np.abs(both[0] - both[1]))])
    held = 0
    for _ in range(repeats):
        curves = [of_draws(np.sort(draw(rng, num_draws)), fine) for draw in (steady, varied)]
        found = crossing(*curves)
        assert found is not None
        low, high = (np.nan_to_num(found.low, nan=0.0), np.nan_to_num(found.high, nan=np.inf))
        never = np.isnan(found.at) and np.isnan(found.low) and np.isnan(found.high) and found.apart
        held += not never and low <= true <= high
    return held / repeats


def _normal(mean: float, sd: float) -> Draw:
    return lambda rng, num: rng.normal(mean, sd, num)


def expected(draw: Draw, num_trials: np.ndarray) -> np.ndarray:
    """The expected best, from a sample so large that its error is negligible."""
    scores = np.sort(draw(np.random.default_rng(0), 20_000))
    return expected_best(scores, num_trials)


def weights(num_draws: int, num_trials: np.ndarray) -> np.ndarray:
    """The weights (K, N) of the sorted scores in the expected best."""
    return np.stack([expected_best(np.arange(num_draws), num_trials, unit) for unit in np.eye(num_draws)], axis=1)


if __name__ == "__main__":
    main()
