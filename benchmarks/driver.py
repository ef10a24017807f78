"""The cost of the driver: real searches of 200 and 2,000 trials whose training is replaced by random numbers.

    python -m benchmarks.driver [NUM_TRIALS ...] [--profile]

Prints for each search: seconds per trial, the driver's CPU time per trial, seconds until the first result, the driver's
peak memory, and the shares of time in Optuna, MLflow and Tune with Ray.
"""

import cProfile
import functools
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.base import console

console.quiet_libraries()


def no_work(config: dict[str, Any], corpora: Any, setting: Any) -> None:
    """Replaces the trainable: reports epochs with random numbers. On processors, a pack has one trial."""
    import random

    from ray import tune

    from search.base import schema
    from search.base.names import config_name
    from search.train.metrics import METRICS
    from search.train.training import Result
    from search.tune.hosted import MEMBERS

    (member,) = config[MEMBERS]
    rng = random.Random(member["seed"])
    quality, best = rng.random(), {}
    for epoch in range(1, setting.length.epochs + 1):
        metrics = {f"{split}_{name}": quality + rng.random() / 10 for split in ("train", "val") for name in METRICS}
        if not best or metrics[setting.metric] > best[setting.metric]:
            best = dict(metrics)
        if epoch == setting.length.epochs:
            best |= {f"test_{name}": quality for name in METRICS}
        metrics |= {schema.EPOCH_SECONDS: 0.0, schema.LEARNING_RATE: 0.1, schema.GRAD_NORM: 1.0}
        report = config_name(member), Result(epoch, metrics, [], epoch, best, None, 0.0), None
        tune.report({"reports": [report], "failures": [], "provenance": ()})


class Timers:
    """Seconds spent in the wrapped functions, excluding nested calls of other wrapped functions."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.first: dict[str, float] = {}  # time of the first call of a function
        self._stack: list[float] = []

    def wrap(self, owner: Any, function: str, what: str) -> None:
        original: Callable[..., Any] = getattr(owner, function)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            self.first.setdefault(function, started)
            self._stack.append(0.0)
            try:
                return original(*args, **kwargs)
            finally:
                spent = time.perf_counter() - started
                within = self._stack.pop()
                self.seconds[what] = self.seconds.get(what, 0.0) + spent - within
                if self._stack:
                    self._stack[-1] += spent

        setattr(owner, function, timed)


def search(num_trials: int, profile: bool) -> None:
    """Run one search in this process and print its costs."""
    from rich.console import Console

    from search.prove import audit
    from search.run import folders, keeper, progress, run
    from search.spec import read as specs
    from search.study import studies
    from search.track import tracking

    timers = Timers()
    for function in ("ask", "report", "finish"):
        timers.wrap(studies.Studies, function, "Optuna")
    for function in ("changed", "deliver_due"):
        timers.wrap(tracking.Tracker, function, "MLflow")
    timers.wrap(progress.Progress, "changed", "progress")
    timers.wrap(keeper._Keeper, "changed", "checkpoints")
    run.trainable = no_work  # type: ignore[assignment]
    tune_seconds: list[float] = []
    tune, profiler = run._tune, cProfile.Profile()

    def timed_tune(*args: Any) -> None:
        started, started_cpu = time.perf_counter(), time.process_time()
        if profile:
            profiler.enable()
        tune(*args)
        profiler.disable()
        tune_seconds.extend([time.perf_counter() - started, time.process_time() - started_cpu])
        tune_seconds.append(timers.first["report"] - started)

    run._tune = timed_tune
    names = ["rnn", "gru", "mlp", "attention"]  # fixed, so that the number of trials does not depend on the registry
    spec = specs.read("smoke", [f"architectures={names}", f"trials={num_trials // len(names)}"])
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8") as nowhere:
        before = os.getcwd()
        os.chdir(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        new = folders.new_search(spec, Path(folder) / "searches")
        result = run.run(new, uri, Console(file=nowhere))
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert result.num_owed == 0, result
        differences = [line for line in audit.audit(new, uri) if "checkpoint" not in line]
        assert differences == [], differences[:5]
        os.chdir(before)
    seconds, cpu_seconds, start_seconds = tune_seconds
    shares = {what: spent / seconds for what, spent in timers.seconds.items()}
    shares["Tune and Ray"] = 1 - sum(shares.values())
    listed = ", ".join(f"{what} {share:.0%}" for what, share in sorted(shares.items(), key=lambda each: -each[1]))
    each = f"{seconds / num_trials:.3f} s each, {cpu_seconds / num_trials:.3f} s of the driver's CPU time"
    print(
        f"{num_trials:>6} trials  {each}  first result after {start_seconds:.1f} s  {megabytes:,.0f} MB  {listed}",
        flush=True,
    )
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()] or [200, 2000]
    if len(numbers) == 1:
        search(numbers[0], "--profile" in sys.argv)
    else:
        for number in numbers:  # one process per search, to measure its memory
            options = [word for word in sys.argv[1:] if not word.isdigit()]
            subprocess.run([sys.executable, "-m", "benchmarks.driver", str(number), *options], check=True)
