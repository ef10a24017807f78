"""A small search without Ray whose n-th call to the disk fails, or that is killed at it, and what its resume lacks.

Run it with the library of `fixtures/failing_calls.c` preloaded: `failing_calls.py LIBRARY FOLDER [N ...]`, without any
N for all. Prints a line for each n: what became of the search, and what is wrong after its resume.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from search.base import console, files
from search.base.record import Outcome
from search.prove import audit
from search.run import run
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.study.trial import Worker
from search.track.recorded import read_runs
from search.track.tracking import Tracker
from search.tune.trainable import run_on

KILLED = 0
ERRORS = {errno.ENOSPC: "ENOSPC", errno.EIO: "EIO", errno.EACCES: "EACCES", KILLED: "killed"}
QUIET = Console(quiet=True)


def train_here(studies: Studies, spec: Any, corpus: Any, folder: Path, room: Any, warn: Any) -> None:
    """In place of Tune: one trial after the other; one that raises is tried again as often as its retries say."""
    setting = make_setting(spec, folder)
    while trial := studies.ask():
        for attempt in range(spec.retries + 1):
            reports = run_on(trial.config, corpus, setting)
            try:
                while (report := next(reports, None)) and studies.report(trial, report[0], Worker("here", 1)):
                    pass
            except OSError:
                if attempt == spec.retries:
                    raise
                studies.restarted(trial)
            else:
                break


def in_a_child(work: Callable[[], None], log: Path) -> int:
    """The exit status of a process that does this; what it says is in `log`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with log.open("w") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
            work()
            status = 0
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
    if len(read_runs(uri, folder.name)[1]) != spec.num_trials:
        found.append("not one run for each trial")
    return found


def main(library: str, root: Path, chosen: list[int]) -> None:
    console.quiet_libraries()
    torch.set_num_threads(1)
    shim = ctypes.CDLL(library)
    template, place = root / "template", root / "place"
    template.mkdir()
    os.chdir(template)
    (root / "texts.csv").write_text(
        "text,label\n" + "".join(f"{word} film number {i},{word}\n" for i in range(40) for word in ("good", "bad"))
    )
    uri = f"sqlite:///{place}/mlflow.db"
    spec = specs.validate(
        {
            "name": "small", "corpus": f"csv:{root / 'texts.csv'}", "architectures": ["mlp"], "baselines": "none",
            "embeddings": "learned", "embedding_size": 4, "trials": 2, "epochs": 2, "pruner": "none",
        }
    )  # fmt: skip
    run._tune = train_here
    run.connection.connection = contextlib.nullcontext
    run.session.keep = lambda: place  # there is no Ray whose logs could be kept
    run.capacity.Room = lambda *_: lambda: 1
    first = specs.validate(spec.model_dump() | {"trials": 1})
    opened = Studies("first-20260101-000000", first, template, "new")
    Tracker(f"sqlite:///{template}/mlflow.db", opened)  # MLflow makes its tables

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        os.chdir(place)
        os.environ["BAKEOFF_CACHE"] = str(place / "cache")

    def search(n: int) -> None:
        shim.arm(f"{place}/".encode(), ctypes.c_long(n), [*ERRORS][n % len(ERRORS)])
        try:
            run.start(spec, place / "searches", uri, QUIET)
        finally:
            (root / "calls").write_text(str(shim.calls()))

    def again() -> None:
        shim.arm(b"", ctypes.c_long(0), 0)
        (folder,) = (place / "searches").iterdir()
        run.resume(folder, uri, QUIET)
        with files.hold(folder):
            files.mend_journal(folder / JOURNAL)
            audit.repair(folder, uri)
        problems = wrong(folder, uri)
        assert not problems, problems

    fresh()
    assert in_a_child(lambda: search(0), root / "first.log") == 0, (root / "first.log").read_text()
    num_calls = int((root / "calls").read_text())
    print(f"{num_calls} calls", flush=True)
    for n in chosen or range(1, num_calls + 1):
        n = n if chosen == [] else 1 + n % num_calls
        fresh()
        status = in_a_child(lambda n=n: search(n), root / "search.log")
        began = any((place / "searches").glob("*/spec.yaml"))
        lost = in_a_child(again, root / "again.log") if began else 0
        said = (root / "search.log").read_text().strip().splitlines()[-1:] or ["ended"]
        print(f"{n} {[*ERRORS.values()][n % len(ERRORS)]} {'lost' if lost else 'ok'} {status} {said[0]}", flush=True)
        if lost:
            print((root / "again.log").read_text(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute(), [int(each) for each in sys.argv[3:]])
