"""Seeds until it is decided: where they go, when they stop, and what is on record of how often they are looked at."""

import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, FinishedSearch, command
from scipy import stats
from test_faults import assert_all_gone, trials_of, uri_of, workers_of
from test_search_confirm import POINTS, finished
from test_search_studies import HERE, epoch_result

from analysis.base import pairs, runs
from analysis.base.pairs import Gap, Models, Sample, Verdict
from analysis.boards import confirmation as boards
from analysis.verdicts import differences, until
from analysis.verdicts.until import Look
from bakeoff import deciding
from benchmarks import calibration
from data.base.errors import UserError
from search.base.schema import Outcome
from search.prove.audit import audit
from search.run import confirm
from search.run.folders import new_search
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.studies import Studies
from search.track.tracking import Tracker


def look(gaps: list[float], spreads: list[float], seeds: list[int], margin: float = 0.01, looks: int = 5) -> Look:
    drawn = calibration.draw(np.random.default_rng(0), gaps, spreads, max(seeds))
    models = {name: Models(each[:num]) for name, each, num in zip("abcde", drawn, seeds, strict=False)}
    return until.look_at(models, margin, looks)


def gap(value: float, variance: float, texts: float, seeds: int = 5) -> Gap:
    first, second = (Sample(np.zeros(1000), seeds, variance, 0.0, True) for _ in range(2))
    return Gap(value, texts, first, second)


def test_the_chance_of_more_seeds_by_hand() -> None:
    """Variance over seeds 2 * 0.0005 / 5, of texts 0.0001: their interval is 0.0196, so none are equal within 0.01, and
    the difference over all seeds has to be beyond. Satterthwaite's freedom of two equal parts is 8."""
    bound = stats.norm.ppf(0.975) * 0.01
    ends = (np.array([-bound, bound]) - 0.005) / math.sqrt(0.0002)
    beyond = stats.t.cdf(ends[0], 8) + stats.t.sf(ends[1], 8)
    assert gap(0.005, 0.0005, 0.0001).chance(0.01) == pytest.approx(beyond)
    inner = np.array([-1, 1]) * (0.03 - bound)
    equal = np.diff(stats.t.cdf((inner - 0.005) / math.sqrt(0.0002), 8))[0]
    assert gap(0.005, 0.0005, 0.0001).chance(0.03) == pytest.approx(beyond + equal)
    assert gap(0.005, 0.0005, 0.0001).chance(0.05) == pytest.approx(1)  # one or the other is always shown
    assert gap(0.005, 0.0, 0.0001).chance(0.01) == 0
    assert gap(0.02, 0.0, 0.0001).chance(0.01) == 1


def test_seeds_go_where_the_variance_of_an_open_pair_is() -> None:
    found = look([0.15, 0.0, 0.004], [0.3, 3.0, 0.1], [8, 8, 8])
    assert [{pair.first, pair.second} for pair in found.open] == [{"b", "c"}]  # a is better than both
    assert found.wanted(15) == ["b"]
    assert found.room(15) == 7
    assert found.wanted(8) == []  # it has as many as it may
    few = look([0.1, 0.0, 0.004], [0.3, 1.5, 0.1], [4, 4, 4])
    assert few.wanted(15) == ["b", "c"]  # four seeds may agree by luck
    lines = list(found.lines())
    assert lines[0] == "2 of 3 pairs decided: better, or equal within 0.01."
    assert re.fullmatch(r"  b and c: cannot tell, \S+ \(\S+ to \S+\); .*seeds.*", lines[1])
    assert f"2,490 texts can resolve with any number of seeds: {found.smallest_margin:.4f}" in lines[2]


def test_a_single_seed_is_none_and_comes_first() -> None:
    found = look([0.0, 0.0], [0.5, 0.5], [1, 4])
    assert found.open[0].decision.verdict is Verdict.ONE_SEED
    assert (found.seeds("a"), found.seeds("b")) == (0, 4)
    assert found.wanted(15) == ["a"]


def test_texts_are_the_limit_of_pairs_that_no_seed_decides() -> None:
    few = look([0.0, 0.0], [0.0, 0.0], [12, 12], margin=0.005)
    assert few.open
    assert few.promising == few.wanted(100) == []
    assert "more texts are needed, not seeds" in list(few.lines())[1]
    assert "that is more than 0.005, so no open pair can be shown to be equal" in list(few.lines())[2]
    assert "limited by the number of test texts" in deciding._at_an_end(few, few.wanted(100), 3, 100)


def test_baselines_get_no_seeds() -> None:
    a_SN, b_SN, c_SN = calibration.draw(np.random.default_rng(0), [0.0] * 3, [1.0] * 3, 4)
    fixed = {name: Models(each[:1], 0, same_with_every_seed=True) for name, each in (("nb", b_SN), ("tfidf", c_SN))}
    found = until.look_at({"gru": Models(a_SN), **fixed}, 0.001, 5)
    assert len(found.open) == 3
    assert found.wanted(15) == ["gru"]
    assert until.look_at({"gru": Models(a_SN), **fixed}, 0.001, 5, pursued=[]).wanted(15) == []


@pytest.mark.parametrize(
    ("most", "seeds"), [(15, [5, 10, 15]), (11, [6, 11]), (4, [4]), (2, [2]), (40, [8, 16, 24, 32, 40])]
)
def test_looks_share_the_seeds_equally(most: int, seeds: list[int]) -> None:
    looks, found = until.planned(most), [0]
    for left in range(looks, 0, -1):
        found.append(found[-1] + until.step(most - found[-1], left))
    assert found[1:] == seeds


def test_seeds_where_they_decide_tell_equal_ones_apart_as_seldom() -> None:
    found = calibration.decided([0.0, 0.0, 0.0], (1.0, 0.3, 0.5), 15, 60)
    assert found.false <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert found.seeds < 1


def test_what_is_compared_is_confirmed_and_an_unfinished_look_is_found(tmp_path: Path) -> None:
    folder = finished(tmp_path, specs.validate(POINTS | {"architectures": ["mlp"]}))
    (best,) = (confirm.confirmation(folder, 1, 1, []).configurations or {})["mlp"]
    spec = confirm.confirmation(folder, None, 2, ["mlp"], named={"mlp": "mlp-0"})
    assert best != "mlp-0"
    assert list((spec.configurations or {})["mlp"]) == ["mlp-0"]
    assert confirm.unfinished(folder) is None
    new_search(spec, tmp_path)  # by hand, which is no part of a plan
    assert confirm.unfinished(folder) is None
    planned = new_search(spec.model_copy(update={"looks": 4}), tmp_path)
    assert confirm.unfinished(folder) == planned


@pytest.mark.slow
def test_the_planned_looks_are_on_record_for_whoever_reads_the_seeds_later(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = new_search(specs.validate(POINTS | {"architectures": ["rnn", "mlp"]}), tmp_path / "searches")

    def run(folder: Path) -> None:
        studies = Studies(folder.name, read_spec(folder), folder, "new")
        studies.provenance = {"data_digest": "one"}
        tracker = Tracker(uri, studies)
        studies.listeners = [tracker]
        while trial := studies.ask():
            studies.report(trial, epoch_result(1, trial.hyperparameters["hidden_size"] / 100), HERE)
        assert tracker.close(Outcome.COMPLETE)

    run(folder)
    recorded = boards.read(uri, runs.find_search(uri, folder.name))
    assert (differences.planned_looks(recorded), differences.num_looks(recorded)) == (0, 1)
    spec = confirm.confirmation(folder, 1, 2, ["mlp"])
    again = new_search(spec.model_copy(update={"looks": 4}), tmp_path / "searches")
    assert confirm.unfinished(folder) == again
    run(again)
    assert confirm.unfinished(folder) is None
    recorded = boards.read(uri, runs.find_search(uri, folder.name))
    assert len(recorded.same) == 1
    assert (differences.planned_looks(recorded), differences.num_looks(recorded)) == (4, 4)


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    def plan(**given: object) -> deciding.Plan:
        usual = {"margin": None, "max_seeds": None, "time_budget": None, "architectures": ()}
        return deciding.planned(tmp_path, "sqlite:///x.db", **(usual | given))  # type: ignore[arg-type]

    assert (plan().margin, plan().max_seeds, plan(time_budget="2m").time_budget) == (pairs.MARGIN, 15, 120)
    for given, message in (
        ({"margin": 0.0}, "margin: above 0 and at most 0.5, in accuracy; got 0"),
        ({"max_seeds": 1}, "max_seeds: 2 to 1000 of each architecture; got 1"),
        ({"time_budget": "soon"}, "got 'soon'; nearest: '20m'"),
        ({"time_budget": 0}, "above 0 seconds; got 0"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            plan(**given)
    with pytest.raises(UserError, match="chooses by itself what to train; leave out --seeds 5"):
        deciding.require_one_way(True, {"top": None, "seeds": 5}, {"margin": 0.01})
    with pytest.raises(UserError, match="--max-seeds 9 works with --until-decided only; add that option"):
        deciding.require_one_way(False, {"seeds": 5}, {"max_seeds": 9})
    assert (
        "--until-decided --margin 0.02 --max-seeds 15 --architecture mlp"
        in plan(margin=0.02, architectures=["mlp"]).command()
    )


def asked_in(cwd: Path, search: FinishedSearch) -> list[str]:
    """A folder of its own for confirmations of a search, and how two of its architectures are confirmed there."""
    (cwd / "searches").mkdir(parents=True)
    os.symlink(search.folder, cwd / "searches" / search.id)
    (cwd / "mlflow.db").write_bytes((search.cwd / "mlflow.db").read_bytes())
    only = ["--architecture", "mlp", "--architecture", "cnn"]
    return [
        "confirm",
        search.id,
        "--until-decided",
        "--max-seeds",
        "10",
        *only,
        "--no-report",
        "--tracking-uri",
        uri_of(cwd),
    ]


@pytest.mark.slow
def test_a_search_is_confirmed_until_it_is_decided_and_goes_on_after_a_stop(
    smoke_search: FinishedSearch, tmp_path: Path
) -> None:
    asked, uri = asked_in(tmp_path, smoke_search), uri_of(tmp_path)
    stopped = command("search", *asked, "--time-budget", "1s", cwd=tmp_path)
    # A slow machine needs all of the second before the first look has begun, and then nothing is left unfinished.
    began = ", where they help most" in stopped.stdout
    assert stopped.returncode == int(began), stopped.stdout + stopped.stderr
    assert "tested at 2 looks" in stopped.stdout
    assert "Ended: the time budget is spent." in stopped.stdout
    how = "Resume  " if began else "Continue  "
    (again,) = {line.removeprefix(how) for line in stopped.stdout.splitlines() if line.startswith(how)}
    goes_on = shlex.split(again.replace("--time-budget 1s", "--time-budget 10m"))[3:]
    done = command("search", *goes_on, "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("was interrupted; resuming it" in done.stdout) == began
    assert "Look 1 of 2: 5 seeds of" in done.stdout
    assert "Ended: the seeds are spent" in done.stdout or "Ended: every open pair is limited" in done.stdout
    recorded = boards.read(uri, runs.find_search(uri, smoke_search.id))
    assert differences.num_looks(recorded) == 2
    assert recorded.repeated.groupby("architecture").size().max() <= 10


def looks_in(output: str) -> list[str]:
    """What is said of each look, from its number to what comes of it."""
    return re.findall(r"^Look .*?^(?:Ended: [^\n]*|[^\n]*, where they help most)", output, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_in_the_middle_of_looks_change_neither_the_looks_nor_what_is_decided(
    smoke_search: FinishedSearch, tmp_path: Path
) -> None:
    """Ctrl-C in the first look, SIGKILL in the second, the same command after each."""
    asked, uri, told, begun = asked_in(tmp_path, smoke_search), uri_of(tmp_path), [], {}
    for num_begun, stop in ((1, signal.SIGINT), (2, signal.SIGKILL)):
        process = subprocess.Popen(
            [sys.executable, "-m", "search", *asked],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        while len({path.parts[-4] for path in tmp_path.glob("searches/*-confirm-*/checkpoints/*/epoch-*")}) < num_begun:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        workers = workers_of(process)
        process.send_signal(stop)
        told.append(process.communicate(timeout=120)[0])
        assert process.returncode == (1 if stop is signal.SIGINT else -stop), told[-1]
        assert_all_gone(workers)
        folder = sorted(tmp_path.glob("searches/*-confirm-*"))[-1]
        begun[folder] = {trial.name: trial.seed for trial in trials_of(folder)}
        assert any(trial.outcome is not Outcome.COMPLETE for trial in trials_of(folder)) or len(begun[folder]) < 10
    done = command("search", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr

    assert "tested at 2 looks" in told[0]
    assert looks_in(told[0]) == []
    assert "was interrupted; resuming it" in told[1]
    assert "was interrupted; resuming it" in done.stdout
    looks = looks_in(told[1]) + looks_in(done.stdout)
    assert [look.partition(":")[0] for look in looks] == ["Look 1 of 2", "Look 2 of 2"]
    again = command("search", *asked, cwd=tmp_path)
    assert looks_in(again.stdout) == looks[1:]  # nothing is left to do, and the record says the same

    found = boards.read(uri, runs.find_search(uri, smoke_search.id))
    assert (differences.planned_looks(found), differences.num_looks(found)) == (2, 2)
    assert found.repeated["seed"].is_unique
    assert sorted(tmp_path.glob("searches/*-confirm-*")) == list(begun)  # none was started in place of another
    for folder, seeds in begun.items():
        trials = trials_of(folder)
        assert all(trial.outcome is Outcome.COMPLETE for trial in trials)
        assert {trial.name: trial.seed for trial in trials}.items() >= seeds.items()
        assert len(trials) == len(found.repeated[found.repeated["search"] == folder.name])
        assert audit(folder, uri) == []
    assert f"{len(found.repeated[found.repeated['architecture'] == 'mlp'])} seeds of mlp" in looks[1]
