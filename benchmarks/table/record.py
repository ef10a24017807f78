"""Records the table for simulated searches: random configurations of each architecture, on two seeds.

    python -m benchmarks.table.record RUNS.jsonl --minutes 10    # and again, until all of them are there
    python -m benchmarks.table.record RUNS.jsonl --pack benchmarks/table/imdb-5000.parquet

The space and length are those of the default search, on 5,000 texts, trained in this process on one thread. The first
line of RUNS.jsonl is the spec, and every other line is a run; runs in the file are not repeated. The architectures take
turns, so that the table is balanced whenever the recording stops.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch

from data.encoded import EncodedCorpus
from search.base import console, schema
from search.run.setting import make_setting
from search.simulate.table import write
from search.spec import read as specs
from search.spec import space
from search.spec.spec import Spec
from search.study.study import derive_seed
from search.track.provenance import of_search, of_worker
from search.train import training
from search.train.device import device_of
from search.train.running import Setting, build_model, run_trial, splits
from search.train.stepping import finish
from search.train.tasks import task_of

CONFIGURATIONS, SEEDS = 60, 2
RECORDED = ["limit=5000", "sampler=random", "pruner=none", "baselines=none", "name=table", f"trials={CONFIGURATIONS}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the file that runs are appended to")
    parser.add_argument("--minutes", type=float, default=10.0, help="time after which no run is started")
    parser.add_argument("--pack", type=Path, help="write the table of the runs so far instead of training")
    chosen = parser.parse_args()
    console.quiet_libraries()
    lines = chosen.runs.read_text(encoding="utf-8").splitlines() if chosen.runs.exists() else []
    header, runs = (json.loads(lines[0]), [*map(json.loads, lines[1:])]) if lines else ({}, [])
    if chosen.pack:
        pack(header, runs, chosen.pack)
    else:
        record_runs(chosen.runs, header, runs, time.monotonic() + 60 * chosen.minutes)


def record_runs(path: Path, header: dict[str, Any], runs: list[dict[str, Any]], deadline: float) -> None:
    """Append the runs that are missing, until the deadline."""
    spec = specs.load(header["spec"], str(path)) if header else specs.read("default", RECORDED)
    corpus = specs.load_corpus(spec)
    known = of_search(corpus) | of_worker(torch.device("cpu"))
    if header and known[schema.DATA_DIGEST] != header["provenance"][schema.DATA_DIGEST]:
        raise SystemExit(f"error: {path} was recorded on other texts")
    setting, done = make_setting(spec, path.parent), {_identity(run) for run in runs}
    for architecture in spec.architectures:  # warms up: the first steps of a process include imports
        next(train(_config(spec, architecture, 0, 0), corpus, setting))
    with path.open("a", encoding="utf-8") as file:
        if not header:
            print(json.dumps({"spec": specs.dump(spec), "provenance": known}), file=file, flush=True)
        for number, repetition, architecture in itertools.product(
            range(CONFIGURATIONS), range(SEEDS), spec.architectures
        ):
            if (architecture, number, repetition) in done:
                continue
            if time.monotonic() > deadline:
                print("time is up; run the same command again to continue")
                return
            identity = {"architecture": architecture, "configuration": number, "repetition": repetition}
            config = _config(spec, architecture, number, repetition)
            reports = list(train(config, corpus, setting))
            own = {name: config[name] for name in spec.spaces[architecture]}
            print(json.dumps(identity | {"hyperparameters": own, "reports": reports}), file=file, flush=True)
            last = reports[-1]
            print(
                f"{architecture}-{number} {repetition}: {last['seconds']:.1f} s, {last.get('val_accuracy')}", flush=True
            )
    print("all runs are recorded")


def _config(spec: Spec, architecture: str, number: int, repetition: int) -> dict[str, Any]:
    seed = derive_seed(spec.seed, architecture, number, repetition)
    return {schema.ARCHITECTURE: architecture, schema.SEED: seed} | draw(spec, architecture, number)


def draw(spec: Spec, architecture: str, number: int) -> dict[str, Any]:
    """A random configuration of the architecture's space, determined by its number."""
    seed = derive_seed(spec.seed, architecture, number, "table")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return space.suggest(study.ask(), spec.spaces[architecture])


def train(config: dict[str, Any], corpus: EncodedCorpus, setting: Setting) -> Iterator[dict[str, Any]]:
    """The reports of a run, all with test metrics, whose time is not counted."""
    words = setting.words.get(config[schema.ARCHITECTURE])
    seen = corpus.first_words(words) if words else corpus
    judge = build_model(config, seen, setting.embeddings)
    task = task_of(judge.task, seen)
    test = splits(seen, device_of(setting.gpu), task).test
    aside, started = 0.0, time.process_time()
    for result in run_trial(config, corpus, setting):
        seconds = time.process_time() - started - aside
        metrics = dict(result.metrics)
        if not result.diverged:
            judge.load_state_dict(result.state["model"])
            metrics |= training.measure(task, finish(training._predict(judge, test)), test.targets, "test")
        kept = {name: value for name, value in metrics.items() if name.startswith(schema.SPLITS)}
        yield {
            "step": result.step,
            "diverged": result.diverged,
            "seconds": round(seconds, 3),
            schema.NUM_PARAMETERS: metrics[schema.NUM_PARAMETERS],
        } | kept
        if "test_accuracy" in result.best and result.best_step == result.step:
            assert result.best["test_accuracy"] == kept["test_accuracy"], "another model was measured"
        aside = time.process_time() - started - seconds


def pack(header: dict[str, Any], runs: list[dict[str, Any]], path: Path) -> None:
    """Write the table of all rounds that are complete for every architecture."""
    spec = specs.load(header["spec"], "runs")
    whole = min(
        sum(run["architecture"] == name and run["repetition"] == SEEDS - 1 for run in runs)
        for name in spec.architectures
    )
    runs = [run for run in runs if run["configuration"] < whole]
    rows = [
        {name: run[name] for name in ("architecture", "configuration", "repetition")} | each
        for run in runs
        for each in run["reports"]
    ]
    configurations: dict[str, dict[int, Any]] = {name: {} for name in spec.architectures}
    for run in runs:
        configurations[run["architecture"]][run["configuration"]] = run["hyperparameters"]
    write(pd.DataFrame(rows), configurations, spec, header["provenance"], path)
    print(f"wrote {len(rows):,} reports of {len(runs)} runs, {path.stat().st_size / 1e6:.2f} MB, to {path}")


def _identity(run: dict[str, Any]) -> tuple[str, int, int]:
    return run["architecture"], run["configuration"], run["repetition"]


if __name__ == "__main__":
    main()
