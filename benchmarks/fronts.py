"""The worth of `pruner: front`: hypervolume at equal core-seconds, simulated from a recorded table.

    python -m benchmarks.fronts [--seeds 5] [--trials 30] [--architectures mlp gru ...]

Searches each architecture for val_accuracy and train_seconds (the size hardly varies in the table) on a surrogate of
benchmarks/table/imdb-5000.parquet (see `search simulate`), one trial at a time. The budget is the average cost of
`trials` complete trials. Three kinds of search: random; Optuna's TPE, the default for several objectives, without
pruning; and TPE with `pruner: front`. The hypervolume is that of the complete trials within the budget, in accuracy and
the logarithm of seconds, relative to a fixed reference point. The result is the gain over random search with pruning,
divided by that without.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from search.base.schema import Outcome
from search.simulate import table as tables
from search.simulate.simulate import search
from search.simulate.table import replace_keys, simulated
from search.simulate.worlds import Modelled
from search.spec import read as specs
from search.study.trial import Trial

TABLE = Path(__file__).parent / "table" / "imdb-5000.parquet"
GOALS = ["val_accuracy", "train_seconds"]
REFERENCE = (0.5, 10.0)  # chance accuracy, and more seconds than any run in the table
KINDS = {
    "random": {"sampler": "random", "pruner": "none"},
    "tpe": {"sampler": "tpe", "pruner": "none"},
    "tpe, front": {"sampler": "tpe", "pruner": "front"},
}


def hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """The hypervolume of points (accuracy, seconds) relative to REFERENCE, in accuracy times the logarithm of
    seconds."""
    worst, longest = REFERENCE
    volume, highest = 0.0, worst
    for accuracy, seconds in sorted(points, key=lambda point: point[1]):
        if accuracy > highest and seconds < longest:
            volume += (accuracy - highest) * math.log(longest / seconds)
            highest = accuracy
    return volume


def within(trials: Iterable[Trial], budget: float) -> list[Trial]:
    """The trials that were complete before `budget` core-seconds were spent."""
    found, spent = [], 0.0
    for trial in trials:
        spent += trial.seconds
        if spent <= budget and trial.outcome is Outcome.COMPLETE:
            found.append(trial)
    return found


def gain(ours_AS: np.ndarray, theirs_AS: np.ndarray, random_AS: np.ndarray) -> tuple[float, float, float]:
    """The ratio of mean gains, (ours - random) / (theirs - random), with its 95 % interval by bootstrap: seeds are
    resampled separately for each architecture. Shapes: A architectures, S seeds."""
    rng = np.random.default_rng(0)
    drawn_RAS = rng.integers(ours_AS.shape[1], size=(10_000, *ours_AS.shape))
    own, other = ours_AS - random_AS, theirs_AS - random_AS
    rows_A1 = np.arange(len(own))[:, None]
    ratios_R = own[rows_A1, drawn_RAS].mean(axis=(1, 2)) / other[rows_A1, drawn_RAS].mean(axis=(1, 2))
    low, high = np.quantile(ratios_R, [0.025, 0.975])
    return float(own.mean() / other.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--architectures", nargs="+", default=["rnn", "gru", "mlp", "attention", "cnn", "ngram"])
    chosen = parser.parse_args()
    table = tables.read(TABLE)
    volumes: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for name in chosen.architectures:
        # Six times as many trials as the budget pays for in full, so that a pruned search always spends the budget.
        keys = {"architectures": [name], "objectives": GOALS, "pruner": "none", "duplicate_trials": "allow"}
        spec = simulated(specs.read("default", keys=keys | {"trials": 6 * chosen.trials}), table)
        world = Modelled(spec, table)
        budget = chosen.trials * float(np.mean([run.seconds[-1] for own in table.runs[name].values() for run in own]))
        print(f"{name}: {budget:.0f} core-seconds a search; {world.label}", flush=True)
        for kind, own in KINDS.items():
            volumes[kind].append([])
            counts = []
            for seed in range(chosen.seeds):
                trials = search(replace_keys(spec, own | {"seed": seed}), world, 1, budget).trials
                complete = within(trials, budget)
                counts.append(f"{len(complete)}/{len(trials)}")
                points = ((trial.best[GOALS[0]], trial.costs[GOALS[1]]) for trial in complete)
                volumes[kind][-1].append(hypervolume(points))
            shown = " ".join(f"{volume:.4f}" for volume in volumes[kind][-1])
            print(f"  {kind:12} {shown}   complete / all: {' '.join(counts)}", flush=True)
    found = {kind: np.array(each) for kind, each in volumes.items()}
    for kind, volumes_AS in found.items():
        print(f"{kind:12} mean {volumes_AS.mean():.4f}")
    ratio, low, high = gain(found["tpe, front"], found["tpe"], found["random"])
    print(f"(tpe, front - random) / (tpe - random): {ratio:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
