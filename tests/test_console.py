"""The behaviour shared by all commands."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from bakeoff.__main__ import app
from data.base.errors import choose, nearest
from search.base import mlflow_uri


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
    assert mlflow_uri.without_password(uri) == shown


def test_the_tracking_uri_is_absolute_and_the_given_one_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mlflow_uri.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert mlflow_uri.tracking_uri("sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert (
        mlflow_uri.tracking_uri("sqlite+pysqlite:///x.db?timeout=9") == f"sqlite+pysqlite:///{tmp_path}/x.db?timeout=9"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:1")
    assert mlflow_uri.tracking_uri() == "http://host:1"
    assert mlflow_uri.tracking_uri("sqlite:////x.db") == "sqlite:////x.db"


def test_a_reader_who_has_seen_enough_is_no_bug() -> None:
    code = "from search.base import console\nconsole.command(lambda: print('x' * 100_000, flush=True))()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("confrm", "unknown command 'confrm' (did you mean 'confirm'?)"),
        ("confirm --sedes 3", "no option --sedes (did you mean '--seeds'?)"),
        ("run --repeat 0", "--repeat 0: should be greater than or equal to 1; nearest: 1"),
        ("run --repeat 101", "--repeat 101: should be less than or equal to 100; nearest: 100"),
        ("run --repeat x", "--repeat x: should be a valid integer, unable to parse string as an integer"),
        ("explain", "missing argument 'run'"),
        ("watch a b", "got unexpected extra argument(s) (b)"),
        ("run --set", "option '--set' requires an argument"),
        ("why a:b --out why.png", "--out why.png: a table is text, .png is a picture; nearest: why.csv"),
        ("why a:b --figure why.csv", "why.csv: a picture's file ends in .png; nearest: why.png"),
    ],
)
def test_a_wrong_call_is_one_line(call: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, call.split(), prog_name="bakeoff")
    assert (done.exit_code, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert said.partition("; see bakeoff ")[0] == f"error: {line}"


def test_a_wrong_call_shows_no_more_than_a_line_of_it() -> None:
    done = CliRunner().invoke(app, ["run", "--repeat", "x" * 10_000], prog_name="bakeoff")
    assert len(done.stderr) < 300


def test_help_is_no_mistake() -> None:
    assert CliRunner().invoke(app, ["run", "--help"]).exit_code == 0
    assert "leaderboard" in CliRunner().invoke(app, []).stdout
