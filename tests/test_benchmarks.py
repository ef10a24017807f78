"""What the benchmarks say of a search is still true after its code has been moved."""

import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from benchmarks import fronts, measure, time_to_target, where_time_goes
from search.base import timings
from search.base.timings import Event


@pytest.mark.parametrize("known", [where_time_goes.OF_WORKER, where_time_goes.OF_DRIVER])
def test_the_files_that_time_is_divided_by_are_there(known: dict[str, str]) -> None:
    ours = [f"/{path.relative_to(ROOT)}" for path in ROOT.glob("*/**/*.py")]
    for part in known:
        if part.startswith(("/search", "/analysis", "/models", "/data")):
            assert any(file.startswith(part) for file in ours), part


def test_packed_trials_are_measured_without_ray_optuna_and_mlflow() -> None:
    """A machine with a GPU may have none of them."""
    code = "import sys, benchmarks.packed; print({'ray', 'optuna', 'mlflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_innermost_known_file_decides() -> None:
    outside = ["main (/x/python3/runpy.py:1)", "fit (/x/ray/tune/tuner.py:2)"]
    report = [*outside, "report (/y/search/study/studies.py:3)"]
    delivery = [*report, "changed (/y/search/track/tracking.py:4)", "execute (/x/sqlalchemy/engine.py:5)"]
    imports = [*delivery, "_find_and_load (<frozen importlib._bootstrap>:5)", "<module> (/x/ray/tune/__init__.py:1)"]
    stacks = (imports, outside[:1], outside, report, delivery)
    found = [where_time_goes._purpose(frames, measure.DRIVER) for frames in stacks]
    assert found == [
        "starting and ending the command",
        "starting and ending the command",
        "Tune and Ray, in the driver",
        "Optuna, in the driver",
        "MLflow, in the driver",
    ]


def test_the_events_of_a_search_are_read_as_it_prints_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "_happened", {})
    timings.note(Event.END)
    timings.note(Event.END, at=0.0)  # of a second search in this process
    timings.note(Event.RAY, at=0.0)  # noted later than it happened
    lines = timings.lines()
    assert [line.partition(" s  ")[2] for line in lines] == ["Ray ready", "end"]
    found = where_time_goes.events("\n".join(["Search  smoke", *lines, "   1.00 s  of something else"]))
    assert list(found) == [Event.END]  # seconds before the process was there are none
    assert found[Event.END] > 0


def test_the_hypervolume_is_what_complete_trials_dominate_over_the_reference_point() -> None:
    assert fronts.hypervolume([]) == 0
    alone = 0.3 * math.log(10 / 2)
    assert fronts.hypervolume([(0.8, 2.0)]) == pytest.approx(alone)
    dominated = [(0.8, 2.0), (0.7, 3.0), (0.4, 1.0), (0.9, 11.0)]
    assert fronts.hypervolume(dominated) == pytest.approx(alone)
    assert fronts.hypervolume([(0.9, 5.0), (0.8, 2.0)]) == pytest.approx(alone + 0.1 * math.log(10 / 5))


def test_a_gain_has_an_interval_over_seeds() -> None:
    random = np.zeros((2, 3))
    theirs = np.full((2, 3), 0.1)
    assert fronts.gain(2 * theirs, theirs, random) == pytest.approx((2, 2, 2))
    ratio, low, high = fronts.gain(np.array([[0.1, 0.2, 0.3]] * 2), theirs, random)
    assert ratio == pytest.approx(2)
    assert low < ratio < high


def test_a_race_goes_on_where_an_earlier_call_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def searched(name: str, folder: Path, race: time_to_target.Race, seed: int) -> float:
        asked.append((name, seed))
        return time_to_target.NEVER if name == "recipe" else 30.0 + seed

    for name in time_to_target.OF_WHOLE:
        monkeypatch.setitem(time_to_target.CANDIDATES, name, partial(searched, name))
    monkeypatch.setattr(time_to_target, "write_texts", lambda path, num_texts: None)
    monkeypatch.setattr(measure, "PAGE", tmp_path / "page.md")

    def race(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["time_to_target", "--whole", "--out", str(tmp_path / "out.json"), *options])
        time_to_target.main()

    race("--seeds", "1", "--only", "recipe")
    assert asked == [("ours", 0), ("recipe", 0)]
    assert not (tmp_path / "page.md").exists()
    race("--seeds", "2")
    others = [("ours from naive Bayes", 0), ("random", 0)]
    assert asked[2:] == [*others, ("recipe", 1), ("random", 1), ("ours from naive Bayes", 1), ("ours", 1)]
    assert "| recipe | 0 of 2 | not reached | > 19.7 | not reached, not reached |" in (tmp_path / "page.md").read_text()
    with pytest.raises(SystemExit):
        race("--target", "0.5")
    with pytest.raises(SystemExit):
        race("--only", "syne-tune")
    assert len(asked) == 8
