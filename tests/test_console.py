"""What every command shares."""

import subprocess
import sys

import pytest
from conftest import ROOT

from data.base.errors import choose, nearest
from search.base import record


def test_choices() -> None:
    assert choose("format", "csv", ["csv", "json"]) == "csv"
    assert nearest("JSN", ["csv", "json"]) == "json"
    assert nearest("excel", ["csv", "json"]) is None
    with pytest.raises(ValueError, match=r"unknown format 'excel' \(one of csv, json\)"):
        choose("format", "excel", ["csv", "json"])


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("https://me:s3:cr@host", "https://me:***@host"),
        ("http://me:se/cret@host/x", "http://me:***@host/x"),
        ("http://me:s@cret@host", "http://me:***@host"),
        ("https://token@host/x", "https://***@host/x"),
        ("postgresql://host/db?user=me&password=secret&ssl=1", "postgresql://host/db?user=me&password=***&ssl=1"),
        ("error at http://me:secret@127.0.0.1:9/api: refused", "error at http://me:***@127.0.0.1:9/api: refused"),
        ("postgresql://me:my se/cret@host/db", "postgresql://me:***@host/db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000 is away: ask me@host", "http://127.0.0.1:5000 is away: ask me@host"),
        ("sqlite:////a/b@c/mlflow.db", "sqlite:////a/b@c/mlflow.db"),
    ],
)
def test_no_password_is_shown(uri: str, shown: str) -> None:
    assert record.without_password(uri) == shown


def test_the_tracking_uri_is_absolute_and_the_given_one_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert record.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert record.tracking_uri("sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert record.tracking_uri("sqlite+pysqlite:///x.db?timeout=9") == f"sqlite+pysqlite:///{tmp_path}/x.db?timeout=9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:1")
    assert record.tracking_uri() == "http://host:1"
    assert record.tracking_uri("sqlite:////x.db") == "sqlite:////x.db"


def test_a_reader_who_has_seen_enough_is_no_bug() -> None:
    code = "from search.base import console\nconsole.command(lambda: print('x' * 100_000, flush=True))()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()
