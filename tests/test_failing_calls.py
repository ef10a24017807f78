"""Enumerated, not sampled: a search loses nothing whichever of its calls to the disk fails, or is its last."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def fail(folder: Path, chosen: list[int], timeout: float) -> list[str]:
    """What is said of each n, the number of calls first."""
    library = folder / "failing_calls.so"
    source = ROOT / "tests" / "fixtures" / "failing_calls.c"
    compiled = ["cc", "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compiled, check=True)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "failing_calls.py"), str(library), str(folder), *map(str, chosen)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def assert_nothing_lost(lines: list[str], num: int) -> None:
    assert sum(" ok " in line for line in lines) == num, "\n".join(lines)
    assert not [line for line in lines if " lost " in line]


@pytest.mark.slow
def test_some_calls_that_fail_lose_nothing(tmp_path: Path) -> None:
    chosen = random.Random().sample(range(10_000), 8)
    print(f"calls {chosen}")
    assert_nothing_lost(fail(tmp_path, chosen, 280), 8)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_whichever_call_fails_nothing_is_lost(tmp_path: Path) -> None:
    lines = fail(tmp_path, [], 7100)
    num_calls = int(lines[0].split()[0])
    print(f"{num_calls} calls failed in turn by ENOSPC, EIO, EACCES and SIGKILL")
    assert_nothing_lost(lines, num_calls)
