"""A small search of which one call fails, or that is killed at it; and what its resume lacks.

    failing_calls.py KIND LIBRARY FOLDER RESULTS [--part I/K] [--seconds S] [--at-most N]

KIND: what fails, a key of KINDS: each n-th call with each fault is a case. "ray" is the disk of a search through Ray,
the others do without. LIBRARY: `fixtures/failing_calls.c`, compiled, which is preloaded, too; for "ray" FAILING_CALLS
names a file in which Ray's processes count together. FOLDER: for scratch. RESULTS: a JSONL file with a line for each
case that was tried; those in it are not tried again. The cases come in an order of their own, so that any number of
them is a sample.
"""

import argparse
import contextlib
import ctypes
import errno
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import torch
from rich.console import Console

from models.native import kernels
from search.base import console
from search.base.schema import Outcome
from search.cluster import connection
from search.prove import audit
from search.run import run
from search.run.folders import TUNE
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.study.trial import Worker
from search.track.recorded import read_runs
from search.track.tracking import Tracker
from search.train.stepping import alone
from search.tune.worker import run_on

QUIET = Console(quiet=True)
HANGS_SECONDS = 1.1  # longer than what the tracker takes for a hang


class Calls:
    """Calls of one kind, the n-th of which fails. faults: what may become of it; with a number that arms it."""

    faults: Mapping[str, int]

    def arm(self, place: Path, n: int, fault: int) -> None:
        """Count from now on in this process; n = 0: none fails."""

    def seen(self) -> int:
        """How many there were."""
        raise NotImplementedError

    def disarm(self) -> None: ...


class DiskCalls(Calls):
    """open, write, fsync, rename and unlink below the search's place, or of its journal alone."""

    def __init__(self, shim: ctypes.CDLL, ending: str, faults: dict[str, int]) -> None:
        self._shim, self._ending, self.faults = shim, ending, faults

    def arm(self, place: Path, n: int, fault: int) -> None:
        self._shim.arm(f"{place}/".encode(), self._ending.encode(), ctypes.c_long(n), fault)

    def seen(self) -> int:
        return int(self._shim.calls())

    def disarm(self) -> None:
        self._shim.arm(b"", b"", ctypes.c_long(0), 0)


class MlflowCalls(Calls):
    """Those of MLflow's client, all of which the tracker makes; what they call in turn does not count."""

    REFUSED, UNANSWERED, HANGS, AWAY, KILLED_BEFORE, KILLED_AFTER = range(6)
    faults: ClassVar = {
        "refused": REFUSED, "done but unanswered": UNANSWERED, "hangs": HANGS, "away from then on": AWAY,
        "killed before": KILLED_BEFORE, "killed after": KILLED_AFTER,
    }  # fmt: skip

    def __init__(self) -> None:
        self._n = self._fault = self._seen = self._depth = 0
        for name in dir(mlflow.MlflowClient):
            method = getattr(mlflow.MlflowClient, name)
            if not name.startswith("_") and callable(method):
                setattr(mlflow.MlflowClient, name, self._failing(method))

    def _failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._seen += not self._depth
            chosen = not self._depth and (self._seen == self._n or self._seen > self._n > 0 == self._fault - self.AWAY)
            if not chosen or self._fault in (self.UNANSWERED, self.KILLED_AFTER):
                self._depth += 1
                try:
                    answer = method(*args, **kwargs)
                finally:
                    self._depth -= 1
                if not chosen:
                    return answer
            if self._fault in (self.KILLED_BEFORE, self.KILLED_AFTER):
                os.kill(os.getpid(), signal.SIGKILL)
            if self._fault == self.HANGS:
                time.sleep(HANGS_SECONDS)
            raise mlflow.MlflowException("the server does not answer")

        return call

    def arm(self, place: Path, n: int, fault: int) -> None:
        self._n, self._fault, self._seen = n, fault, 0

    def seen(self) -> int:
        return self._seen

    def disarm(self) -> None:
        self._n = 0


DIE, HALF_AND_DIE, HALF = 0, -1, -2  # as in failing_calls.c
KINDS: dict[str, Callable[[ctypes.CDLL], Calls]] = {
    "disk": lambda shim: DiskCalls(
        shim, "", {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES, "killed": DIE, "half": HALF}
    ),
    "journal": lambda shim: DiskCalls(shim, JOURNAL, {"killed": DIE, "killed after half": HALF_AND_DIE, "half": HALF}),
    "mlflow": lambda shim: MlflowCalls(),
    "ray": lambda shim: DiskCalls(shim, "", {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}),
}


def train_here(
    studies: Studies, spec: Any, held: list[Any], folder: Path, room: Any, after_step: Callable[[], None], warn: Any
) -> None:
    """In place of Tune: one trial after the other; one that raises is tried again as often as its retries say."""
    corpus, setting = held.pop(), make_setting(spec, folder)
    while trial := studies.ask():
        for attempt in range(spec.retries + 1):
            reports = alone(run_on(trial.config, corpus, setting))
            try:
                while report := next(reports, None):
                    goes_on = studies.report(trial, report[0], Worker("here", 1))
                    after_step()
                    if not goes_on:
                        break
            except OSError:
                if attempt == spec.retries:
                    raise
                studies.restarted(trial)
            else:
                break


def in_this_process(work: Callable[[], object], log: Path) -> int:
    """The exit status that a command would have that does this; what it says is in `log`."""
    with log.open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            console.command(work)()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def in_a_child(work: Callable[[], object], log: Path) -> int:
    """The exit status of a process that does this as a command does; what it says is in `log`."""
    pid = os.fork()
    if pid == 0:
        status: Any = 1
        try:
            with log.open("w") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
            console.command(work)()
            status = 0
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wrong(folder: Path, uri: str) -> list[str]:
    """What a search that was resumed to its end should have and has not."""
    found = audit.audit(folder, uri)
    spec = read_spec(folder)
    trials = Studies(folder.name, spec, folder).trials()
    if len(trials) != spec.num_trials:
        found.append(f"{len(trials)} trials, not {spec.num_trials}")
    for trial in trials:
        steps = [result.step for result in trial.results]
        if trial.outcome is not Outcome.COMPLETE or steps != list(range(1, spec.epochs + 1)):
            found.append(f"{trial.name} is {trial.outcome} with the reports {steps}: {trial.error}")
    if len(read_runs(uri, folder.name).runs) != spec.num_trials:
        found.append("not one run for each trial")
    for path in folder.rglob("*.json"):
        # Those with a dot are of a process that was killed while it wrote them, those of Tune are pickled.
        if not path.name.startswith(".") and TUNE not in path.relative_to(folder).parts:
            json.loads(path.read_bytes())
    return found


class Search:
    """The search that is tried, in processes that are forks of this one: its imports are made once."""

    _in_a_process = staticmethod(in_a_child)

    def __init__(self, root: Path, calls: Calls) -> None:
        self._root, self._calls = root, calls
        self._template, self._place = root / "template", root / "place"
        shutil.rmtree(root, ignore_errors=True)
        self._template.mkdir(parents=True)
        os.chdir(self._template)
        os.environ["BAKEOFF_CACHE"] = str(self._template / "cache")
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # as a search does
            kernels.build()
        (root / "texts.csv").write_text(
            "text,label\n" + "".join(f"{word} film number {i},{word}\n" for i in range(40) for word in ("good", "bad"))
        )
        self._spec = specs.validate(
            {
                "name": "small", "corpus": f"csv:{root / 'texts.csv'}", "architectures": ["mlp"], "baselines": "none",
                "embeddings": "learned", "embedding_size": 4, "trials": 2, "epochs": 2, "pruner": "none",
            }
        )  # fmt: skip
        self._prepare()
        first = specs.validate(self._spec.model_dump() | {"trials": 1})
        opened = Studies("first-20260101-000000", first, self._template, "new")
        Tracker(f"sqlite:///{self._template}/mlflow.db", opened)  # MLflow makes its tables
        self.num_calls = self._count()

    def _prepare(self) -> None:
        """Do without Ray."""
        run._tune = train_here
        run.connection.connection = contextlib.nullcontext
        run.connection.ahead = lambda *_: contextlib.nullcontext()
        run.session.keep = lambda: self._place  # there is no Ray whose logs could be kept
        run.capacity.Room = lambda *_: lambda: 1

    @property
    def _uri(self) -> str:
        return f"sqlite:///{self._place}/mlflow.db"

    def _count(self) -> int:
        """How many calls there are where none fails."""
        self._warm_up()
        log = self._root / "first.log"
        self._fresh()
        assert self._in_a_process(lambda: self._start(0, 0), log) == 0, log.read_text()
        return int((self._root / "calls").read_text())

    def _warm_up(self) -> None:
        """Import and cache in this process all that its forks need."""
        place, self._place = self._place, self._root / "first"
        self._fresh()
        self._start(0, 0)
        self._end()
        shutil.rmtree(self._place)
        self._place = place
        gc.freeze()

    def _fresh(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._template, self._place)
        os.chdir(self._place)
        os.environ["BAKEOFF_CACHE"] = str(self._place / "cache")

    def _start(self, n: int, fault: int) -> None:
        self._calls.arm(self._place, n, fault)
        try:
            run.start(self._spec, self._place / "searches", self._uri, QUIET)
        finally:
            seen = self._calls.seen()
            self._calls.disarm()
            (self._root / "calls").write_text(str(seen))

    def _end(self) -> None:
        (folder,) = (self._place / "searches").iterdir()
        run.resume(folder, self._uri, QUIET)
        problems = wrong(folder, self._uri)
        assert not problems, problems

    def tried(self, n: int, fault: str) -> dict[str, Any]:
        """What became of a search whose n-th call failed so, and what is `lost` after its resume, if anything is."""
        self._fresh()
        log, again = self._root / "search.log", self._root / "again.log"
        status = self._in_a_process(lambda: self._start(n, self._calls.faults[fault]), log)
        said = log.read_text().strip()
        began = any((self._place / "searches").glob("*/spec.yaml"))
        lost = again.read_text() if began and self._in_a_process(self._end, again) else ""
        if "this is a bug" in said or "Traceback" in said:
            lost = f"{said}\n{lost}"
        return {"status": status, "said": said[-300:], "began": began, "lost": lost}


class RealSearch(Search):
    """A search through the Ray of this process, whose workers count and fail, too."""

    _in_a_process = staticmethod(in_this_process)

    def _prepare(self) -> None:
        run.connection.connection = contextlib.nullcontext

    def _fresh(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place = self._root / f"place-{time.monotonic_ns()}"  # MLflow's client keeps a database open
        super()._fresh()

    def _warm_up(self) -> None: ...

    def tried(self, n: int, fault: str) -> dict[str, Any]:
        line = super().tried(n, fault)
        return line | {"reached": n <= int((self._root / "calls").read_text())}  # their order is not always the same


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("library")
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--at-most", type=int)
    args = parser.parse_args(arguments)
    args.results = args.results.absolute()
    console.quiet_libraries()
    torch.set_num_threads(1)
    calls = KINDS[args.kind](ctypes.CDLL(args.library))
    with connection.connection(None) if args.kind == "ray" else contextlib.nullcontext():
        try_all(args, calls)


def try_all(args: argparse.Namespace, calls: Calls) -> None:
    search = (RealSearch if args.kind == "ray" else Search)(args.folder.absolute(), calls)
    print(f"{search.num_calls} calls, {len(calls.faults)} faults", flush=True)
    done = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    tried = {(line["n"], line["fault"]) for line in done}
    # First each n with one of the faults in turn, then with the next, ...
    names = list(calls.faults)
    numbers = list(range(1, search.num_calls + 1))
    random.Random(0).shuffle(numbers)
    cases = [(n, names[(n + turn) % len(names)]) for turn in range(len(names)) for n in numbers]
    until = time.monotonic() + args.seconds
    part, num_parts = map(int, args.part.split("/"))
    for n, fault in [case for case in cases[part::num_parts] if case not in tried][: args.at_most]:
        if time.monotonic() > until:
            break
        line = {"n": n, "fault": fault} | search.tried(n, fault)
        with args.results.open("a") as file:
            file.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
