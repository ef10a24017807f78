"""What the tests share: quiet libraries, a small encoded corpus, and a search run once through the command line."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from search import console

ROOT = Path(__file__).parent.parent
console.quiet_libraries()


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ...` as a user would, in a folder of its own, no environment activated."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": ""} | environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@dataclass(frozen=True)
class FinishedSearch:
    """The smoke search, run to its end."""

    id: str
    cwd: Path
    uri: str
    output: str

    @property
    def folder(self) -> Path:
        return self.cwd / "searches" / self.id


@pytest.fixture(scope="session")
def smoke_search(tmp_path_factory: pytest.TempPathFactory) -> FinishedSearch:
    cwd = tmp_path_factory.mktemp("smoke")
    done = command("search", "run", "smoke", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (cwd / "searches").iterdir()
    return FinishedSearch(folder.name, cwd, f"sqlite:///{cwd / 'mlflow.db'}", done.stdout + done.stderr)
