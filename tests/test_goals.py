"""Goals besides one metric: several objectives, and limits. No Ray."""

import dataclasses
import itertools
import textwrap
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from conftest import ROOT, command
from optuna.trial import TrialState

import data
import models
from analysis.base.runs import tidy
from analysis.boards import leaderboard as boards
from analysis.boards import ledger
from analysis.boards.fronts import on_fronts
from data.base.errors import UserError
from data.encoded import EncodedCorpus
from search.base import schema
from search.base.schema import Outcome
from search.prove import replay
from search.run.run import measure
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.spec import Spec
from search.study import fronts, limits
from search.study.ranking import is_ranked, order
from search.study.samplers import USE_CONSTRAINTS
from search.study.studies import Studies
from search.study.trial import Trial, Worker
from search.train.config import defaults
from search.train.costs import COSTS
from search.train.length import Length
from search.train.running import build_model, run_trial
from search.train.training import Result
from tests.test_search_studies import SAMPLERS, Log

HERE = Worker("127.0.0.1", 1)


def make_spec(**changes: Any) -> Spec:
    content = {
        "architectures": ["mlp"],
        "space": {"hidden_size": list(range(8, 65, 8)), "learning_rate": [0.001, 0.003, 0.01]},
        "epochs": 3,
        "trials": 6,
        "baselines": "none",
        "pruner": "none",
        "duplicate_trials": "allow",
    }
    return specs.validate(content | changes)


def size(config: dict[str, Any]) -> dict[str, float]:
    """A stand-in for an untrained network."""
    return {schema.NUM_PARAMETERS: 100.0 * config["hidden_size"], schema.MODEL_MB: 1.0}


@cache
def storage(folder: Path) -> optuna.storages.BaseStorage:
    """A storage for the studies in this folder: equivalent to a journal, but faster."""
    return optuna.storages.InMemoryStorage()


def opened(spec: Spec, folder: Path) -> Studies:
    studies = Studies("s", spec, folder, "resume", storage=storage(folder))
    studies.measure = size
    return studies


def report(studies: Studies, trial: Trial, step: int, score: float, **costs: float) -> bool:
    best = {"val_accuracy": score, "val_loss": 1 - score}
    known = size(trial.config) | costs
    return studies.report(trial, Result(step, known, [], step, best, None, float(step)), HERE)


def run(studies: Studies, **costs: float) -> None:
    while trial := studies.ask():
        for step in range(1, 4):
            score = 0.5 + trial.hyperparameters["hidden_size"] / 1000 + step / 100
            if not report(studies, trial, step, score, **costs):
                break


# --- Limits on what is known before a trial


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_too_large_is_drawn_again_and_no_trial_is_spent(sampler: str, tmp_path: Path) -> None:
    studies = opened(make_spec(sampler=sampler, limits={"num_parameters": 2400}), tmp_path)
    run(studies)
    trials = studies.trials()
    assert len(trials) == 6
    assert studies.num_owed == 0
    assert {trial.outcome for trial in trials} == {Outcome.COMPLETE}
    assert {trial.hyperparameters["hidden_size"] for trial in trials} <= {8, 16, 24}
    assert studies.refused["mlp"]["num_parameters"] >= 1
    again = opened(make_spec(sampler=sampler, limits={"num_parameters": 2400}), tmp_path)
    assert again.refused == studies.refused
    assert [each.name for each in again.trials()] == [t.name for t in trials]


def test_a_grid_has_the_trials_that_are_left(tmp_path: Path) -> None:
    studies = opened(make_spec(sampler="grid", trials=None, limits={"num_parameters": 2400}), tmp_path)
    run(studies)
    points = [tuple(trial.hyperparameters.values()) for trial in studies.trials()]
    assert len(points) == len({*points}) == 9
    assert studies.num_owed == 0
    assert studies.refused == {"mlp": Counter(num_parameters=15)}


def test_what_is_rare_is_found_at_random_where_a_sampler_does_not(tmp_path: Path) -> None:
    """Only one width of 500 is within the limit; a sampler is replaced by random draws after ten refused proposals."""
    space = {"hidden_size": {"low": 8, "high": 507}, "learning_rate": {"low": 0.001, "high": 0.01}}
    studies = opened(make_spec(space=space, limits={"num_parameters": 2500}), tmp_path)
    run(studies)
    assert len(studies.trials()) == 6
    assert studies.refused["mlp"]["num_parameters"] > 6 * limits.IN_A_ROW
    assert {trial.outcome for trial in studies.trials()} == {Outcome.COMPLETE}


def test_an_architecture_without_anything_within_the_limits_gets_no_trial(tmp_path: Path) -> None:
    studies = opened(make_spec(limits={"num_parameters": 799}), tmp_path)
    told = []
    studies.on_stop = lambda architecture, stop: told.append(f"{architecture}: {stop.summary}")
    assert studies.ask() is None
    assert told == ["mlp: 0 of 6 trials: nothing more was found within the limits"]
    assert studies.num_owed == 0
    assert studies.trials() == []
    assert opened(make_spec(limits={"num_parameters": 799}), tmp_path).ask() is None


def test_a_space_without_anything_within_the_limits_is_one_line() -> None:
    spec = make_spec(limits={"num_parameters": 799, "model_mb": 5})
    with pytest.raises(
        UserError, match=r"^limits: no configuration .*: num_parameters is at least 800, with 799 allowed$"
    ):
        limits.require_room(spec, size)
    limits.require_room(make_spec(limits={"num_parameters": 800}), size)


def test_a_driver_that_died_while_it_refused_leaves_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = opened(make_spec(limits={"num_parameters": 2400}), tmp_path)

    class Died(BaseException):
        pass

    def die(*args: Any, **more: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", die)
        with pytest.raises(Died):
            studies.ask()  # the defaults, which are too large
    again = opened(make_spec(limits={"num_parameters": 2400}), tmp_path)
    assert again.trials() == []
    assert again.refused["mlp"]["num_parameters"] == 1
    run(again)
    assert len(again.trials()) == 6
    states = {each.state for each in again._studies["mlp"].optuna.get_trials()}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}


# --- Limits on what is measured


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_too_slow_ends_at_its_first_report_and_is_never_ranked(sampler: str, tmp_path: Path) -> None:
    studies = opened(make_spec(sampler=sampler, limits={"latency_ms": 2}), tmp_path)
    studies.listeners = (log := Log(),)
    while trial := studies.ask():
        slow = trial.hyperparameters["hidden_size"] > 24
        for step in range(1, 4):
            if not report(studies, trial, step, 0.9 if slow else 0.6, latency_ms=2.125 if slow else 2.0):
                break
    trials = studies.trials()
    refused = [trial for trial in trials if trial.hyperparameters["hidden_size"] > 24]
    assert len(trials) == 6
    assert refused
    assert studies.num_owed == 0
    for trial in trials:
        assert is_ranked(trial) == (trial not in refused)
        assert trial.outcome is (Outcome.REFUSED if trial in refused else Outcome.COMPLETE)
        assert trial.costs["latency_ms"] == (2.125 if trial in refused else 2.0)
        assert len(trial.results) == (1 if trial in refused else 3)
    assert {trial.error for trial in refused} == {"latency_ms 2.12 is over the limit 2"}
    assert all(trial not in refused for trial in studies.ranked("mlp"))
    assert sorted(trials, key=order("val_accuracy"))[-len(refused) :] == sorted(refused, key=lambda each: each.number)
    # A score that does not count is not reported while the trial runs.
    assert not {("epoch 1", trial.name) for trial in refused} & {*log.events}
    kept = {each.number: each for each in studies._studies["mlp"].optuna.get_trials()}
    told = {"latency_ms": 0.0625} if sampler in USE_CONSTRAINTS else {}
    assert all(kept[trial.number].constraints == told for trial in refused)


def test_a_sampler_learns_to_keep_away_from_what_is_refused(tmp_path: Path) -> None:
    space = {"hidden_size": {"low": 8, "high": 256}, "learning_rate": 0.001}

    def shares(**given: Any) -> float:
        studies = opened(make_spec(space=space, trials=30, **given), tmp_path / str(len(given)))
        while trial := studies.ask():
            width = trial.hyperparameters["hidden_size"]
            for step in range(1, 4):  # the wider the better, and the slower
                if not report(studies, trial, step, 0.5 + width / 1000, latency_ms=width / 32):
                    break
        return sum(trial.costs["latency_ms"] > 2 for trial in studies.trials()[10:])

    assert shares(limits={"latency_ms": 2}) < 0.75 * shares()


def test_the_pruner_compares_nothing_with_what_is_refused(tmp_path: Path) -> None:
    studies = opened(make_spec(limits={"latency_ms": 2}, pruner="asha", trials=9), tmp_path)
    for number, trial in enumerate(iter(studies.ask, None)):
        for step in range(1, 4):
            if not report(studies, trial, step, 0.6 if number == 8 else 0.9, latency_ms=1 if number == 8 else 3):
                break
    assert studies.trials()[8].outcome is Outcome.COMPLETE


def test_a_limit_on_the_time_of_training_ends_a_trial_when_it_is_over(tmp_path: Path) -> None:
    studies = opened(make_spec(limits={"train_seconds": 2}), tmp_path)
    run(studies)
    assert {(trial.outcome, len(trial.results)) for trial in studies.trials()} == {(Outcome.REFUSED, 3)}


def test_the_ledger_counts_what_was_refused(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from analysis.base.runs import Search

    stop = {"mlp": {"why": "nothing within the limits", "trials": 1, "of": 6, "chance": 0.0, "gain": 0.0}}
    tags = {
        schema.REFUSED: '{"mlp": {"num_parameters": 10, "model_mb": 2}, "gru": {"model_mb": 1}}',
        schema.STOPPED: str(stop).replace("'", '"'),
    }
    search = Search("s", "r", "1", datetime.now(UTC), "val_accuracy", "complete", tags)
    trials = tidy([{"architecture": "mlp", "outcome": "refused", "trial": "mlp-0"}])
    assert ledger.refused(search, trials) == [
        "Configurations over a size limit, which were replaced by others: mlp 12 (num_parameters 10, model_mb 2), "
        "gru 1 (model_mb).",
        "Over a limit at the first report, and not ranked: 1 trial.",
        "mlp got 1 of 6 trials: no other configuration is within the limits.",
    ]
    assert ledger.stopped(search, trials) == []
    assert ledger.ledger(trials)["refused_share"].tolist() == [1.0]


# --- What is measured, really


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    folder = tmp_path_factory.mktemp("own")
    rows = [f"{'good film' if n % 2 else 'bad film'} {n},{'pos' if n % 2 else 'neg'}" for n in range(200)]
    (folder / "own.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return data.load(f"csv:{folder / 'own.csv'}", embeddings="learned", texts=True, cache=folder, progress=False)


def real_spec(corpus: EncodedCorpus, **changes: Any) -> Spec:
    content = {"corpus": corpus.name, "embeddings": "learned", "architectures": ["mlp"], "epochs": 2}
    return specs.validate(content | changes)


@pytest.mark.parametrize("architecture", ["mlp", "gru", "nbsvm", "majority"])
def test_a_worker_measures_what_is_limited_and_trains_the_same(
    architecture: str, corpus: EncodedCorpus, tmp_path: Path
) -> None:
    config = {"architecture": architecture, "number": 0, "seed": 1, **defaults(architecture)}
    plain = list(run_trial(config, corpus, make_setting(real_spec(corpus), tmp_path)))
    spec = real_spec(corpus, limits=dict.fromkeys(COSTS, 1000000000.0))
    results = list(run_trial(config, corpus, make_setting(spec, tmp_path)))
    for result, before in zip(results, plain, strict=True):
        costs = {name: result.metrics.pop(name) for name in ("model_mb", "latency_ms")}
        assert 0 < costs["latency_ms"] < 1000
        assert costs["model_mb"] > 0
        for metrics in (result.metrics, before.metrics):
            del metrics[schema.EPOCH_SECONDS]
        assert result.metrics == before.metrics
        assert result.best == before.best
    if models.architecture(architecture).learner == "network":
        known = measure(spec, corpus, config)
        model = build_model(config, corpus, "learned")
        floats = sum(each.numel() for each in [*model.parameters(), *model.buffers()])
        assert known == {"num_parameters": models.num_parameters(model), "model_mb": 4 * floats / 1e6}
        assert known["num_parameters"] == results[0].metrics["num_parameters"]
        assert known["model_mb"] == costs["model_mb"]


def test_a_trial_that_goes_on_elsewhere_keeps_what_was_measured_first(corpus: EncodedCorpus, tmp_path: Path) -> None:
    config = {"architecture": "mlp", "number": 0, "seed": 1, **defaults("mlp")}
    setting = make_setting(real_spec(corpus, limits={"latency_ms": 1e9}), tmp_path)
    (first,) = itertools.islice(run_trial(config, corpus, setting), 1)
    (second,) = run_trial(config, corpus, setting, first.state)
    assert second.metrics["latency_ms"] == first.metrics["latency_ms"]


def test_replay_compares_all_but_timings() -> None:
    known = {"val_loss": 0.5, schema.EPOCH_SECONDS: 1.0, "latency_ms": 1.0, "model_mb": 2.0}
    before = Result(1, known, [], 1, {}, None, 1.0)
    again = dataclasses.replace(before, metrics=known | {schema.EPOCH_SECONDS: 9.0, "latency_ms": 7.0})
    assert replay._furthest(again, before)[0] == 0
    larger = dataclasses.replace(before, metrics=known | {"model_mb": 2.5})
    assert replay._furthest(larger, before) == (0.5, "model_mb")


# --- What is written wrongly


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"num_parameter": 5}, "limits: unknown limit 'num_parameter' (did you mean 'num_parameters'?)"),
        ({"latency_ms": "2ms"}, "limits: latency_ms should be a number; got '2ms'"),
        ({"latency_ms": True}, "limits: latency_ms should be a number; got True"),
        ({"latency_ms": 0}, "limits.latency_ms: should be greater than 0; got 0"),
        ([5], "limits: should be dictionary; got [5]"),
    ],
)
def test_a_wrong_limit_is_one_line(written: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        make_spec(limits=written)
    assert str(error.value) == f"spec: {message}"


def test_limits_are_kept_and_an_old_spec_has_none() -> None:
    spec = make_spec(limits={"num_parameters": 50000, "latency_ms": 2})
    assert specs.load(specs.dump(spec), "spec.yaml") == spec
    with pytest.raises(UserError, match="limits was"):
        specs.require_unchanged(spec, specs.compared(make_spec()))
    old = {key: value for key, value in specs.compared(make_spec()).items() if key != "limits"}
    specs.require_unchanged(make_spec(), old)


# --- Several objectives


def goals_spec(**changes: Any) -> Spec:
    return make_spec(**{"objectives": ["val_accuracy", "num_parameters"], "pruner": "front", **changes})


def curve(trial: Trial, step: int) -> float:
    """Scores increase with width and with the learning rate."""
    width, rate = trial.hyperparameters["hidden_size"], trial.hyperparameters["learning_rate"]
    return 0.5 + 0.1 * rate / 0.01 + width / 1000 + step / 100


def run_goals(studies: Studies) -> None:
    while trial := studies.ask():
        for step in range(1, 4):
            if not report(studies, trial, step, curve(trial, step), latency_ms=1.0):
                break


SEVERAL = [
    pytest.param(sampler, marks=pytest.mark.slow) if sampler == "gp" else sampler
    for sampler in SAMPLERS
    if sampler != "cmaes"
]


@pytest.mark.parametrize("sampler", SEVERAL)
def test_every_sampler_takes_several_objectives_and_ends_what_cannot_reach_the_front(
    sampler: str, tmp_path: Path
) -> None:
    studies = opened(goals_spec(sampler=sampler, trials=14), tmp_path)
    run_goals(studies)
    trials = studies.trials("mlp")
    assert len(trials) == 14
    ended = [trial for trial in trials if trial.outcome is Outcome.PRUNED]
    assert ended
    assert all(len(trial.results) < 3 for trial in ended)
    # What was ended would have reached no front: here it is known where it would have come to.
    complete = [trial for trial in trials if trial.outcome is Outcome.COMPLETE]
    for trial in ended:
        end = curve(trial, 3)
        assert any(
            (each.score or 0) >= end
            and each.costs["num_parameters"] <= trial.costs["num_parameters"]
            and ((each.score or 0) > end or each.costs["num_parameters"] < trial.costs["num_parameters"])
            for each in complete
        )
    again = opened(goals_spec(sampler=sampler, trials=14), tmp_path)
    assert [each.outcome for each in again.trials("mlp")] == [each.outcome for each in trials]
    assert all(again.value(trial) == trial.score for trial in again.ranked("mlp"))


def test_optuna_knows_the_front_that_the_studies_know(tmp_path: Path) -> None:
    studies = opened(goals_spec(trials=14), tmp_path)
    run_goals(studies)
    study = studies._studies["mlp"].optuna
    goals = ["val_accuracy", "num_parameters"]
    ranked = fronts.ranked(studies.trials(), goals, "val_accuracy", lambda trial: fronts.values(trial, goals))
    first = {trial.number for trial, number in ranked if number == 1}
    assert first == {each.number for each in study.best_trials}
    assert [number for _, number in ranked if number] == sorted(number for _, number in ranked if number)
    assert [trial.name for trial, number in ranked if number] == [trial.name for trial in studies.ranked("mlp")]


def test_little_training_is_no_merit_of_what_was_ended_early(tmp_path: Path) -> None:
    studies = opened(goals_spec(objectives=["val_accuracy", "train_seconds"], trials=14), tmp_path)
    run_goals(studies)
    known = {each.number: each.values for each in studies._studies["mlp"].optuna.get_trials()}
    ended = [trial for trial in studies.trials() if trial.outcome is Outcome.PRUNED]
    assert ended
    assert {known[trial.number][1] for trial in ended} == {3.0}  # as long as all of its reports would have taken


def test_a_trial_is_held_to_where_others_came_to_from_where_it_stands() -> None:
    goals, length = ["val_accuracy", "num_parameters"], Length(3)

    def trial(number: int, size: float, *scores: float) -> Trial:
        made = Trial(architecture="mlp", number=number, search="s", folder=Path(), metric="val_accuracy")
        for step, score in enumerate(scores, 1):
            made.add(Result(step, {"num_parameters": size}, [], step, {"val_accuracy": score}, None, step), 1)
        return made

    finished = [
        trial(0, 100, 0.5, 0.6, 0.7),
        trial(1, 200, 0.6, 0.7, 0.75),
        trial(2, 300, 0.7, 0.8, 0.85),
        trial(3, 400, 0.8, 0.85, 0.9),
    ]
    assert fronts.optimistic(trial(9, 500, 0.55), finished, goals, length) == pytest.approx([0.85, 500])
    assert fronts.optimistic(trial(9, 500, 0.72), finished, goals, length) == pytest.approx([0.87, 500])
    assert fronts.optimistic(trial(9, 500, 0.85), finished, goals, length) == pytest.approx([1.0, 500])
    assert fronts.hopeless(trial(9, 500, 0.72), finished, goals, length)
    assert not fronts.hopeless(trial(9, 250, 0.75), finished, goals, length)  # small for what it may come to
    assert not fronts.hopeless(trial(9, 500, 0.85), finished[:2], goals, length)  # two say nothing


def test_the_time_of_a_trial_is_taken_for_what_others_took_from_there() -> None:
    goals, length = ["val_accuracy", "train_seconds"], Length(3)

    def trial(number: int, *seconds: float) -> Trial:
        made = Trial(architecture="mlp", number=number, search="s", folder=Path(), metric="val_accuracy")
        for step, spent in enumerate(seconds, 1):
            made.add(Result(step, {}, [], step, {"val_accuracy": 0.5}, None, spent), 1)
        return made

    assert fronts.optimistic(trial(9, 2.0), [], goals, length) == [0.5, 6.0]
    finished = [trial(0, 2.0, 2.5, 3.0), trial(1, 4.0, 4.4, 4.8), trial(2, 2.0, 3.0, 4.0)]  # most before the first
    assert fronts.optimistic(trial(9, 2.0), finished, goals, length) == pytest.approx([0.5, 2.4])
    assert not fronts.hopeless(trial(9, 2.0), finished, goals, length)
    assert fronts.hopeless(trial(9, 3.0), finished, goals, length)


def test_an_objective_that_nothing_is_known_of_is_as_bad_for_all() -> None:
    goals = ["val_accuracy", "latency_ms"]
    laid = fronts.scaled(fronts.losses([[0.5, None], [0.9, None], [0.7, None]], goals), goals)
    assert laid == pytest.approx(np.array([[1.0, 1.0], [0.0, 1.0], [0.5, 1.0]]))


def test_a_point_of_the_front_is_preferred() -> None:
    points = {0: (0.9, 1000.0), 1: (0.85, 100.0), 2: (0.6, 10.0), 3: (0.5, 500.0)}
    trials = [
        Trial(
            architecture="mlp",
            number=number,
            search="s",
            folder=Path(),
            metric="val_accuracy",
            outcome=Outcome.COMPLETE,
            best={"val_accuracy": score},
            costs={"num_parameters": size},
        )
        for number, (score, size) in points.items()
    ]
    goals = ["val_accuracy", "num_parameters"]

    def preferred(how: str) -> int:
        return fronts.prefer(how, trials, goals, "val_accuracy", lambda trial: fronts.values(trial, goals)).number

    assert [preferred(how) for how in fronts.PREFER] == [0, 2, 1]
    with pytest.raises(UserError, match="did you mean 'knee'"):
        preferred("kne")
    with pytest.raises(UserError, match="has one objective, val_accuracy, and no front"):
        fronts.prefer("small", trials, [], "val_accuracy", lambda trial: [])


def test_the_leaderboard_ranks_by_fronts(tmp_path: Path) -> None:
    rows = [(0.9, 1000), (0.85, 100), (0.6, 10), (0.5, 500), (0.84, 110)]
    frame = tidy(
        {
            "architecture": "gru" if n == 4 else "mlp",
            "trial": f"t-{n}",
            "number": n,
            "run_id": str(n),
            "outcome": "complete",
            "val_accuracy": score,
            "num_parameters": size,
        }
        for n, (score, size) in enumerate(rows)
    )
    goals = ["val_accuracy", "num_parameters"]
    board = boards.leaderboard(frame, "val_accuracy", goals)
    assert board["front"].tolist() == [1, 1, 1, 2, 3]
    assert board["trial"].tolist() == ["t-0", "t-2", "t-1", "t-4", "t-3"]
    found = on_fronts(frame, "val_accuracy", goals)
    assert dict(zip(found["trial"], found["on_front"], strict=True)) == {
        "t-0": "all",
        "t-2": "all",
        "t-1": "all",
        "t-4": "its architecture",
    }
    assert "front" not in boards.leaderboard(frame, "val_accuracy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["val_accuracy"]}, "objectives: should be at least two, all different; got [val_accuracy]"),
        ({"objectives": ["val_accuracy", "latency"]}, "unknown objective 'latency' (did you mean 'latency_ms'?)"),
        (
            {"objectives": ["val_f1", "model_mb"]},
            "objectives: should include the metric val_accuracy, which chooses the best ",
        ),
        ({"sampler": "cmaes"}, "sampler: cmaes supports one objective only; for several use tpe, nsga2, gp, random"),
        ({"pruner": "asha"}, "pruner: with several objectives should be front or none; got asha"),
        ({"stop": "decided"}, "stop: with several objectives should be none; got decided"),
        ({"objectives": []}, "pruner: front is for several objectives; leave it out, or write objectives"),
    ],
)
def test_wrong_objectives_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        goals_spec(**changes)
    assert str(error.value).startswith(f"spec: {message}")
    assert "\n" not in str(error.value)


def test_several_objectives_have_their_pruner_unless_told() -> None:
    content = {"architectures": ["mlp"], "objectives": ["val_accuracy", "num_parameters"]}
    assert specs.validate(content).pruner == "front"
    assert specs.validate(content | {"pruner": "none"}).pruner == "none"
    assert specs.validate({"architectures": ["mlp"]}).pruner == "asha"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_documented_example_of_objectives_and_limits_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    block = page[page.index("    # small.yaml") :].split("\n\n")[0]
    (tmp_path / "small.yaml").write_text(textwrap.dedent(block), encoding="utf-8")
    smaller = [word for key in ("limit=300", "epochs=1", "trials=3", "baselines=none") for word in ("--set", key)]
    done = command("bakeoff", "run", "small.yaml", *smaller, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for preferred in fronts.PREFER:
        best = command("bakeoff", "best", "latest", "--prefer", preferred, cwd=tmp_path)
        assert best.returncode == 0, best.stdout + best.stderr
    (folder,) = (tmp_path / "searches").iterdir()
    trials = Studies(folder.name, specs.read_spec(folder), folder).trials()
    assert len(trials) == 6
    ranked = [trial for trial in trials if is_ranked(trial)]
    assert ranked
    assert all(trial.costs["num_parameters"] <= 50000 for trial in ranked)
    assert all(trial.costs["latency_ms"] <= 20 for trial in ranked)
