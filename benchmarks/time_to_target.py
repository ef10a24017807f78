"""Seconds until the best validation accuracy so far reaches 0.79, search against search.

    python -m benchmarks.time_to_target [--seeds 5] [--limit 600] [--target 0.79] [--only ours ...] [--out FILE.json]

Candidates: `ours`, a search of rnn, gru, mlp and attention (benchmarks/race.yaml); `random`, the same space and system
with points drawn at random, none of them stopped early; `random after defaults`, the same but for each architecture's
default configuration, which our searches try first; `recipe`, Ray Tune with OptunaSearch and ASHA as their
documentation shows it (benchmarks/rivals/recipe.py); `syne-tune`, Syne Tune's ASHA. All have the same space, corpus,
epochs and batch size, and two trials at once.

Time counts from the start of the command, in a folder of its own and without a cache: only the packages, and our
compiled kernels, are there. A run is ended when its tracking database (ours) or its driver (the others) has the
target, or after the limit; runs that have not reached it count as longer than all others.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measure
from benchmarks.fixed_work import ARCHITECTURES, SMOKE_TEXTS, start_rival, write_texts
from benchmarks.rivals import work

RACE = Path(__file__).parent / "race.yaml"
NUM_RANDOM = 100  # points of each architecture: more than fit any limit
NEVER = float("inf")


@dataclass(frozen=True)
class Race:
    """The conditions that all searches share."""

    texts: Path
    target: float
    limit: float  # seconds
    num_texts: int | None


def ours(folder: Path, race: Race, seed: int, **changes: Any) -> float:
    """Our search of the architectures that the rivals have, too. changes: replaced keys of its spec."""
    import yaml

    environment = measure.fresh_cache(folder)
    spec = raced_spec() | {"seed": seed, "limit": race.num_texts} | changes
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    started = time.time()
    usage = measure.run(
        measure.our_search("spec.yaml"),
        folder,
        environment=environment,
        until=lambda: reached_in_mlflow(folder, race.target) < NEVER,
        limit=race.limit,
    )
    require_no_failure(usage, folder)
    return reached_in_mlflow(folder, race.target) - started


def raced_spec() -> dict[str, Any]:
    from search.spec import read as specs
    from search.train import config

    spec = specs.read(str(RACE)).model_dump(mode="json")
    known = {name for architecture in ARCHITECTURES for name in config.domains(architecture)}
    own = {name: values for name, values in spec["space"].items() if name in known}
    return spec | {"architectures": list(ARCHITECTURES), "space": own}


def random(folder: Path, race: Race, seed: int) -> float:
    """Our system on points drawn beforehand, since its own random search begins with the defaults."""
    import optuna

    from search.spec import read as specs
    from search.spec import space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = raced_spec()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    points = {
        architecture: {
            f"p{number}": {
                name: value for name, value in space.suggest(study.ask(), own).items() if name in spec["space"]
            }
            for number in range(NUM_RANDOM)
        }
        for architecture, own in specs.validate(spec).spaces.items()
    }
    return ours(
        folder, race, seed, name="random", space={}, trials=None, configurations=points, sampler="grid", pruner="none"
    )


def random_after_defaults(folder: Path, race: Race, seed: int) -> float:
    return ours(folder, race, seed, sampler="random", pruner="none", trials=NUM_RANDOM)


def rival(module: str, folder: Path, race: Race, seed: int) -> float:
    started = time.time()
    usage = start_rival(
        module,
        folder,
        race.texts,
        seed,
        epochs=6,
        points=[],
        until=lambda: reached_by_rival(folder, race.target) < NEVER,
        limit=race.limit,
    )
    require_no_failure(usage, folder)
    return reached_by_rival(folder, race.target) - started


def reached_in_mlflow(folder: Path, target: float) -> float:
    """The time, as of time.time(), at which the tracker first recorded an accuracy of at least the target."""
    with (
        contextlib.suppress(sqlite3.OperationalError),  # the database is being created or written
        contextlib.closing(sqlite3.connect(f"file:{folder}/mlflow.db?mode=ro", uri=True)) as database,
    ):
        query = "SELECT MIN(timestamp) FROM metrics WHERE key = 'val_accuracy' AND value >= ?"
        (milliseconds,) = database.execute(query, (target,)).fetchone()
        return NEVER if milliseconds is None else milliseconds / 1000
    return NEVER


def reached_by_rival(folder: Path, target: float) -> float:
    return min((each["at"] for each in work.results(folder) if each["val_accuracy"] >= target), default=NEVER)


def require_no_failure(usage: measure.Usage, folder: Path) -> None:
    if usage.status is not None:  # it ended by itself
        measure.require_success(usage, folder)


CANDIDATES: dict[str, Callable[[Path, Race, int], float]] = {
    "ours": ours,
    "random": random,
    "random after defaults": random_after_defaults,
    "recipe": lambda *given: rival("recipe", *given),
    "syne-tune": lambda *given: rival("syne_tune_local", *given),
}


def seconds(value: float) -> str:
    return "not reached" if value == NEVER else f"{value:.0f}"


def ratio(own: float, its: float, limit: float) -> str:
    if own == NEVER:
        return ""
    return f"> {limit / own:.1f}" if its == NEVER else f"{its / own:.2f}"


def figures(times: dict[str, list[float]], race: Race) -> dict[str, Any]:
    written = {name: [None if each == NEVER else each for each in its] for name, its in times.items()}
    return {"target": race.target, "limit": race.limit, "seconds": written}


def markdown(times: dict[str, list[float]], race: Race) -> str:
    own = median(times["ours"])
    rows = [
        [
            name,
            f"{sum(each < NEVER for each in its)} of {len(its)}",
            seconds(median(its)),
            ratio(own, median(its), race.limit),
            ", ".join(map(seconds, its)),
        ]
        for name, its in times.items()
    ]
    return "\n".join(
        [
            f"`python -m benchmarks.time_to_target` on {measure.processor()}, with 100 words of each text:",
            f"seconds until a validation accuracy of {race.target}, at most {race.limit:.0f}. A run that did not reach",
            "it counts as longer than all others.",
            "",
            measure.table(["", "reached it", "median", "over ours", "seed by seed"], rows),
        ]
    )


def main() -> None:
    parser = measure.options("time_to_target", __doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each candidate (default 5)")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a run (default 600)")
    parser.add_argument("--target", type=float, default=0.79, help="validation accuracy (default 0.79)")
    parser.add_argument(
        "--only", action="append", choices=CANDIDATES, help="ours and this one, and write no page; may be repeated"
    )
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.seeds, chosen.limit, chosen.target = 1, 120.0, 0.52
    names = [name for name in CANDIDATES if name == "ours" or name in (chosen.only or CANDIDATES)]
    times: dict[str, list[float]] = {name: [] for name in names}
    with measure.scratch() as shared:
        race = Race(shared / "texts.csv", chosen.target, chosen.limit, SMOKE_TEXTS if chosen.smoke else None)
        write_texts(race.texts, race.num_texts)
        for seed in range(chosen.seeds):
            for name in names if seed % 2 == 0 else reversed(names):
                with measure.scratch() as folder:
                    times[name].append(CANDIDATES[name](folder, race, seed))
                measure.save(figures(times, race), chosen)
                print(f"{name}, seed {seed}: {seconds(times[name][-1])}", flush=True)
    measure.keep("time to a good model", figures(times, race), markdown(times, race), chosen)


if __name__ == "__main__":
    main()
