"""How a search is stopped from outside, and what it leaves: closed terminals, pipes, Ray's sessions, old files."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from test_faults import LONG, assert_all_gone, descendants, start, the_search, trials_of, uri_of, wait_for_epochs

from search.base.schema import Outcome
from search.prove.audit import audit
from search.run.progress import console

SESSION = re.compile(r"--session-name=(session_\S+)|--session-dir=\S*/(session_[^/\s]+)|/(session_[^/\s]+)/")


def session_of(process: "subprocess.Popen[str]") -> Path:
    """The folder of the Ray that a search has started."""
    for each in descendants(process):
        if found := SESSION.search(" ".join(each.cmdline())):
            return Path("/tmp/ray") / next(filter(None, found.groups()))
    raise AssertionError("no process of Ray's names its session")


def assert_ended_with_its_epoch(folder: Path, uri: str, num_before: int = 3) -> None:
    """Trials were interrupted after a report, none in the middle of one, and the records agree."""
    running = [trial for trial in trials_of(folder) if trial.outcome is Outcome.RUNNING]
    assert running
    assert max(len(trial.results) for trial in trials_of(folder)) >= num_before
    assert audit(folder, uri) == []


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_is_a_stop_unless_hangups_are_ignored(ignored: bool, tmp_path: Path) -> None:
    """A shell in a terminal of its own runs the search; then the terminal goes away, as a window that is closed."""
    before = "trap '' HUP; " if ignored else ""
    longer = [] if ignored else ["--set", "epochs=400"]  # on a busy machine, 25 may be over before the terminal closes
    line = f"{before}{shlex.join([sys.executable, '-m', 'search', 'run', 'smoke', *LONG, *longer])}; echo $? > status"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv("/bin/bash", ["bash", "--norc", "-i", "-c", line])
    shell = psutil.Process(pid)
    wait_for_epochs(tmp_path, 3, _Alive())
    (driver,) = (each for each in shell.children(recursive=True) if "run smoke" in " ".join(each.cmdline()))
    children = driver.children(recursive=True)
    os.close(terminal)
    assert_all_gone_after([driver, *children], 200 if ignored else 30)
    os.waitpid(pid, 0)
    folder = the_search(tmp_path)
    if ignored:
        assert {trial.outcome for trial in trials_of(folder)} == {Outcome.COMPLETE}
        assert audit(folder, uri_of(tmp_path)) == []
    else:
        assert_ended_with_its_epoch(folder, uri_of(tmp_path))


class _Alive:
    def poll(self) -> None:
        return None


def assert_all_gone_after(processes: list[psutil.Process], seconds: float) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert alive == []


@pytest.mark.slow
def test_ctrl_c_behind_a_pipe_ends_the_epoch_as_well(tmp_path: Path) -> None:
    """Ctrl-C ends the `tee` too, and with it whoever would read what the search prints."""
    process = start(tmp_path, *LONG)
    wait_for_epochs(tmp_path, 3, process)
    children, session = descendants(process), session_of(process)
    assert session.is_dir()
    assert process.stdout
    process.stdout.close()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 1
    assert_all_gone(children)
    assert_ended_with_its_epoch(the_search(tmp_path), uri_of(tmp_path))
    assert not session.exists()  # nothing went wrong that its logs would tell of


def test_output_without_a_reader_is_lost_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys, time; from search.run.progress import console\n"
        "shown = console(); shown.print('one'); sys.stdin.readline()\n"
        "for _ in range(3): shown.print('two')\n"
        "print('three', flush=True)\n"
        "sys.exit(7)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "one\n"
    process.stdout.close()
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(timeout=60) == 7


def test_what_is_printed_under_a_capture_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("here")
    assert capsys.readouterr().out == "here\n"
