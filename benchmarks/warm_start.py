"""What a warm start is worth: core-seconds until a target, simulated from a recorded table.

    python -m benchmarks.warm_start [--seeds 9] [--architecture mlp] [--trials 40] [--share 0.9]

Searches of a surrogate of benchmarks/table/imdb-5000.parquet (see `search simulate`), one trial at a time: cold; from a
related search, which is another search of the same surrogate on noise of its own, without its best
configuration; and from a misleading one, the same with its order turned round. The target is the quantile `share` of 60
random trials; seconds count from the first training step.
"""

import argparse
from pathlib import Path
from statistics import median

import numpy as np

from search.run.inherit import taken
from search.simulate import table as tables
from search.simulate.simulate import Ended, search
from search.simulate.table import replace_keys, simulated
from search.simulate.worlds import Modelled
from search.spec import read as specs
from search.spec.inherited import Inherited

TABLE = Path(__file__).parent / "table" / "imdb-5000.parquet"


def seconds_to(ended: Ended, metric: str, target: float) -> float:
    spent = 0.0
    for trial in ended.trials:
        for before, result in zip([0.0, *(each.seconds for each in trial.results)], trial.results, strict=False):
            spent += result.seconds - before
            if result.best[metric] >= target:
                return spent
    return float("inf")


def turned(found: Inherited) -> Inherited:
    points = [each.model_copy(update={"quantile": 1 - each.quantile}) for each in reversed(found.points)]
    return found.model_copy(update={"points": points})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--architecture", default="mlp")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--share", type=float, default=0.9)
    parser.add_argument("--sampler", default="tpe")
    chosen = parser.parse_args()
    table = tables.read(TABLE)
    keys = {"architectures": [chosen.architecture], "trials": chosen.trials, "sampler": chosen.sampler}
    spec = simulated(specs.read("default", keys=keys), table)
    world = Modelled(spec, table)
    name = chosen.architecture
    at_random = {"sampler": "random", "pruner": "none", "seed": 99, "trials": 60}
    drawn = search(replace_keys(spec, at_random), world, 1)
    target = float(np.quantile([trial.score for trial in drawn.trials if trial.score], chosen.share))
    print(world.label, f"target {target:.4f}", flush=True)
    times: dict[str, list[float]] = {"cold": [], "related": [], "misleading": []}
    for seed in range(chosen.seeds):
        before = search(replace_keys(spec, {"seed": 1000 + seed, "trials": 12}), world, 1)
        found = taken("earlier", name, spec, before.trials, spec)
        assert found is not None
        related = found.model_copy(update={"points": found.points[1:]})
        for kind, own in (("cold", []), ("related", [related]), ("misleading", [turned(related)])):
            warm = replace_keys(spec, {"seed": seed, "inherited": own})
            times[kind].append(seconds_to(search(warm, world, 1), spec.metric, target))
        print(seed, {k: round(v[-1], 1) for k, v in times.items()}, flush=True)
    cold = median(times["cold"])
    for kind, own in times.items():
        print(f"{kind}: median {median(own):.1f}, over cold {median(own) / cold:.2f}; {own}")


if __name__ == "__main__":
    main()
