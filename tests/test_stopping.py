"""`stop: decided`: which architectures get no more trials, and what is kept of that. No Ray, no training."""

import json
from pathlib import Path

import pytest
from test_analysis_ledger import SEARCH, trial

from analysis.base.runs import tidy
from analysis.boards import ledger
from data.base.errors import UserError
from search.base.schema import Outcome
from search.spec import read as specs
from search.spec.spec import Spec
from search.study import stopping
from search.study.stopping import NO_GAIN, OVERTAKEN, Drawn, Stop, decide, prospects
from search.study.studies import Studies
from search.study.trial import Worker
from search.train.training import Result


def test_the_chance_and_the_gain_of_what_is_left() -> None:
    level = Drawn([0.7, 0.8, 0.9], 0.9, 1)  # mean 0.8, variance 0.01, as is the common one; 10 degrees of freedom
    chance, gain = prospects(level, 0.8, 0.01)
    assert chance == pytest.approx(0.5)  # of a t distribution around 0.8
    # The mean of the upper half of a t distribution of v degrees is scale * density(0) * v / (v - 1).
    assert gain == pytest.approx((0.01 * 4 / 3) ** 0.5 * 0.38911 * 10 / 9, rel=1e-3)
    assert prospects(Drawn([0.7, 0.8, 0.9], 0.9, 2), 0.8, 0.01)[0] == pytest.approx(0.75)
    assert prospects(Drawn([0.5] * 3, 0.5, 4), 0.6, 0.0) == (0.0, 0.0)


def test_who_cannot_overtake_is_stopped() -> None:
    far, near = Drawn([0.50, 0.51, 0.52], 0.52, 5), Drawn([0.78, 0.80, 0.82], 0.82, 5)
    leader = Drawn([0.80, 0.82, 0.84], 0.84, 5)
    found = decide({"far": far, "near": near, "leader": leader}, min_gain=0.0)
    assert {name: stop.why for name, stop in found.items()} == {"far": OVERTAKEN}
    assert found["far"].chance < 0.05
    assert decide({"far": Drawn([0.50, 0.52], 0.52, 5), "leader": leader}, 0.0) == {}  # too few to tell
    assert decide({"far": Drawn([], None, 5)}, 0.0) == {}


def test_all_are_stopped_where_nothing_is_to_gain() -> None:
    one, other = Drawn([0.80, 0.82, 0.84], 0.84, 3), Drawn([0.81, 0.82, 0.83], 0.83, 3)
    assert decide({"one": one, "other": other}, min_gain=0.001) == {}
    found = decide({"one": one, "other": other}, min_gain=0.1)
    assert {name: stop.why for name, stop in found.items()} == {"one": NO_GAIN, "other": NO_GAIN}
    unknown = {"one": one, "other": Drawn([0.81], 0.81, 3)}
    assert decide(unknown, min_gain=0.1) == {}  # what the other would gain cannot be told


def make_spec(**changes: object) -> Spec:
    content = {"architectures": ["mlp", "gru"], "baselines": "none", "epochs": 2, "trials": 6, "pruner": "none"}
    return specs.validate(
        content | {"sampler": "random", "stop": "decided", "min_gain": 0.0, "duplicate_trials": "allow"} | changes
    )


def result(step: int, score: float, before: float = 0.0) -> Result:
    best = max(score, before)
    return Result(step, {"val_accuracy": score}, [], step, {"val_accuracy": best}, None, float(step))


def finish(studies: Studies, most: int = 100) -> None:
    """mlp is better by 30 points; each trial a little better than the last."""
    for _ in range(most):
        if (asked := studies.ask()) is None:
            return
        score = (0.8 if asked.architecture == "mlp" else 0.5) + 0.01 * (asked.number % 3)
        assert studies.report(asked, result(1, score - 0.1), Worker("", 0))
        assert not studies.report(asked, result(2, score), Worker("", 0))


def test_an_architecture_that_is_decided_gets_no_more_trials_also_when_resumed(tmp_path: Path) -> None:
    told = {}
    studies = Studies("s", make_spec(), tmp_path, "new")
    studies.on_stop = told.__setitem__
    finish(studies)
    assert [len(studies.trials(name)) for name in ("mlp", "gru")] == [6, 3]
    assert (studies.num_owed, studies.num_wanted("gru"), studies.num_planned("gru")) == (0, 3, 6)
    assert studies.stopped == told
    assert (told["gru"].why, told["gru"].trials, told["gru"].of) == (OVERTAKEN, 3, 6)
    assert "3 of 6 trials by stop: decided" in told["gru"].summary
    again = Studies("s", make_spec(), tmp_path, "resume")
    assert again.stopped == told
    assert again.ask() is None
    more = Studies("s", make_spec(trials=8), tmp_path, "resume")  # another budget
    assert more.stopped == {}
    finish(more)
    assert [len(more.trials(name)) for name in ("mlp", "gru")] == [8, 3]
    assert more.stopped["gru"].of == 8


def test_a_search_that_broke_off_decides_as_it_would_have(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(), tmp_path, "new")
    finish(studies, most=6)
    again = Studies("s", make_spec(), tmp_path, "resume")
    finish(again)
    assert [len(again.trials(name)) for name in ("mlp", "gru")] == [6, 3]


def test_without_the_rule_every_trial_is_asked_for(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(stop="none"), tmp_path, "new")
    finish(studies)
    assert len(studies.trials()) == 12
    assert studies.stopped == {}


def test_what_was_pruned_would_have_gained_what_complete_trials_did(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(stop="none"), tmp_path, "new")
    whole, cut, lost = [studies.ask() for _ in range(3)]
    assert whole is not None
    assert cut is not None
    assert lost is not None
    studies.report(whole, result(1, 0.6), Worker("", 0))
    studies.report(whole, result(2, 0.8), Worker("", 0))
    studies.report(cut, result(1, 0.5), Worker("", 0))
    studies.finish(cut, Outcome.PRUNED)
    studies.finish(lost, Outcome.FAILED, "broken")
    found = stopping.drawn([whole, cut, lost], 1, left=2)
    assert found.scores == pytest.approx([0.8, 0.7])
    assert (found.best, found.left) == (0.8, 2)


def test_what_repeats_configurations_is_never_stopped() -> None:
    with pytest.raises(UserError, match="stop: repetitions of configurations run to their end"):
        make_spec(sampler="grid", seeds=3, trials=None, space={"dropout": [0.0, 0.5]})


def test_the_ledger_says_that_budgets_are_unequal_by_rule() -> None:
    from dataclasses import replace

    stops = {"gru": Stop(OVERTAKEN, 0.012, 0.0, trials=3, of=6).to_dict()}
    rows = tidy([trial(f"gru-{i}", i, 0.5) for i in range(3)])
    (line,) = ledger.stopped(replace(SEARCH, tags={"stopped": json.dumps(stops)}), rows)
    assert "unequal by rule (stop: decided): gru 3 of 6 trials (cannot overtake: a chance of 1.2%)" in line
    assert "3 trials were skipped, about 9 epochs" in line
    assert ledger.stopped(SEARCH, rows) == []
