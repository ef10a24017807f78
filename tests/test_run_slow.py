"""A slow test that fails is run once more, alone; the run is red when it fails twice."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

TESTS = """
from pathlib import Path
import pytest

@pytest.mark.slow
def test_passes():
    pass

@pytest.mark.slow
def test_flaky():
    tried = Path("tried").exists()
    Path("tried").touch()
    assert tried

{}
"""
BROKEN = "@pytest.mark.slow\ndef test_broken():\n    assert False"


def run(cwd: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (cwd / "test_it.py").write_text(tests, encoding="utf-8")
    (cwd / "pytest.ini").write_text("[pytest]\nmarkers = slow", encoding="utf-8")
    arguments = [sys.executable, str(ROOT / "tests" / "run_slow.py"), "-m", "slow", "-p", "no:cacheprovider"]
    quick = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(arguments, cwd=cwd, env=quick, capture_output=True, text=True, timeout=120)


def test_a_flaky_test_is_named_and_the_run_is_green(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS.format(""))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert done.stdout.splitlines()[-2].count("1 passed") == 1  # alone
    assert done.stdout.splitlines()[-1] == "flaky: test_it.py::test_flaky passed on the second try"


def test_a_test_that_fails_twice_makes_the_run_red(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS.format(BROKEN))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "flaky: test_it.py::test_flaky passed on the second try",
        "failed twice: test_it.py::test_broken",
    ]


def test_tests_that_cannot_be_collected_make_the_run_red(tmp_path: Path) -> None:
    assert run(tmp_path, "import nothing_of_that_name").returncode == 2
