"""What the tests share: quiet libraries, a small encoded corpus, and a search run once through the command line."""

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import models
from search.base import console
from search.spec.read import read_spec
from search.spec.spec import Spec

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
console.quiet_libraries()
os.environ["BAKEOFF_REPORT"] = "0"  # of the searches that tests start; the smoke search has one


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


def here(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has the libraries already: where nothing but the answer is of interest."""
    module, *others = arguments
    app = importlib.import_module(f"{module}.__main__").app
    with contextlib.chdir(cwd):
        done = CliRunner().invoke(app, others, catch_exceptions=False, prog_name=f"python -m {module}")
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def as_read(baseline: str, texts: Sequence[str]) -> Any:
    """What a baseline reads of texts: these, or what a small encoder makes of them."""
    if not models.reads_embeddings(baseline):
        return [*texts]
    vectors_NE = np.zeros((len(texts), 512), dtype=np.float32)
    for row_E, text in zip(vectors_NE, texts, strict=True):
        np.add.at(row_E, [zlib.crc32(word.encode()) % 512 for word in text.split()], 1)
    return vectors_NE


def answer_alone(model: str, texts: list[str], uri: str, cwd: Path) -> dict[str, list[Any]]:
    """What an exported model says in a process that has nothing of this project."""
    code = (
        "import json, mlflow, pandas, sys\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps(model.predict(pandas.DataFrame({'text': sys.argv[2:]})).to_dict('list')))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, model, *texts],
        cwd=cwd,
        env=environment | {"MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return answer


@dataclass(frozen=True)
class FinishedSearch:
    """The smoke search without baselines, run to its end."""

    id: str
    cwd: Path
    uri: str
    output: str

    @property
    def folder(self) -> Path:
        return self.cwd / "searches" / self.id

    @property
    def spec(self) -> Spec:
        return read_spec(self.folder)

    @property
    def num_trials(self) -> int:
        return len(self.spec.architectures) * self.spec.num_trials


@pytest.fixture(scope="session")
def smoke_search(tmp_path_factory: pytest.TempPathFactory) -> FinishedSearch:
    cwd = tmp_path_factory.mktemp("smoke")
    done = command("search", "run", "smoke", "--set", "baselines=none", cwd=cwd, BAKEOFF_REPORT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (cwd / "searches").iterdir()
    return FinishedSearch(folder.name, cwd, f"sqlite:///{cwd / 'mlflow.db'}", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def compiled_kernels() -> None:
    """The library of kernels, where it can be built."""
    from models.native import kernels

    try:
        kernels.build()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no compiler here: {error}")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """The system's chromium without a window."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium to look at pages with; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()
