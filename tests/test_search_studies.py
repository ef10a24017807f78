"""The studies propose, count and end trials; every sampler and pruner keeps the same contract. No Ray, no training."""

import dataclasses
import errno
import io
import os
import resource
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from data.base.errors import UserError
from search.base import locking
from search.base.schema import Outcome
from search.run.keeper import _Keeper
from search.run.progress import Progress
from search.spec import read as specs
from search.spec.spec import Spec
from search.study import ranking
from search.study.studies import Studies
from search.study.study import derive_seed
from search.study.trial import Trial, Worker
from search.train import checkpoints, config
from search.train.length import Length
from search.train.metrics import METRICS, measured_in
from search.train.training import Result

SAMPLERS = get_args(Spec.model_fields["sampler"].annotation)
PRUNERS = [name for name in get_args(Spec.model_fields["pruner"].annotation) if name != "front"]  # of one objective
HERE = Worker("127.0.0.1", 1)


def make_spec(**changes: Any) -> Spec:
    content = {
        "architectures": ["rnn", "mlp"],
        "space": {
            "hidden_size": [8, 16, 24],
            "activation": ["tanh", "relu"],
            "learning_rate": [0.001, 0.01] if changes.get("sampler") == "grid" else {"low": 1e-4, "high": 1e-2},
        },
        "epochs": 4,
        "trials": 5,
        "baselines": "none",
    }
    return specs.validate(content | changes)


def epoch_result(epoch: int, score: float, diverged: str | None = None) -> Result:
    return Result(epoch, {}, [(epoch, 0.5, 0.5)], epoch, {"val_accuracy": score, "val_loss": 1 - score}, diverged, 1.0)


def quality(trial: Trial, epoch: int) -> float:
    """A stand-in for training with an optimum: wide and fast is good."""
    hyperparameters = trial.hyperparameters
    return 0.5 + 0.01 * hyperparameters["hidden_size"] + 10 * hyperparameters["learning_rate"] + 0.001 * epoch


def frozen(studies: Studies, architecture: str) -> list[FrozenTrial]:
    """What Optuna itself says of the trials."""
    return optuna.study.Study.get_trials(studies._studies[architecture].optuna)


class Log:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def changed(self, trial: Trial, result: Result | None) -> None:
        if result is not None:
            self.events.append((f"epoch {result.step}", trial.name))
        else:
            self.events.append((trial.outcome.value, trial.name))


def run(studies: Studies, epochs: int = 4) -> None:
    while trial := studies.ask():
        for epoch in range(1, epochs + 1):
            if not studies.report(trial, epoch_result(epoch, quality(trial, epoch)), HERE):
                break


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_sampler_with_every_pruner_runs_to_its_end(sampler: str, pruner: str, tmp_path: Path) -> None:
    studies = Studies("s", make_spec(sampler=sampler, pruner=pruner), tmp_path, "resume")
    run(studies)
    assert studies.num_owed == 0
    for architecture in ("rnn", "mlp"):
        states = Counter(trial.state for trial in frozen(studies, architecture))
        assert set(states) <= {TrialState.COMPLETE, TrialState.PRUNED}
        assert states[TrialState.COMPLETE] >= 1
        assert states.total() == 5
        assert (pruner == "none") <= (TrialState.PRUNED not in states)
        for trial in studies.trials(architecture):
            assert trial.hyperparameters["hidden_size"] in (8, 16, 24)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_proposes_the_same_and_another_seed_something_else(sampler: str, tmp_path: Path) -> None:
    def proposed(folder: str, seed: int) -> list[dict[str, Any]]:
        (tmp_path / folder).mkdir()
        studies = Studies("s", make_spec(sampler=sampler, seed=seed, pruner="none"), tmp_path / folder, "resume")
        run(studies)
        return [trial.hyperparameters for trial in studies.trials("rnn")]

    first = proposed("a", seed=1)
    assert proposed("b", seed=1) == first
    assert proposed("c", seed=2)[1:] != first[1:]


@pytest.mark.parametrize("pruner", [pruner for pruner in PRUNERS if pruner != "none"])
def test_every_pruner_ends_the_worst_trials_early_and_compares_only_trials_of_one_architecture(
    pruner: str, tmp_path: Path
) -> None:
    """Every mlp is better than every rnn; each is worse than the one before it, so that all after the first may go."""
    studies = Studies("s", make_spec(pruner=pruner, trials=9, epochs=9), tmp_path, "resume")
    best = {"rnn": 0.5, "mlp": 0.9}
    while trial := studies.ask():
        score = best[trial.architecture] - 0.02 * trial.number
        for epoch in range(1, 10):
            if not studies.report(trial, epoch_result(epoch, score), HERE):
                break
    for architecture in best:
        trials = studies.trials(architecture)
        assert trials[0].outcome is Outcome.COMPLETE
        pruned = [trial for trial in trials if trial.outcome is Outcome.PRUNED]
        assert len(pruned) >= 3
        assert all(len(trial.results) < 9 for trial in pruned)


def test_the_architecture_with_the_fewest_trials_is_next_and_of_equals_the_slowest(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(trials=3, architectures=["rnn", "mlp", "gru"], epochs=1), tmp_path, "resume")
    order = []
    while trial := studies.ask():
        order.append(trial.name)
        seconds = {"rnn": 1.0, "mlp": 2.0, "gru": 9.0}[trial.architecture]
        studies.report(trial, dataclasses.replace(epoch_result(1, 0.6), seconds=seconds), HERE)
    # Before anything is known the first is taken for the slowest; then the gru is one ahead.
    assert order == ["rnn-0", "mlp-0", "gru-0", "gru-1", "mlp-1", "rnn-1", "gru-2", "mlp-2", "rnn-2"]


def test_trials_that_run_count(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(trials=2), tmp_path, "resume")
    names = [trial.name for _ in range(4) if (trial := studies.ask())]
    assert names == ["rnn-0", "mlp-0", "rnn-1", "mlp-1"]
    assert studies.ask() is None


@pytest.mark.parametrize("sampler", [sampler for sampler in SAMPLERS if sampler != "grid"])
def test_the_first_trial_is_the_default_configuration_or_the_nearest_to_it(sampler: str, tmp_path: Path) -> None:
    spec = make_spec(
        sampler=sampler,
        space={
            "hidden_size": {"low": 70, "high": 130, "step": 20},  # the default is 64
            "activation": ["none", "sigmoid"],  # tanh for the rnn, relu for the mlp
            "dropout": {"low": 0.0, "high": 0.5},
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        },
    )
    studies = Studies("s", spec, tmp_path, "resume")
    first = studies.ask()
    assert first
    assert (first.hyperparameters["hidden_size"], first.hyperparameters["activation"]) == (70, "none")
    assert (first.hyperparameters["dropout"], first.hyperparameters["learning_rate"]) == (0.0, 1e-3)
    assert first.hyperparameters["num_layers"] == 1


def test_a_grid_visits_every_combination_once(tmp_path: Path) -> None:
    spec = make_spec(sampler="grid", trials=None, pruner="none")
    studies = Studies("s", spec, tmp_path, "resume")
    run(studies)
    for architecture in spec.architectures:
        seen = [tuple(sorted(trial.hyperparameters.items(), key=str)) for trial in studies.trials(architecture)]
        assert len(seen) == len(set(seen)) == 12


def test_a_grid_that_is_resumed_halfway_still_visits_every_combination_once(tmp_path: Path) -> None:
    spec = make_spec(sampler="grid", trials=None, pruner="none")
    first = Studies("s", spec, tmp_path, "resume")
    for _ in range(11):
        trial = first.ask()
        assert trial
        for epoch in range(1, 5):
            first.report(trial, epoch_result(epoch, 0.5), HERE)
    again = Studies("s", spec, tmp_path, "resume")
    run(again)
    for architecture in spec.architectures:
        seen = [tuple(sorted(trial.hyperparameters.items(), key=str)) for trial in again.trials(architecture)]
        assert len(seen) == len(set(seen)) == 12


@pytest.mark.parametrize("stop_after", [0, 7])
def test_a_grid_with_seeds_runs_each_combination_so_often_and_resumes_in_between(
    stop_after: int, tmp_path: Path
) -> None:
    spec = make_spec(sampler="grid", trials=None, pruner="none", seeds=3, architectures=["rnn"])
    first = Studies("s", spec, tmp_path, "resume")
    assert first.num_owed == 36
    for _ in range(stop_after):
        trial = first.ask()
        assert trial
        first.report(trial, epoch_result(4, 0.5), HERE)
    run(Studies("s", spec, tmp_path, "resume"))
    trials = Studies("s", spec, tmp_path).trials()
    points = Counter(tuple(sorted(trial.hyperparameters.items(), key=str)) for trial in trials)
    assert set(points.values()) == {3}
    assert len(points) == 12
    assert {trial.configuration for trial in trials} == {None}
    assert len({(str(trial.hyperparameters), trial.repetition) for trial in trials}) == 36
    assert len({trial.seed for trial in trials}) == 36
    assert "repetition" not in trials[0].config  # which of them it is must not matter to the training


def test_configurations_are_run_as_they_are_written_with_the_defaults_of_what_they_leave_open(tmp_path: Path) -> None:
    points = {"rnn": {"a": {"hidden_size": 8}, "b, c": {"hidden_size": 8, "dropout": 0.5}}, "mlp": {"a": {}}}
    spec = make_spec(sampler="grid", trials=None, pruner="none", space={}, configurations=points, seeds=2)
    run(Studies("s", spec, tmp_path, "resume"))
    trials = Studies("s", spec, tmp_path).trials()
    seen = Counter((trial.architecture, trial.params["configuration"], trial.params["dropout"]) for trial in trials)
    assert seen == {("rnn", "a", 0.0): 2, ("rnn", "b, c", 0.5): 2, ("mlp", "a", 0.0): 2}
    for trial in trials:
        assert set(trial.hyperparameters) == set(config.domains(trial.architecture))
        assert trial.hyperparameters["hidden_size"] == (8 if trial.architecture == "rnn" else 64)


def test_a_configuration_without_clipping_has_none_whatever_the_spec_says(tmp_path: Path) -> None:
    points = {"rnn": {"clipped": {}, "free": {"max_grad_norm": None}}}
    spec = make_spec(
        sampler="grid", trials=None, space={}, architectures=["rnn"], configurations=points, max_grad_norm=5.0
    )
    run(Studies("s", spec, tmp_path, "resume"))
    trials = Studies("s", spec, tmp_path).trials()
    assert {trial.configuration: trial.hyperparameters["max_grad_norm"] for trial in trials} == {
        "clipped": 5.0,
        "free": None,
    }


def test_what_is_solved_is_kept_and_what_cannot_be_solved_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    spec = make_spec(sampler="grid", trials=None, space={"activation": ["tanh", "relu"]}, match_parameters=5000)
    studies = Studies("s", spec, tmp_path, "resume")

    def solve(config: dict[str, Any]) -> dict[str, Any]:
        if config["activation"] == "relu" and config["architecture"] == "mlp":
            raise UserError("no hidden_size")
        return {"hidden_size": 10 + config["number"]}

    studies.solve = solve
    asked = []
    while trial := studies.ask():
        asked.append(trial)
        studies.report(trial, epoch_result(4, 0.5), HERE)
    assert len(asked) == 3
    again = {trial.name: trial for trial in Studies("s", spec, tmp_path).trials()}
    for trial in asked:
        assert again[trial.name].config == trial.config
        assert trial.config["hidden_size"] == 10 + trial.number
    (failed,) = (trial for trial in again.values() if trial.outcome is Outcome.FAILED)
    assert (failed.architecture, failed.hyperparameters["activation"], failed.error) == (
        "mlp",
        "relu",
        "no hidden_size",
    )


@pytest.mark.timeout(20)
def test_a_lock_that_optuna_left_stops_nobody(tmp_path: Path) -> None:
    spec = make_spec(trials=1)
    Studies("s", spec, tmp_path, "new")
    os.symlink((tmp_path / "studies.journal").absolute(), tmp_path / "studies.journal.lock")  # of an older version
    run(Studies("s", spec, tmp_path, "resume"))


@pytest.mark.parametrize("call", ["symlink", "rename", "unlink"])
def test_the_journal_needs_no_other_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    spec = make_spec(trials=1)
    with monkeypatch.context() as disk:
        disk.setattr(os, call, refused)
        run(Studies("s", spec, tmp_path, "new"))
    assert Studies("s", spec, tmp_path, "read").num_owed == 0
    assert [path.name for path in tmp_path.iterdir()] == ["studies.journal"]


def test_a_torn_last_line_is_cut_off_and_a_reader_writes_nothing(tmp_path: Path) -> None:
    spec = make_spec(trials=1)
    run(Studies("s", spec, tmp_path, "new"))
    journal = tmp_path / "studies.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    assert Studies("s", spec, tmp_path, "read").num_owed == 0
    assert journal.read_bytes() == whole + b'{"op_code": 4, "wor'
    locking.mend_journal(journal)
    assert journal.read_bytes() == whole


def test_a_full_disk_leaves_no_part_of_a_line_in_a_journal_that_goes_on(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(trials=1), tmp_path, "new")
    journal = tmp_path / "studies.journal"
    size = journal.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"too large: '{journal}'"):
            studies.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal.stat().st_size == size
    run(studies)
    assert Studies("s", make_spec(trials=1), tmp_path, "read").num_owed == 0


def test_a_broken_journal_or_storage_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "studies.journal").write_text("{}\nnonsense\n{}\n")
    with pytest.raises(ValueError, match=r"studies\.journal cannot be opened"):
        Studies("s", make_spec(), tmp_path)
    for storage in ("foo", "postgresql+nodriver://me:secret@127.0.0.1:9/x"):
        with pytest.raises(ValueError, match="cannot be opened") as raised:
            Studies("s", make_spec(storage=storage), tmp_path)
        assert "secret" not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_new_search_never_takes_over_one_that_is_there(tmp_path: Path) -> None:
    Studies("s", make_spec(), tmp_path, "new")
    with pytest.raises(FileExistsError):
        Studies("s", make_spec(), tmp_path, "new")


def test_a_crash_before_the_provenance_was_noted_loses_nothing(tmp_path: Path) -> None:
    spec = make_spec(trials=1)
    Studies("s", spec, tmp_path, "new")._studies["rnn"].optuna.ask()  # and the process is gone
    again = Studies("s", spec, tmp_path, "resume")
    again.provenance = {"data_digest": "d"}
    adopted = again.ask()
    assert adopted
    assert (adopted.name, adopted.provenance) == ("rnn-0", {"data_digest": "d"})
    assert set(adopted.hyperparameters) == set(again._studies["rnn"].space)


def test_a_diverged_trial_is_pruned_with_the_worst_score_and_the_rest_go_on(tmp_path: Path) -> None:
    for metric in (each.name for each in measured_in("classification") if not each.no_rank):
        folder = tmp_path / metric
        folder.mkdir()
        studies = Studies("s", make_spec(metric=f"val_{metric}", trials=1), folder, "resume")
        trial = studies.ask()
        assert trial
        good = {f"val_{metric}": 0.7}
        assert studies.report(trial, Result(1, {}, [], 1, good, None, 1.0), HERE)
        assert not studies.report(trial, Result(2, {}, [], 1, good, "loss became nan", 2.0), HERE)
        (in_optuna,) = frozen(studies, "rnn")
        assert in_optuna.state is TrialState.PRUNED
        assert in_optuna.value == METRICS[metric].worst
        (ended,) = studies.trials("rnn")
        assert (ended.outcome, ended.error) == (Outcome.DIVERGED, "loss became nan")
        assert ended.results[-1].best == good
        assert studies.ask()


def test_the_score_is_the_best_epoch_and_never_the_last(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(trials=1, pruner="none"), tmp_path, "resume")
    trial = studies.ask()
    assert trial
    for epoch, best_so_far in enumerate([0.6, 0.8, 0.8, 0.8], start=1):
        studies.report(trial, epoch_result(epoch, best_so_far), HERE)
    assert frozen(studies, "rnn")[0].value == 0.8


def test_an_epoch_reported_twice_counts_once(tmp_path: Path) -> None:
    log = Log()
    studies = Studies("s", make_spec(trials=1, pruner="none"), tmp_path, "resume", [log])
    trial = studies.ask()
    assert trial
    for epoch in (1, 2, 2, 3):
        assert studies.report(trial, epoch_result(epoch, 0.6), HERE)
    assert [event for event, _ in log.events] == ["running", "epoch 1", "epoch 2", "epoch 3"]


def test_a_failed_trial_is_counted_and_not_repeated(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(trials=1, architectures=["rnn"]), tmp_path, "resume")
    trial = studies.ask()
    assert trial
    studies.finish(trial, Outcome.FAILED, "ValueError: no")
    assert studies.ask() is None
    assert studies.num_owed == 0
    assert frozen(studies, "rnn")[0].state is TrialState.FAIL
    assert (studies.trials("rnn")[0].outcome, studies.trials("rnn")[0].error) == (Outcome.FAILED, "ValueError: no")


def test_what_was_running_is_adopted_with_its_number_values_seed_and_epochs(tmp_path: Path) -> None:
    spec = make_spec(trials=2)
    first = Studies("s", spec, tmp_path, "resume")
    left = first.ask()
    assert left
    first.keep_run_id(left, "a run")
    first.report(left, epoch_result(1, 0.6), HERE)  # and the process is gone

    log = Log()
    again = Studies("s", spec, tmp_path, "resume", [log])
    adopted = again.ask()
    assert adopted
    assert (adopted.name, adopted.config, adopted.run_id) == (left.name, left.config, "a run")
    assert (adopted.attempt, adopted.results, adopted.worker) == (2, [epoch_result(1, 0.6)], HERE)
    names = [adopted.name] + [trial.name for _ in range(3) if (trial := again.ask())]
    assert names == ["rnn-0", "mlp-0", "rnn-1", "mlp-1"]
    assert again.ask() is None


def test_stopping_proposes_nothing_more_and_ends_running_trials_as_interrupted(tmp_path: Path) -> None:
    log = Log()
    studies = Studies("s", make_spec(pruner="none"), tmp_path, "resume", [log])
    trial = studies.ask()
    assert trial
    assert studies.report(trial, epoch_result(1, 0.6), HERE)
    studies.stop()
    assert studies.ask() is None
    assert not studies.report(trial, epoch_result(2, 0.6), HERE)
    assert log.events[-1] == ("interrupted", "rnn-0")
    assert frozen(studies, "rnn")[0].state is TrialState.RUNNING
    assert studies.num_owed == 10


def test_the_time_budget_stops_the_search(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(time_budget=1e-9), tmp_path, "resume")
    assert studies.ask() is None


def test_any_optuna_storage_can_be_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    run(Studies("s", make_spec(storage=url, trials=2), tmp_path, "resume"))
    assert sorted(optuna.get_all_study_names(url)) == ["s/mlp", "s/rnn"]
    assert not (tmp_path / "studies.journal").exists()


def test_seeds_are_stable_and_differ_between_trials() -> None:
    assert derive_seed(0, "rnn", 0) == derive_seed(0, "rnn", 0) == 1373460185
    seeds = {derive_seed(s, a, n) for s in range(3) for a in ("rnn", "gru") for n in range(50)}
    assert len(seeds) == 300


def scored(studies: Studies, scores: dict[str, list[float]]) -> list[str]:
    """Run the trials of the only architecture to their ends with these scores by configuration; their names."""
    names = []
    while trial := studies.ask():
        score = scores[trial.configuration or ""].pop(0)
        result = dataclasses.replace(epoch_result(4, score), metrics={"num_parameters": 100.0 - trial.number // 3})
        studies.report(trial, result, HERE)
        names.append(trial.name)
    return names


def test_of_equals_the_smaller_and_then_the_earlier_is_the_better_one(tmp_path: Path) -> None:
    studies = Studies("s", make_spec(architectures=["rnn"], sampler="random"), tmp_path, "resume")
    scored(studies, {"": [0.5, 0.7, 0.7, 0.7, 0.7]})
    assert [trial.number for trial in studies.ranked("rnn")] == [3, 4, 1, 2, 0]


@dataclasses.dataclass
class Saves:
    """A listener that keeps a checkpoint of every epoch, as a trial does."""

    folder: Path

    def changed(self, trial: Trial, result: Result | None) -> None:
        if result:
            checkpoints.save(checkpoints.folder_of(self.folder, trial.name), result.step, {})


def keeping(spec: Spec, folder: Path) -> Studies:
    """The studies of a search with checkpoints, as a new process opens them."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    studies = Studies("s", spec, folder, "resume")
    studies.listeners = (Saves(folder), _Keeper(studies, folder))
    return studies


def kept(folder: Path) -> set[str]:
    """The trials that have weights."""
    return {path.parent.name for path in folder.glob("checkpoints/*/epoch-*.pt")}


def test_what_is_kept_is_the_best_repetition_of_each_configuration(tmp_path: Path) -> None:
    spec = make_spec(
        architectures=["rnn"],
        sampler="grid",
        trials=None,
        space={},
        configurations={"rnn": {"lucky": {}, "good": {"hidden_size": 8}}},
        seeds=2,
        pruner="none",
        keep_checkpoints="best",
    )
    studies = keeping(spec, tmp_path)
    scored(studies, {"lucky": [0.9, 0.1], "good": [0.7, 0.8]})
    best = {trial.configuration: trial.name for trial in reversed(studies.ranked("rnn"))}
    assert kept(tmp_path) == set(best.values())
    assert len(best) == 2


def test_what_is_kept_is_the_best_of_all_processes_of_a_search(tmp_path: Path) -> None:
    spec = make_spec(architectures=["rnn"], sampler="random", pruner="none", trials=3, keep_checkpoints="top:2")
    scored(keeping(spec, tmp_path), {"": [0.5, 0.9, 0.7]})
    assert kept(tmp_path) == {"rnn-1", "rnn-2"}
    scored(keeping(spec.model_copy(update={"trials": 5}), tmp_path), {"": [0.6, 0.8]})
    assert kept(tmp_path) == {"rnn-1", "rnn-4"}


def test_what_is_kept_is_the_best_once_repetitions_have_lowered_the_first(tmp_path: Path) -> None:
    few = {"hidden_size": [8, 16], "learning_rate": 1e-3}
    spec = make_spec(
        architectures=["rnn"], sampler="random", pruner="none", trials=8, space=few, keep_checkpoints="best", seed=3
    )
    studies = keeping(spec, tmp_path)
    lucky = None
    while trial := studies.ask():
        lucky = lucky or trial.hyperparameters["hidden_size"]
        score = 0.9 if not trial.number else 0.1 if trial.hyperparameters["hidden_size"] == lucky else 0.8
        studies.report(trial, epoch_result(4, score), HERE)
    best, *_ = studies.ranked("rnn")
    assert best.hyperparameters["hidden_size"] != lucky
    assert kept(tmp_path) == {best.name}


MEMORY = optuna.storages.InMemoryStorage
FEW = {"space": {"hidden_size": [8, 16], "activation": ["tanh", "relu"]}, "architectures": ["rnn"]}


@pytest.mark.parametrize("sampler", [each for each in SAMPLERS if each != "grid"])
def test_what_is_proposed_again_is_a_repetition_on_another_seed(sampler: str, tmp_path: Path) -> None:
    spec = make_spec(**FEW, trials=9, sampler=sampler, pruner="none")
    storage = MEMORY()
    studies = Studies("s", spec, tmp_path, "new", storage=storage)
    while trial := studies.ask():
        studies.report(trial, epoch_result(4, 0.5), HERE)
        if trial.number == 6:
            studies = Studies("s", spec, tmp_path, "resume", storage=storage)
    trials = studies.trials()
    firsts: dict[str, Trial] = {}
    for trial in trials:
        first = firsts.setdefault(str(trial.hyperparameters), trial)
        assert trial.repeats == (None if trial is first else first.name)
        assert trial.params.get("repeats") == trial.repeats
    assert len(firsts) <= 4
    assert len({trial.seed for trial in trials}) == 9
    assert "repeats" not in trials[-1].config


@pytest.mark.parametrize("sampler", [each for each in SAMPLERS if each != "grid"])
def test_what_is_proposed_again_is_drawn_again_until_the_space_is_exhausted(sampler: str, tmp_path: Path) -> None:
    spec = make_spec(**FEW, trials=12, sampler=sampler, duplicate_trials="redraw")
    storage = MEMORY()
    studies = Studies("s", spec, tmp_path, "new", storage=storage)
    assert studies.exhausted == ["rnn: 4 trials, not 12: each point of its space once (duplicate_trials: redraw)"]
    running = [studies.ask(), studies.ask()]
    studies = Studies("s", spec, tmp_path, "resume", storage=storage)
    while trial := studies.ask():
        running.append(trial)
    proposed = [str(trial.hyperparameters) for trial in studies.trials()]
    assert len(proposed) == len(set(proposed)) == 4
    assert {each.repeats for each in studies.trials()} == {None}


@pytest.mark.parametrize("sampler", [each for each in SAMPLERS if each != "grid"])
def test_where_nothing_comes_twice_redrawing_changes_nothing(sampler: str, tmp_path: Path) -> None:
    def proposed(policy: str) -> list[Any]:
        spec = make_spec(architectures=["rnn"], sampler=sampler, trials=6, duplicate_trials=policy)
        studies = Studies("s", spec, tmp_path, "new", storage=MEMORY())
        run(studies)
        return [trial.hyperparameters for trial in studies.trials()]

    assert proposed("allow") == proposed("redraw")


def repeating(tmp_path: Path, scores: list[float], **changes: Any) -> Studies:
    """Two configurations in turn: the first, the second, the first again, ..."""
    spec = make_spec(**FEW | {"trials": len(scores), "sampler": "random"} | changes)
    studies = Studies("s", spec, tmp_path, "new", storage=MEMORY())
    points = [{"hidden_size": 8, "activation": "tanh"}, {"hidden_size": 16, "activation": "relu"}]
    study = studies._studies["rnn"]
    for place in range(len(scores)):
        study.optuna.enqueue_trial(points[place % 2])
    for score in scores:
        trial = studies.ask()
        assert trial is not None
        for epoch in range(1, 5):
            if not studies.report(trial, epoch_result(epoch, score), HERE):
                break
    return studies


def test_the_better_of_two_repetitions_never_ranks_alone(tmp_path: Path) -> None:
    studies = repeating(tmp_path, [0.9, 0.85, 0.7], pruner="none")
    trials = studies.trials()
    assert [trial.repeats for trial in trials] == [None, None, "rnn-0"]
    assert [trial.name for trial in studies.ranked("rnn")] == ["rnn-1", "rnn-0", "rnn-2"]
    assert ranking.best(trials, "val_accuracy").name == "rnn-1"
    assert ranking.best(trials, "val_accuracy", "s").name == "rnn-1"
    (found,) = ranking.shared(trials).values()
    assert (found.outcome, found.score, found.trials) == (Outcome.COMPLETE, pytest.approx(0.8), 2)


def test_the_live_table_shows_the_score_that_ranks(tmp_path: Path) -> None:
    trials = repeating(tmp_path, [0.9, 0.85, 0.7], pruner="none").trials()

    def shown(resumed: list[Trial], changed: list[Trial]) -> str:
        output = Console(width=200, file=io.StringIO())
        progress = Progress(output, "val_accuracy", Length(4), {"rnn": 3}, lambda: 1, resumed)
        for trial in changed:
            progress.changed(trial, trial.results[-1] if trial.outcome is Outcome.RUNNING else None)
        return str(progress._as_text()["text/plain"])

    first, second, repetition = trials
    assert "0.9000" in shown([], [first, second])
    again = dataclasses.replace(repetition, outcome=Outcome.RUNNING, best={"val_accuracy": 0.95})
    assert "0.9000" in shown([first, second], [again])  # a repetition counts once it has ended
    for resumed in range(4):
        assert "0.8500" in shown(trials[:resumed], trials[resumed:])
    assert "0.8700" in shown(trials, [dataclasses.replace(second, number=3, best={"val_accuracy": 0.87})])
    lost = dataclasses.replace(second, number=3, outcome=Outcome.DIVERGED, best={"val_accuracy": 0.99})
    assert "0.8500" in shown(trials, [lost])


def test_trials_are_ranked_alone_where_the_spec_says_so_or_is_older(tmp_path: Path) -> None:
    studies = repeating(tmp_path, [0.9, 0.85, 0.7], pruner="none", duplicate_trials="allow")
    assert [trial.name for trial in studies.ranked("rnn")] == ["rnn-0", "rnn-1", "rnn-2"]
    old = {key: value for key, value in make_spec().model_dump(mode="json").items() if key != "duplicate_trials"}
    assert specs.load(yaml.safe_dump(old), "spec.yaml").duplicate_trials == "allow"


def test_a_repetition_is_pruned_only_where_the_first_was(tmp_path: Path) -> None:
    studies = repeating(tmp_path, [0.9, 0.95, 0.5, 0.4])  # asha would end the last two at once
    assert [trial.outcome for trial in studies.trials()] == [Outcome.COMPLETE] * 4
    other = repeating(tmp_path, [0.9, 0.5, 0.8, 0.3])
    assert [trial.outcome for trial in other.trials()][1::2] == [Outcome.PRUNED] * 2


@pytest.mark.parametrize("lost", [Outcome.DIVERGED, Outcome.FAILED, Outcome.PRUNED])
def test_a_configuration_that_lost_a_seed_is_behind_those_that_lost_none(lost: Outcome, tmp_path: Path) -> None:
    first, other, again = repeating(tmp_path, [0.9, 0.6, 0.9], pruner="none").trials()
    again.outcome = lost
    better = ranking.order("val_accuracy", [first, other, again])
    assert sorted([first, again, other], key=better)[0] is other


def test_the_key_of_texts_is_not_that_of_trials() -> None:
    with pytest.raises(UserError, match="duplicate_trials: repeat"):
        make_spec(duplicates="repeat")
