"""The gain from a warm start: core-seconds from the first training step until a target score.

    python -m benchmarks.warm_start [--seeds 60] [--trials 40] [--share 0.9] [--architectures mlp gru cnn attention rnn]
    python -m benchmarks.warm_start --real [--seeds 3] [--target 0.7 0.72]

Simulated, by default: searches on a surrogate of benchmarks/table/imdb-5000.parquet (see `search simulate`), one trial
at a time, of each architecture alone and of all of them in one search. A cold search is compared with one that starts
from a related search and one that starts from a misleading search. The related search is another one of the same
surrogate, with another seed, of the same size, without its best configuration of each architecture; the misleading one
is the same with its ranking reversed. The target is the quantile `share` of the scores of random trials. A search that
does not reach it counts as longer than all others.

`--real` trains: a search of rotten-tomatoes, then pairs of searches of imdb, cold and `--from` it, with the same seed,
in alternating order, one trial at a time. The seconds are those that trials were training or evaluating.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import measure
from search.run.inherit import taken
from search.simulate import table as tables
from search.simulate.simulate import search
from search.simulate.table import Table, replace_keys, simulated
from search.simulate.worlds import Modelled
from search.spec import read as specs
from search.spec.inherited import Inherited
from search.spec.spec import Spec
from search.study.trial import Trial

TABLE = Path(__file__).parent / "table" / "imdb-5000.parquet"
ARCHITECTURES = ["mlp", "gru", "cnn", "attention", "rnn"]
KINDS = ["cold", "related", "misleading"]
REPEATS = 10_000  # of the bootstrap
EARLIER_SEED = 100_000  # added to a search's seed for the seed of the earlier search
NUM_RANDOM = 60  # trials per architecture from whose scores the target is taken

#: The settings of the searches of `--real`.
REAL = {
    "architectures": "[mlp, cnn]",
    "epochs": "2",
    "reports_per_epoch": "2",
    "max_words": "100",
    "baselines": "none",
    "concurrency": "1",
}


# --- Simulated


def seconds_to(spec: Spec, world: Modelled, target: float) -> float:
    """Core-seconds of a simulated search until its best score reaches the target; infinite if it never does."""
    reached = []

    def until(trial: Trial) -> bool:
        if trial.score is not None and trial.score >= target:
            reached.append(trial)
        return bool(reached)

    ended = search(spec, world, 1, until=until)
    return ended.wall_seconds if reached else math.inf


def reversed_ranking(found: Inherited) -> Inherited:
    points = [each.model_copy(update={"quantile": 1 - each.quantile}) for each in reversed(found.points)]
    return found.model_copy(update={"points": points})


def simulate(table: Table, architectures: Sequence[str], chosen: argparse.Namespace) -> np.ndarray:
    """Seconds to the target, (K, S): K kinds of start, S seeds."""
    keys = {"architectures": list(architectures), "trials": chosen.trials, "sampler": "tpe"}
    spec = simulated(specs.read("default", keys=keys), table)
    world = Modelled(spec, table)
    at_random = {"sampler": "random", "pruner": "none", "seed": 99, "trials": NUM_RANDOM}
    drawn = search(replace_keys(spec, at_random), world, 1)
    target = float(np.quantile([trial.score for trial in drawn.trials if trial.score], chosen.share))
    print(f"{', '.join(architectures)}: target {target:.4f}", flush=True)
    times = []
    for seed in range(chosen.seeds):
        before = search(replace_keys(spec, {"seed": EARLIER_SEED + seed}), world, 1)
        found = [each for name in architectures if (each := taken("earlier", name, spec, before.trials, spec))]
        related = [each.model_copy(update={"points": each.points[1:]}) for each in found]
        inherited = {"cold": [], "related": related, "misleading": [reversed_ranking(each) for each in related]}
        warm = [replace_keys(spec, {"seed": seed, "inherited": inherited[kind]}) for kind in KINDS]
        times.append([seconds_to(each, world, target) for each in warm])
    return np.array(times).T


def ratio_of_medians(warm_S: np.ndarray, cold_S: np.ndarray) -> tuple[float, float, float]:
    """The median over the cold median, with its 95 % interval: seeds are resampled (bootstrap)."""
    drawn_RS = np.random.default_rng(0).integers(len(warm_S), size=(REPEATS, len(warm_S)))
    with np.errstate(invalid="ignore"):  # neither kind reached the target in half of its searches
        ratios_R = _medians(warm_S[drawn_RS]) / _medians(cold_S[drawn_RS])
        ratio = float(_medians(warm_S) / _medians(cold_S))
    low, high = np.quantile(np.nan_to_num(ratios_R, nan=1.0, posinf=np.inf), [0.025, 0.975], method="nearest")
    return ratio, float(low), float(high)


def _medians(times: np.ndarray) -> np.ndarray:
    """The lower median, since a mean with an infinite value would be infinite."""
    return np.sort(times)[..., (times.shape[-1] - 1) // 2]


def row(name: str, times_KS: np.ndarray) -> list[str]:
    cold_S = times_KS[0]
    cells = [name, f"{_medians(cold_S):.1f}"]
    for warm_S in times_KS[1:]:
        ratio, low, high = ratio_of_medians(warm_S, cold_S)
        cells.append(f"{ratio:.2f} ({low:.2f} to {high:.2f})")
    return [*cells, " / ".join(f"{np.isinf(warm_S).sum()}" for warm_S in times_KS)]


# --- Real


def real_search(folder: Path, corpus: str, *more: str) -> list[Trial]:
    """Run a search in a folder. Returns its trials in the order of their starts."""
    from search.run.folders import find_search
    from search.spec.read import read_spec
    from search.study.studies import Studies

    settings = [word for key, value in REAL.items() for word in ("--set", f"{key}={value}")]
    command = [*measure.our_search("default"), "--set", f"corpus={corpus}", *settings, *more]
    measure.require_success(measure.run(command, folder), folder)
    found = find_search("latest", folder / "searches")
    return sorted(Studies(found.name, read_spec(found), found).trials(), key=lambda trial: trial.started or 0)


def training_seconds_to(trials: Sequence[Trial], target: float) -> float:
    spent = 0.0
    for trial in trials:
        for result in trial.results:
            if result.best[trial.metric] >= target:
                return spent + result.seconds
        spent += trial.seconds
    return math.inf


def real(chosen: argparse.Namespace) -> None:
    limit = ("--set", f"limit={chosen.limit}", "--set", f"trials={chosen.trials}")
    with measure.scratch() as folder:
        earlier = real_search(folder, "rotten-tomatoes", *limit, "--set", "seed=1000", "--set", "max_words=50")[
            0
        ].search
        starts: dict[str, list[str]] = {"cold": [], "related": ["--from", str(earlier)]}
        times: dict[float, dict[str, list[float]]] = {target: {kind: [] for kind in starts} for target in chosen.target}
        for seed in range(chosen.seeds):
            for kind in starts if seed % 2 == 0 else reversed(starts):
                trials = real_search(folder, "imdb", *limit, "--set", f"seed={seed}", *starts[kind])
                for target, own in times.items():
                    own[kind].append(training_seconds_to(trials, target))
                found = " ".join(f"{own[kind][-1]:.1f}" for own in times.values())
                best = max(trial.score or 0.0 for trial in trials)
                print(f"{kind}, seed {seed}: {found} s, best {best:.4f}", flush=True)
    rows = [row(f"{target}", np.array([*own.values()])) for target, own in times.items()]
    print(measure.table(["target", "cold, s", "related / cold", "never reached"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="searches of each kind (default 60; with --real 3)")
    parser.add_argument("--trials", type=int, help="trials per architecture (default 40; with --real 6)")
    parser.add_argument("--share", type=float, default=0.9, help="quantile of random trials that is the target")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, help="simulated, each and all together")
    parser.add_argument("--real", action="store_true", help="train instead of simulating")
    parser.add_argument("--target", type=float, nargs="+", default=[0.7, 0.72], help="validation accuracies of --real")
    parser.add_argument("--limit", type=int, default=3000, help="texts of --real (default 3000)")
    chosen = parser.parse_args()
    chosen.seeds = chosen.seeds or (3 if chosen.real else 60)
    chosen.trials = chosen.trials or (6 if chosen.real else 40)
    if chosen.real:
        return real(chosen)
    table = tables.read(TABLE)
    groups = {name: [name] for name in chosen.architectures}
    if len(groups) > 1:
        groups["all in one search"] = chosen.architectures
    rows = [row(name, simulate(table, group, chosen)) for name, group in groups.items()]
    print(measure.table(["", "cold, s", "related / cold", "misleading / cold", "never reached"], rows))


if __name__ == "__main__":
    main()
