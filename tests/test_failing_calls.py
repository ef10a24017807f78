"""Enumerated, not sampled: a search loses nothing whichever of its calls to the disk or to MLflow fails, or is its
last. `failing_calls.py` says how to try more of them, in pieces."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

UNKEPT = "its last whole checkpoint is of epoch"


def fail(kind: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """What became of each case that was tried."""
    library = folder / "failing_calls.so"
    source = ROOT / "tests" / "fixtures" / "failing_calls.c"
    compiled = ["cc", "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compiled, check=True)
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "tests" / "failing_calls.py"), kind, str(library), str(folder / "scratch"),
            str(folder / "results.jsonl"), *options,
        ],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "LD_PRELOAD": str(library)}
        | ({"FAILING_CALLS": str(folder / "counter")} if kind == "ray" else {}),
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["disk", "journal", "mlflow", "ray"])
def test_some_calls_that_fail_lose_nothing(kind: str, tmp_path: Path) -> None:
    tried = fail(kind, tmp_path, "--seconds", os.environ.get("BAKEOFF_FAILING_SECONDS", "60"))
    print(f"{kind}: {len(tried)} faults injected")
    assert tried
    # Where the disk refuses a checkpoint, a search trains on without it, and the audit says that it is missing.
    assert not [case for case in tried if case["lost"] and UNKEPT not in case["lost"]]
