"""Shared by the benchmarks: measuring the wall time, core-seconds and memory of a command; writing results."""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"

LOOK_SECONDS, MEMORY_SECONDS = 0.25, 1.0  # intervals between samples of the processes, and of their memory
STOP_SECONDS = 20.0  # for a command to end after it was signalled
RUN_IN = {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": ""}
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h

DRIVER, WORKER, RAY, PROFILER, OTHER = "driver", "worker", "Ray's daemons", "profiler", "other"


# --- Commands


@dataclass(frozen=True)
class Usage:
    """The resources used by a command and all processes that it started.

    core_seconds_of: by role, from the last sample of each process. memory_of: by role, the largest sampled proportional
    set size of one process, and of all processes together under `all`; in bytes. status: the exit status; None if the
    benchmark stopped the command.
    """

    wall_seconds: float
    core_seconds: float
    core_seconds_of: dict[str, float]
    memory_of: dict[str, float]
    status: int | None


def run(
    command: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    until: Callable[[], bool] = lambda: False,
    limit: float = 1800.0,
    cores: int | None = None,
    memory: bool = False,
) -> Usage:
    """Run a command in a folder, with its output in `output.log`, until it ends, `until` returns true, or the limit is
    reached.

    limit: in seconds. cores: the number of the machine's cores to use. memory: whether to sample memory, too.
    """
    # Processes that outlive their parents, as Ray's workers do, become children of this process, so that all are
    # counted.
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    allowed = os.sched_getaffinity(0)
    seen: dict[psutil.Process, tuple[str, float]] = {}
    memory_of: dict[str, float] = defaultdict(float)
    status, waited_for, next_memory = None, 0.0, 0.0
    started = time.monotonic()
    with (folder / "output.log").open("ab") as log:
        os.sched_setaffinity(0, sorted(allowed)[:cores])
        try:
            process = Popen(
                command,
                cwd=folder,
                env=os.environ
                | RUN_IN
                | dict(environment or {})
                | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, allowed)
        try:
            while not until() and time.monotonic() - started < limit:
                ended, code, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    status = process.returncode = os.waitstatus_to_exitcode(code)
                    waited_for = usage.ru_utime + usage.ru_stime
                    break
                look_at_memory = memory and time.monotonic() >= next_memory
                if look_at_memory:
                    next_memory = time.monotonic() + MEMORY_SECONDS
                _look(process.pid, seen, memory_of if look_at_memory else None)
                time.sleep(LOOK_SECONDS)
            wall_seconds = time.monotonic() - started
        finally:
            _end_all(process)
    core_seconds_of: dict[str, float] = defaultdict(float)
    for role, seconds in seen.values():
        core_seconds_of[role] += seconds
    # Either sum may be incomplete: samples miss the last moments of a process, the other one processes not waited for.
    core_seconds = max(sum(core_seconds_of.values()), waited_for)
    return Usage(wall_seconds, core_seconds, dict(core_seconds_of), dict(memory_of), status)


def require_success(usage: Usage, folder: Path) -> Usage:
    """Raises RuntimeError with the end of the output if the command failed or had to be stopped."""
    if usage.status != 0:
        lines = (folder / "output.log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise RuntimeError("\n".join([f"exit status {usage.status} after {usage.wall_seconds:.0f} s:", *lines[-30:]]))
    return usage


def _look(pid: int, seen: dict[psutil.Process, tuple[str, float]], memory_of: dict[str, float] | None) -> None:
    total = 0.0
    for process in _descendants():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            line = " ".join(process.cmdline())  # empty while a process ends
            role = seen[process][0] if process in seen and not line else role_of(line, process.pid == pid)
            seen[process] = role, times.user + times.system
            if memory_of is not None:
                own = process.memory_full_info().pss
                total += own
                memory_of[role] = max(own, memory_of[role])
    if memory_of is not None:
        memory_of["all"] = max(total, memory_of["all"])


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def role_of(line: str, is_command: bool) -> str:
    if "py-spy" in line:
        return PROFILER
    if "-m search run" in line:
        return DRIVER
    if "Agent" in line or "agent.py" in line:
        return RAY
    if line.startswith("ray::") or "default_worker.py" in line:
        return WORKER
    if "/ray/" in line:
        return RAY
    return DRIVER if is_command else OTHER


def _end_all(process: Popen[bytes]) -> None:
    """End the command, if it still runs, and then all processes that it has left behind."""
    if process.returncode is None:
        for _ in range(2):  # at the first signal, a search finishes its epochs
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            time.sleep(1)
    deadline = time.monotonic() + STOP_SECONDS
    while left := _descendants():
        if time.monotonic() > deadline:
            for each in left:
                with contextlib.suppress(psutil.Error):
                    each.kill()
        psutil.wait_procs(left, timeout=1)


# --- Folders to run in


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for one run."""
    with tempfile.TemporaryDirectory(prefix="bakeoff-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def fresh_cache(folder: Path) -> dict[str, str]:
    """Environment variables of a cache in this folder that contains only the compiled kernels, as after `make
    setup`."""
    from models.native import kernels

    cache = folder / "cache"
    cache.mkdir()
    if kernels.path().exists():
        shutil.copy(kernels.path(), cache)
    return {"BAKEOFF_CACHE": str(cache)}


def our_search(spec: Path | str, **settings: Any) -> list[str]:
    """The command for a search with these spec keys, without the report page, which no rival writes."""
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return [sys.executable, "-m", "search", "run", str(spec), *sets, "--no-report"]


def our_trials(folder: Path) -> "pd.DataFrame":
    """The trials of the search that has run in a folder."""
    from analysis.base import runs

    uri = f"sqlite:///{folder}/mlflow.db"
    return runs.read_trials(uri, runs.find_search(uri).id)


# --- The results


def options(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark: --out, --smoke."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures to this file")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, to test the benchmark; the page is not changed"
    )
    return parser


def keep(name: str, figures: Mapping[str, Any], text: str, chosen: argparse.Namespace) -> None:
    """Print a benchmark's text, write its figures as json if --out is given, and write the text into the page.

    The page is not changed by a smoke run or if only a part was measured (`--only`).
    """
    print(f"\n{text}")
    save(figures, chosen)
    if not chosen.smoke and not getattr(chosen, "only", None):
        write_section(name, text)


def save(figures: Mapping[str, Any], chosen: argparse.Namespace) -> None:
    """Write the figures so far if --out is given; long benchmarks call it after each run."""
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        about = {"processor": processor(), "cores": os.cpu_count(), "smoke": chosen.smoke}
        chosen.out.write_text(json.dumps({**about, **figures}, indent=1), encoding="utf-8")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; all columns but the first are numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_section(name: str, text: str) -> None:
    """Replace the text between the section's markers in the page; a new section is appended."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Performance\n"
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {name.capitalize()}\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def processor() -> str:
    """The maker and model of the processor, as far as the system reports them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
