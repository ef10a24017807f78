"""The time that the analysis takes to read a search of many trials: `python -m benchmarks.read_runs [NUMBER]`.

Writes this many runs (10,000) with MLflow's client to a temporary SQLite database, which takes minutes. Then reads them
as a command does and, for comparison, with MLflow's `search_runs` only.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from analysis.base import runs
from analysis.boards import comparison, leaderboard
from search.base import console, schema
from search.train.metrics import measures

GOAL_SECONDS = 20
SEARCH = "benchmark-20260101-000000"
ARCHITECTURES = ("rnn", "gru", "mlp", "attention")
R = TypeVar("R")


def write_runs(uri: str, num_trials: int, rng: random.Random) -> None:
    """Write a search with this many trials, each with 13 parameters, 39 metrics and 18 tags.

    Each series has a single point, since earlier points cost a reader nothing.
    """
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("benchmark")
    parent_tags = {schema.KIND: schema.KIND_SEARCH, schema.SEARCH: SEARCH, schema.METRIC: "val_accuracy"}
    parent = client.create_run(experiment, tags=parent_tags).info.run_id
    for number in range(num_trials):
        architecture = ARCHITECTURES[number % len(ARCHITECTURES)]
        name = f"{architecture}-{number // len(ARCHITECTURES)}"
        tags = {
            schema.KIND: schema.KIND_TRIAL,
            schema.SEARCH: SEARCH,
            schema.TRIAL: name,
            schema.NUMBER: str(number // len(ARCHITECTURES)),
            schema.OUTCOME: schema.Outcome.COMPLETE.value,
            schema.ATTEMPT: "1",
            schema.NODE: "192.0.2.1",
            schema.WORKER: "4321",
            schema.DATA_DIGEST: "0" * 64,
            schema.PARENT_RUN_ID: parent,
            **{
                f"{schema.VERSION_PREFIX}{library}": "1.2.3"
                for library in ("torch", "ray", "optuna", "mlflow", "numpy")
            },
        }
        run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        params = {schema.ARCHITECTURE: architecture, schema.SEED: rng.randrange(2**31)}
        hyperparameters = {
            "hidden_size": rng.randrange(64, 129, 8),
            "num_layers": rng.randint(1, 2),
            "activation": rng.choice(["none", "relu", "tanh", "sigmoid"]),
            "dropout": rng.uniform(0, 0.5),
            "learning_rate": 10 ** rng.uniform(-4, -2),
            "batch_size": 32,
            "max_grad_norm": None,
            "pooling": "last",
            "output_activation": "none",
            "gate_activation": "sigmoid",
            "window": 5,
        }
        metrics = {
            schema.BEST_EPOCH: 9,
            schema.EPOCHS_RUN: 10,
            schema.NUM_PARAMETERS: rng.randrange(5_000, 50_000),
            schema.TRIAL_SECONDS: rng.uniform(10, 100),
        }
        others = [schema.best(metric) for metric in measures()]
        others += [metric for metric in measures() if not metric.startswith("test_")]
        others += [
            schema.CURVE_LOSS,
            schema.CURVE_ACCURACY,
            schema.GRAD_NORM,
            schema.LEARNING_RATE,
            schema.EPOCH_SECONDS,
        ]
        others += [f"{schema.GRAD_NORM_OF}layers.{layer}" for layer in range(10)]
        metrics |= {name: rng.random() for name in others}
        client.log_batch(
            run_id,
            [Metric(k, v, 0, 10) for k, v in metrics.items()],
            [Param(k, str(v)) for k, v in (params | hyperparameters).items()],
            [RunTag(schema.REPLAY, "equal"), RunTag(schema.HYPERPARAMETERS, json.dumps(hyperparameters))],
        )


def timed(what: str, work: Callable[[], R]) -> tuple[R, float]:
    """The result of `work` and the seconds it took. Also prints CPU time, on which other processes have little
    effect."""
    started, computed = time.perf_counter(), time.process_time()
    result = work()
    seconds, computed = time.perf_counter() - started, time.process_time() - computed
    print(f"{what:<40} {seconds:7.2f} s ({computed:.2f} s CPU)", flush=True)
    return result, seconds


def search_runs(uri: str) -> int:
    """Read the same runs with MLflow only. Returns their number."""
    client, token, count = MlflowClient(tracking_uri=uri), None, 0
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    while token != "":
        page = client.search_runs(
            experiments, f"tags.`{schema.SEARCH}` = '{SEARCH}'", max_results=1000, page_token=token
        )
        count, token = count + len(page), page.token or ""
    return count


def main(num_trials: int = 10_000) -> None:
    console.quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        timed(f"writing {num_trials:,} runs", lambda: write_runs(uri, num_trials, random.Random(0)))
        trials, reading = timed("runs.read_trials", lambda: runs.read_trials(uri, SEARCH))
        assert len(trials) == num_trials
        _, ranking = timed("leaderboard.leaderboard", lambda: leaderboard.leaderboard(trials))
        _, pivoting = timed("comparison.pivot", lambda: comparison.pivot(trials, "hidden_size", "activation"))
        _, bare = timed("for comparison: search_runs alone", lambda: search_runs(uri))
    total = reading + ranking + pivoting
    print(
        f"{'reading, ranking and a pivot':<40} {total:7.2f} s (goal: {GOAL_SECONDS}), {total / bare:.2f} x search_runs"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
