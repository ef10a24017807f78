"""Seconds until the best validation accuracy of a search reaches a target, with this project and with rivals.

    python -m benchmarks.time_to_target [--whole] [--seeds 5] [--limit 600] [--only random ...] [--out FILE.json]

The target is 0.79, of rnn, gru, mlp and attention on 100 words of each text (benchmarks/race.yaml). With --whole it is
0.90, of a bag of n-grams and an MLP on up to 1,000 words (benchmarks/whole.yaml), for ours, random and recipe, and for
`ours from naive Bayes`, whose bag starts as a user's does.

Candidates: `ours`, a search with TPE and ASHA; `random`, the same space and system with random points and no early
stopping; `random after defaults`, the same, beginning with each architecture's default configuration as our searches
do; `recipe`, Ray Tune with OptunaSearch and ASHA as in their documentation (benchmarks/rivals/recipe.py); `syne-tune`,
Syne Tune's ASHA. All have the same space, corpus, epochs, batch size and two concurrent trials. A bag of n-grams is
otherwise initialized at random, since only this project initializes from naive Bayes.

Time counts from the start of the command, which runs in a new folder without a cache; only the packages and our
compiled kernels are installed. A run is ended when its tracking database (ours) or its driver (rivals) has recorded the
target, or at the time limit; runs that miss the target count as longer than all others. If the file of --out has runs
of an earlier call, the benchmark continues after them.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measure
from benchmarks.fixed_work import SMOKE_TEXTS, start_rival, write_texts
from benchmarks.rivals.work import NAMES_IN_SPACE, results
from data.base.errors import UserError

RACE, WHOLE = (Path(__file__).parent / name for name in ("race.yaml", "whole.yaml"))
TARGETS = {RACE: 0.79, WHOLE: 0.90}
NUM_RANDOM = 100  # points per architecture: more than fit into the limit
NEVER = float("inf")


@dataclass(frozen=True)
class Race:
    """The conditions that all searches share. path: of our spec; the rivals' space is named after that file."""

    path: Path
    texts: Path
    target: float
    limit: float  # seconds
    num_texts: int | None

    def spec(self) -> dict[str, Any]:
        """The spec, reduced to the architectures that the rivals have, too, and the keys of their spaces."""
        from search.spec import read as specs
        from search.train import config

        spec = specs.read(str(self.path)).model_dump(mode="json")
        architectures = [name for name in spec["architectures"] if name in NAMES_IN_SPACE]
        known = {name for architecture in architectures for name in config.domains(architecture)}
        own = {name: values for name, values in spec["space"].items() if name in known}
        return spec | {"architectures": architectures, "space": own}


def ours(folder: Path, race: Race, seed: int, **changes: Any) -> float:
    """Our search. changes: replaced keys of its spec."""
    import yaml

    environment = measure.fresh_cache(folder)
    spec = race.spec() | {"seed": seed, "limit": race.num_texts} | changes
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


def random(folder: Path, race: Race, seed: int) -> float:
    """Our system on points drawn beforehand, since our random search begins with the defaults."""
    import optuna

    from search.spec import read as specs
    from search.spec import space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = race.spec()
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


def from_naive_bayes(folder: Path, race: Race, seed: int) -> float:
    """Our search with what only this project has: a bag that starts from naive Bayes, without n-grams of one text."""
    spaces = {name: values for name, values in race.spec()["space"].items() if name not in ("start", "singletons")}
    return ours(folder, race, seed, space=spaces)


def rival(module: str, folder: Path, race: Race, seed: int) -> float:
    spec = race.spec()
    started = time.time()
    usage = start_rival(
        module,
        folder,
        race.texts,
        seed,
        epochs=spec["epochs"],
        points=[],
        space=race.path.stem,
        max_words=spec["max_words"],
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
    return min((each["at"] for each in results(folder) if each["val_accuracy"] >= target), default=NEVER)


def require_no_failure(usage: measure.Usage, folder: Path) -> None:
    if usage.status is not None:  # the command ended by itself
        measure.require_success(usage, folder)


CANDIDATES: dict[str, Callable[[Path, Race, int], float]] = {
    "ours": ours,
    "ours from naive Bayes": from_naive_bayes,
    "random": random,
    "random after defaults": random_after_defaults,
    "recipe": lambda *given: rival("recipe", *given),
    "syne-tune": lambda *given: rival("syne_tune_local", *given),
}
OF_WHOLE = ("ours", "ours from naive Bayes", "random", "recipe")
OF_WORDS = tuple(name for name in CANDIDATES if name != "ours from naive Bayes")


def seconds(value: float) -> str:
    return "not reached" if value == NEVER else f"{value:.0f}"


def ratio(ours_seconds: float, others_seconds: float, limit: float) -> str:
    if ours_seconds == NEVER:
        return ""
    return f"> {limit / ours_seconds:.1f}" if others_seconds == NEVER else f"{others_seconds / ours_seconds:.2f}"


def figures(times: dict[str, list[float]], race: Race) -> dict[str, Any]:
    written = {name: [None if each == NEVER else each for each in by_seed] for name, by_seed in times.items()}
    return {"spec": race.path.name, "target": race.target, "limit": race.limit, "seconds": written}


def earlier(path: Path | None, race: Race) -> dict[str, list[float]]:
    """The times by seed that an earlier call has written. Raises UserError if the conditions differ."""
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    mine = {name: value for name, value in figures({}, race).items() if name != "seconds"}
    mine["smoke"] = race.num_texts is not None
    for name, value in mine.items():
        if found.get(name) != value:
            raise UserError(
                f"--out: {path.name} has runs with {name} {found.get(name)}, not {value}; name another file"
            )
    return {name: [NEVER if each is None else each for each in by_seed] for name, by_seed in found["seconds"].items()}


def markdown(times: dict[str, list[float]], race: Race) -> str:
    ours_median = median(times["ours"])
    command = "python -m benchmarks.time_to_target" + " --whole" * (race.path == WHOLE)
    rows = [
        [
            name,
            f"{sum(each < NEVER for each in by_seed)} of {len(by_seed)}",
            seconds(median(by_seed)),
            ratio(ours_median, median(by_seed), race.limit),
            ", ".join(map(seconds, by_seed)),
        ]
        for name, by_seed in times.items()
    ]
    return "\n".join(
        [
            f"`{command}` on {measure.processor()}, with up to {race.spec()['max_words']:,} words of each text:",
            f"seconds until a validation accuracy of {race.target}, at most {race.limit:.0f}. A run that misses it",
            "counts as longer than all others.",
            "",
            measure.table(["", "reached", "median, s", "ratio to ours", "s, by seed"], rows),
        ]
    )


def main() -> None:
    parser = measure.options("time_to_target", __doc__)
    parser.add_argument("--whole", action="store_true", help="the race on whole texts, to 0.90")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each candidate (default 5)")
    parser.add_argument("--limit", type=float, default=600.0, help="time limit of a run in seconds (default 600)")
    parser.add_argument("--target", type=float, help="validation accuracy (default 0.79; with --whole 0.90)")
    parser.add_argument(
        "--only",
        action="append",
        choices=CANDIDATES,
        help="only ours and this one, without writing the page; repeatable",
    )
    chosen = parser.parse_args()
    path = WHOLE if chosen.whole else RACE
    there = OF_WHOLE if chosen.whole else OF_WORDS
    if unknown := set(chosen.only or ()) - set(there):
        parser.error(f"--only {min(unknown)} is not in this race; choose from {', '.join(there)}")
    target = TARGETS[path] if chosen.target is None else chosen.target
    if chosen.smoke:
        chosen.seeds, chosen.limit, target = 1, 120.0, 0.52
    names = [name for name in there if name == "ours" or name in (chosen.only or there)]
    with measure.scratch() as shared:
        race = Race(path, shared / "texts.csv", target, chosen.limit, SMOKE_TEXTS if chosen.smoke else None)
        try:
            times = {name: [] for name in names} | earlier(chosen.out, race)
        except UserError as error:
            parser.error(str(error))
        write_texts(race.texts, race.num_texts)
        for seed in range(chosen.seeds):
            for name in names if seed % 2 == 0 else reversed(names):
                if len(times[name]) > seed:
                    continue
                with measure.scratch() as folder:
                    times[name].append(CANDIDATES[name](folder, race, seed))
                measure.save(figures(times, race), chosen)
                print(f"{name}, seed {seed}: {seconds(times[name][-1])}", flush=True)
    title = "time to a good model on whole texts" if chosen.whole else "time to a good model"
    measure.keep(title, figures(times, race), markdown(times, race), chosen)


if __name__ == "__main__":
    main()
