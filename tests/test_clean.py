"""What `search clean` removes, and what it keeps."""

import os
import time
from pathlib import Path

import psutil
import pytest
from conftest import here
from test_search_studies import Saves, kept, make_spec, scored

from search.base import locking
from search.cluster import session
from search.prove.audit import audit
from search.run import folders
from search.spec.read import read_spec
from search.study.studies import Studies

OLD = time.time() - 30 * 86400


@pytest.fixture(autouse=True)
def of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests away from this machine's sessions and cache."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    for name in ("tmp/ray", "cache/encoded"):
        (tmp_path / name).mkdir(parents=True)


def search(root: Path, trials: int) -> Path:
    """A search of six trials of which all but the last have ended."""
    spec = make_spec(architectures=["rnn"], sampler="random", pruner="none", trials=trials)
    folder = folders.new_search(spec, root)
    (folder / "checkpoints").mkdir()
    done = Studies(folder.name, spec.model_copy(update={"trials": 5}), folder, "resume", (Saves(folder),))
    scored(done, {"": [0.5, 0.9, 0.7, 0.6, 0.8]})
    age(folder / "studies.journal")
    return folder


def age(path: Path) -> Path:
    os.utime(path, (OLD, OLD))
    return path


def test_a_dry_run_says_how_much_and_the_best_checkpoints_stay(tmp_path: Path) -> None:
    ended, going_on = search(tmp_path / "searches", 5), search(tmp_path / "searches", 6)
    every = kept(ended)
    old, new = (tmp_path / "cache" / "encoded" / name for name in ("old.npz", "new.npz"))
    part = tmp_path / "cache" / "encoded" / "interrupted.parts" / "train" / "0.npz"
    part.parent.mkdir(parents=True)
    for path in (old, new, part):
        path.write_bytes(b"x" * 5000)
    age(old)
    age(part)

    dry = here("search", "clean", cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert f"checkpoints of 2 trials of {ended.name} that are not among its best 3" in dry.stdout
    assert "2 files of the cache" in dry.stdout
    assert "--delete frees them" in dry.stdout
    assert going_on.name not in dry.stdout  # a resume continues from them
    assert (kept(ended), old.exists(), read_spec(ended).keep_checkpoints) == (every, True, "all")

    done = here("search", "clean", "--delete", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("freed", "--delete frees them") == dry.stdout
    assert kept(ended) == {"rnn-1", "rnn-2", "rnn-4"}
    assert kept(going_on) == every
    assert (old.exists(), part.exists(), new.exists()) == (False, False, True)
    assert not [line for line in audit(ended, f"sqlite:///{tmp_path / 'none.db'}") if "checkpoint" in line]
    assert here("search", "clean", cwd=tmp_path).stdout == "nothing has been unused for 7d\n"


def test_what_is_young_or_runs_stays(tmp_path: Path) -> None:
    folder = search(tmp_path / "searches", 5)
    assert here("search", "clean", "--older-than", "60d", cwd=tmp_path).stdout == "nothing has been unused for 60d\n"
    with locking.hold(folder):
        assert "nothing" in here("search", "clean", cwd=tmp_path).stdout
    assert here("search", "clean", "--older-than", "soon", cwd=tmp_path).returncode == 2


def test_sessions_of_living_processes_stay(tmp_path: Path) -> None:
    gone = next(pid for pid in range(2**22 - 1, 0, -1) if not psutil.pid_exists(pid))
    for pid in (gone, os.getpid()):
        folder = tmp_path / "tmp" / "ray" / f"session_2026-01-01_00-00-00_000000_{pid}"
        (folder / "logs").mkdir(parents=True)
        (folder / "logs" / "raylet.out").write_bytes(b"x" * 10_000)
        age(folder)
    assert [path.name.rpartition("_")[2] for path in session.left_over()] == [str(gone)]
    assert "1 sessions" in here("search", "clean", "--delete", cwd=tmp_path).stdout
    assert [path.name.rpartition("_")[2] for path in (tmp_path / "tmp" / "ray").iterdir()] == [str(os.getpid())]
