"""Files of older versions are still read, resumed and served: a search, its database and an exported model.

`before-the-move.tar.xz` holds `searches`, `mlflow.db` and `mlartifacts`, as the last version wrote them whose modules
were not in packages. The search trained two trials each of gru and mlp; `models:/tiny@best` is its best model.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from analysis.explain import predict
from search.base.schema import Outcome
from search.prove.audit import audit
from search.spec.read import read_spec
from search.study.studies import Studies
from tests.conftest import command, here

ARCHIVE = Path(__file__).parent / "fixtures" / "before-the-move.tar.xz"
MADE_IN = "/tmp/fix"  # the folder whose absolute paths its database holds
SEARCH, MODEL = "tiny-20261127-172154", "models:/tiny@best"
PATHS = (
    ("runs", "artifact_uri"),
    ("tags", "value"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)

# Runs in a process without this project.
ALONE = """
import json, sys
import mlflow, pandas
place, texts = sys.argv[1], json.loads(sys.argv[2])
answers = mlflow.pyfunc.load_model(place).predict(pandas.DataFrame({"text": texts}))
import search.classifier
assert search.classifier.__file__.startswith(place.removeprefix("file://"))
print(json.dumps(answers.to_dict("list")))
"""


def unpack(folder: Path) -> str:
    """Unpacks the fixture as if it had been made in this folder. Returns its tracking URI."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for table, column in PATHS:
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (MADE_IN, str(folder)))
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the fixture for reading."""
    folder = tmp_path_factory.mktemp("old")
    unpack(folder)
    return folder


def test_it_is_read_and_agrees(cwd: Path) -> None:
    done = here("analysis", "leaderboard", "tiny", "--format", "csv", "--out", "board.csv", cwd=cwd)
    assert done.returncode == 0, done.stderr
    board = pd.read_csv(cwd / "board.csv")
    assert list(board["trial"]) == ["mlp-0", "gru-1", "mlp-1", "gru-0"]
    assert list(board["val_accuracy"]) == pytest.approx([0.65, 0.6, 0.55, 0.4])
    assert audit(cwd / "searches" / SEARCH, f"sqlite:///{cwd / 'mlflow.db'}") == []


def test_a_trial_is_replayed(cwd: Path) -> None:
    done = here("search", "replay", f"{SEARCH}:gru-1", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = done.stdout.splitlines()[-1]
    assert verdict.startswith(("gru-1: equal", "gru-1: within")), done.stdout  # another processor rounds differently


def test_a_checkpoint_is_explained(cwd: Path) -> None:
    done = here("analysis", "explain", f"{SEARCH}:gru", "a great movie", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "great" in done.stdout
    assert "both together" in done.stdout


@pytest.mark.slow
def test_it_is_resumed(tmp_path: Path) -> None:
    uri = unpack(tmp_path)
    folder = tmp_path / "searches" / SEARCH
    before = {trial.name: trial.results for trial in Studies(SEARCH, read_spec(folder), folder).trials()}
    done = command("search", "resume", "tiny", "--trials", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = {trial.name: trial for trial in Studies(SEARCH, read_spec(folder), folder).trials()}
    assert set(trials) - set(before) == {"gru-2", "mlp-2"}
    assert {name: trials[name].results for name in before} == before
    assert all(trials[name].outcome in (Outcome.COMPLETE, Outcome.PRUNED) for name in ("gru-2", "mlp-2"))
    assert audit(folder, uri) == []


def test_an_exported_model_answers_beside_the_packages_of_now_and_without_them(cwd: Path) -> None:
    """Its code imports `search.classifier`: the shim here, or its own copy in a process without this project."""
    texts = ["this movie is great", "the worst film ever, really bad", "qzxqz", ""]
    uri = f"sqlite:///{cwd / 'mlflow.db'}"
    here = predict.predict(predict.load(uri, MODEL), texts)
    assert list(here) == ["predicted", "probability of negative", "probability of positive"]
    done = command("analysis", "predict", MODEL, *texts[:2], "--format", "csv", "--out", "answers.csv", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(cwd / "answers.csv")["predicted"]) == list(here["predicted"][:2])

    version = mlflow.MlflowClient(uri).get_model_version_by_alias("tiny", "best")
    model = mlflow.MlflowClient(uri).get_logged_model(version.source.removeprefix("models:/"))
    clean = subprocess.run(
        [sys.executable, "-c", ALONE, model.artifact_location, json.dumps(texts)],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert clean.returncode == 0, clean.stderr
    alone = pd.DataFrame(json.loads(clean.stdout))
    pd.testing.assert_frame_equal(alone, here, rtol=1e-5)
