"""Whatever happens to a search, in whatever order: a model says what its studies and MLflow have to hold.

Tune's part, which worker runs what, is played by the rules; they drive the same searcher, scheduler and callback.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mlflow.entities import RunStatus
from ray.exceptions import RayActorError
from ray.tune.schedulers import TrialScheduler

from data.base.errors import UserError
from search.base import locking, origin, schema
from search.base.names import config_name
from search.base.schema import Outcome
from search.prove.audit import audit, repair
from search.run import run
from search.run.confirm import confirmation
from search.run.folders import new_search
from search.run.state import outcome_of, reconcile
from search.spec import read as specs
from search.spec.read import read_spec
from search.study import study
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.track import tracking
from search.track.entities import STATUS
from search.track.recorded import read_runs
from search.track.tracking import Tracker
from search.train import checkpoints
from search.train.training import Result
from search.tune.answers import Answer
from search.tune.callback import StudyCallback
from search.tune.hosted import MEMBERS, SIZE
from search.tune.scheduler import StudyScheduler
from search.tune.searcher import StudySearcher
from tests.failing_calls import MlflowCalls

EPOCHS, RETRIES, MOST_TRIALS = 3, 1, 4
ROOM = {1: 3, 2: 2}  # workers, by the size of packs
SPEC = {"name": "any", "architectures": ["mlp", "gru"], "baselines": "none", "trials": 2, "epochs": EPOCHS}
SPEC |= {"pruner": "asha", "keep_checkpoints": "all", "retries": RETRIES, "seed": 5}
SCORES = st.sampled_from([0.25, 0.5, 0.625, 0.75])
WHICH = st.integers(0, 7)


@dataclasses.dataclass
class Expected:
    """What the model knows of a trial. scores: of each report, from the first. RUNNING: it goes on, now or later."""

    attempt: int = 0
    scores: list[float] = dataclasses.field(default_factory=list)
    outcome: Outcome = Outcome.RUNNING


@dataclasses.dataclass
class Member:
    """What a worker has of a trial. result: that of the last checkpoint; unsent: the driver has not been told of it by
    this worker."""

    config: dict[str, Any]
    result: Result | None
    unsent: bool


@dataclasses.dataclass
class Worker:
    """What Tune has of a trial of its own, which hosts some of ours. trial_id, error_file, pickled_error_file: what the
    searcher, the scheduler and the callback read of it."""

    trial_id: str
    size: int
    members: dict[str, Member]
    error_file: str | None = None
    pickled_error_file: str | None = None


class Driver:
    """The process that runs a search, from `resume` to its end or until it is killed."""

    def __init__(self, folder: Path, uri: str, new: bool = False) -> None:
        self.folder, self._held = folder, contextlib.ExitStack()
        self._held.enter_context(locking.hold(folder))
        try:
            locking.mend_journal(folder / JOURNAL)
            self.studies = Studies(folder.name, read_spec(folder), folder, "new" if new else "resume")
            self.studies.provenance = {schema.DATA_DIGEST: "d" * 64}
            checkpoints.prepare(folder, None)
            self.tracker = Tracker(uri, self.studies, note, new)
            origin.keep_uri(folder, uri)
            reconcile(self.studies, self.tracker)
        except BaseException:
            self.release()
            raise
        self.studies.listeners = (self.tracker,)
        self.room = ROOM[self.studies.spec.pack_size("mlp")]
        self.searcher = StudySearcher(self.studies, lambda: self.room)
        self.answers: dict[str, Answer] = {}
        self.scheduler = StudyScheduler(self.studies, self.searcher, give=self.answers.__setitem__)
        self.callback = StudyCallback(self.searcher)
        self.workers: list[Worker] = []
        self.again: set[str] = set()  # trials whose worker is gone, and that another is to go on with
        self.retries: Counter[str] = Counter()
        self.asked_all = False
        self._ids = itertools.count()

    def ask(self) -> Worker | None:
        tune_id = str(next(self._ids))
        config = self.searcher.suggest(tune_id)
        if not isinstance(config, dict):
            self.asked_all = config == StudySearcher.FINISHED
            return None
        self.workers.append(Worker(tune_id, config[SIZE], {}))
        for member in config[MEMBERS]:
            self._begin(self.workers[-1], member)
        return self.workers[-1]

    def _begin(self, worker: Worker, config: dict[str, Any]) -> None:
        folder = checkpoints.folder_of(self.folder, config_name(config))
        checkpoints.begin(folder, config[schema.ATTEMPT])
        saved = checkpoints.load_last(folder)
        result = Result.from_dict(saved["result"]) if saved else None
        worker.members[config_name(config)] = Member(config, result, unsent=bool(saved))

    def train(self, member: Member, score: float, diverged: bool = False) -> None:
        """Make the next report, and a checkpoint of it."""
        before = member.result
        step = before.step + 1 if before else 1
        metrics = {"val_accuracy": score, "val_loss": 1 / step}
        better = before is None or score > before.best["val_accuracy"]
        best_step, best = (step, metrics) if better or before is None else (before.best_step, before.best)
        curve = [(step, 0.5, 0.5)]
        problem = "the loss is nan" if diverged else None
        member.result = Result(step, metrics, curve, best_step, best, problem, float(step))
        member.unsent = True
        if not diverged:
            folder = checkpoints.folder_of(self.folder, config_name(member.config))
            attempt = member.config[schema.ATTEMPT]
            checkpoints.require_current(folder, attempt)
            checkpoints.save(folder, step, member.result.to_checkpoint(last=step == EPOCHS), attempt=attempt)

    def send(self, worker: Worker, name: str) -> list[str]:
        """Report a result; the names of the trials that join the pack then."""
        member = worker.members[name]
        member.unsent = False
        return self._tell(worker, {"reports": [(name, member.result, None)], "failures": []}, member)

    def fail(self, worker: Worker, name: str, error: Exception) -> list[str]:
        """Report what a member has raised beside others."""
        member = worker.members.pop(name)
        return self._tell(worker, {"reports": [], "failures": [(name, f"Traceback\n{error!r}\n")]}, member)

    def _tell(self, worker: Worker, told: dict[str, Any], member: Member) -> list[str]:
        told |= {"node_ip": "10.0.0.1", "pid": 7}
        told["provenance"] = (("cpu", f"attempt {member.config[schema.ATTEMPT]}"),)
        if self.scheduler.on_trial_result(None, worker, told) == TrialScheduler.STOP:
            self.workers.remove(worker)
            self.searcher.on_trial_complete(worker.trial_id, told)
            return []
        answer = self.answers.pop(worker.trial_id, Answer())
        assert worker.size > 1 or answer == Answer()
        for name in answer.left:
            del worker.members[name]
        for config in answer.joined:
            self._begin(worker, config)
        assert len(worker.members) <= worker.size
        return [config_name(config) for config in answer.joined]

    def lose(self, worker: Worker, error: Exception) -> None:
        path = self.folder / f"error-{worker.trial_id}"
        path.with_suffix(".txt").write_text(f"Traceback\n{error!r}\n")
        path.with_suffix(".pkl").write_bytes(pickle.dumps(error))
        worker.error_file, worker.pickled_error_file = f"{path}.txt", f"{path}.pkl"
        self.workers.remove(worker)
        self.searcher.on_trial_complete(worker.trial_id, error=True)
        self.callback.on_trial_error(0, [], worker)

    def end(self) -> bool:
        """Whether MLflow has everything."""
        self.studies.interrupt_all()
        outcome = outcome_of(self.studies)
        recorded = self.tracker.close(outcome) or self.tracker.close(outcome)
        self.release()
        return recorded

    def release(self) -> None:
        """What is left of it when it is killed."""
        self._held.close()


class Machine(RuleBasedStateMachine):
    """calls: of MLflow, which may fail. place: its database is there, and the searches of all examples."""

    num_examples = num_steps = 0

    def __init__(self, place: Path, calls: MlflowCalls) -> None:
        super().__init__()
        self.uri, self.calls = f"sqlite:///{place}/mlflow.db", calls
        self.client = mlflow.MlflowClient(tracking_uri=self.uri)
        self.expected: dict[str, Expected] = {}
        self.wanted = SPEC["trials"]
        self.failing = self.damaged = self.confirmed = False
        self.remade = False  # a run was damaged so that only a new one can take its place
        self.agrees = False  # MLflow is known to, as nobody has touched it since
        self.folder = place / f"any-{Machine.num_examples:06d}-{os.getpid()}"
        Machine.num_examples += 1
        self.driver: Driver | None = None

    @initialize(packing=st.sampled_from([*ROOM]))
    def start(self, packing: int) -> None:
        new_search(specs.validate(SPEC | {"packing": packing}), self.folder.parent).rename(self.folder)
        self.driver = Driver(self.folder, self.uri, new=True)
        self._ask()

    # --- The search

    @precondition(lambda self: self.driver and not self.driver.asked_all)
    @rule()
    def ask(self) -> None:
        for _ in range(self.driver.room):
            self._ask()

    def _ask(self) -> None:
        driver = self.driver
        if driver.asked_all:
            return
        busy = len(driver.workers) >= driver.room
        running = {name for worker in driver.workers for name in worker.members}
        waiting = {name for name, each in self.expected.items() if each.outcome is Outcome.RUNNING} - running
        new = [name for name in SPEC["architectures"] if self._count(name) < self.wanted]
        worker = driver.ask()
        if worker is None:
            assert busy or driver.studies.stopping or not (waiting or new), f"nothing is asked for of {waiting}, {new}"
            return
        assert not busy
        assert not driver.studies.stopping
        assert len({member.config[schema.ARCHITECTURE] for member in worker.members.values()}) == 1
        assert 1 <= len(worker.members) <= worker.size <= driver.studies.spec.pack_size("mlp")
        for name in worker.members:
            self._begun(worker, name, waiting)

    def _begun(self, worker: Worker, name: str, waiting: set[str]) -> None:
        """A worker begins with a trial. waiting: those that have begun before, and that no worker had."""
        driver, member = self.driver, worker.members[name]
        driver.again.discard(name)
        if name not in waiting:
            architecture = member.config[schema.ARCHITECTURE]
            assert name == f"{architecture}-{self._count(architecture)}"
            assert self._count(architecture) < self.wanted
            assert not waiting - driver.again - worker.members.keys(), "interrupted ones come first"
            self.expected[name] = Expected()
        expected = self.expected[name]
        expected.attempt += 1
        assert member.config[schema.ATTEMPT] == expected.attempt
        # The worker may be one report ahead of the driver, and never behind it.
        assert len(expected.scores) <= (member.result.step if member.result else 0) <= len(expected.scores) + 1

    def _count(self, architecture: str) -> int:
        return sum(name.startswith(f"{architecture}-") for name in self.expected)

    @precondition(lambda self: self.driver and self.driver.workers)
    @rule(which=WHICH, scores=st.lists(SCORES, min_size=1, max_size=EPOCHS), diverged=st.sampled_from([False, True]))
    def report(self, which: int, scores: list[float], diverged: bool) -> None:
        """One or several. diverged: with the third."""
        worker, name = self._member(which)
        for i, score in enumerate(scores):
            if worker in self.driver.workers and name in worker.members:
                self._report(worker, name, score, diverged and i == EPOCHS - 1)

    def _member(self, which: int) -> tuple[Worker, str]:
        found = [(worker, name) for worker in self.driver.workers for name in worker.members]
        return found[which % len(found)]

    def _report(self, worker: Worker, name: str, score: float, diverged: bool = False) -> None:
        """The next report of a trial; of one that goes on from a checkpoint first that one's."""
        driver, expected, member = self.driver, self.expected[name], worker.members[name]
        if not member.unsent and not (member.result and member.result.step == EPOCHS):
            driver.train(member, score, diverged)
        result = member.result
        known = len(expected.scores) >= result.step
        if not known:
            assert result.step == len(expected.scores) + 1
            expected.scores.append(result.metrics["val_accuracy"])
        self._joined(worker, driver.send(worker, name))
        (trial,) = (each for each in driver.studies.trials() if each.name == name)
        goes_on = any(each is worker and name in each.members for each in driver.workers)
        if result.diverged:
            expected.outcome = Outcome.DIVERGED
        elif result.step == EPOCHS:
            expected.outcome = Outcome.COMPLETE
        elif trial.outcome is Outcome.PRUNED:  # not that which is best of its architecture, at this report
            assert not known or result.step == len(expected.scores)
            number = slice(0, result.step)
            others = [max(each.scores[number]) for name, each in self._of(trial.architecture) if name != trial.name]
            assert max(expected.scores) < max(others)
            expected.outcome = Outcome.PRUNED
        else:
            assert goes_on is not driver.studies.stopping
        assert goes_on is (expected.outcome is Outcome.RUNNING and not driver.studies.stopping)

    def _joined(self, worker: Worker, names: list[str]) -> None:
        assert not names or len(self.driver.workers) == self.driver.room, "an idle worker comes first"
        for name in names:
            self._begun(worker, name, {name for name in names if name in self.expected})

    def _of(self, architecture: str) -> Iterator[tuple[str, Expected]]:
        return ((name, each) for name, each in self.expected.items() if name.startswith(architecture) and each.scores)

    @precondition(lambda self: self.driver and self.driver.workers)
    @rule(which=WHICH, how=st.sampled_from(["raises", "dies", "loses its node"]), ahead=st.booleans(), score=SCORES)
    def lose_worker(self, which: int, how: str, ahead: bool, score: float) -> None:
        """ahead: it has written a checkpoint that it did not report."""
        driver, (worker, name) = self.driver, self._member(which)
        member = worker.members[name]
        if ahead and not member.unsent and not (member.result and member.result.step == EPOCHS):
            driver.train(member, score)
        lost = how == "loses its node"
        error = RuntimeError("broken") if how == "raises" else RayActorError("ab" if lost else None, preempted=lost)
        if how == "raises" and len(worker.members) > 1:
            names = [name]  # and the others go on
            joined = driver.fail(worker, name, error)
        else:
            names, joined = [*worker.members], []
            driver.lose(worker, error)
        for each in names:
            if lost or driver.retries[each] < RETRIES:
                driver.retries[each] += not lost
                driver.again.add(each)
            else:
                self.expected[each].outcome = Outcome.FAILED
                (trial,) = (trial for trial in driver.studies.trials() if trial.name == each)
                assert trial.error == repr(error)
        self._joined(worker, joined)

    @precondition(lambda self: self.driver and not self.failing)
    @rule(which=WHICH, back=st.integers(0, EPOCHS))
    def report_again(self, which: int, back: int) -> None:
        """What a trial reported before comes again, of one that has ended, too: it changes nothing."""
        trials = [trial for trial in self.driver.studies.trials() if trial.results]
        if trials:
            trial = trials[which % len(trials)]
            if trial.outcome is not Outcome.RUNNING:
                self.driver.studies.report(trial, trial.results[-1 - back % len(trial.results)], trial.worker)

    # --- Its driver

    @precondition(lambda self: self.driver)
    @rule()
    def stop(self) -> None:
        self.driver.studies.stop()

    @precondition(lambda self: self.driver)
    @rule()
    def end_driver(self) -> None:
        recorded, self.driver = self.driver.end(), None
        assert recorded or self.failing or self.damaged  # as its own run was deleted
        self.agrees = recorded and not self.failing and not self.damaged
        self._require_saved()

    @precondition(lambda self: self.driver)
    @rule()
    def kill_driver(self) -> None:
        self.driver.release()
        self.driver = None
        self._require_saved()

    @precondition(lambda self: self.driver)
    @rule(which=WHICH, what=st.sampled_from(["ask", "report", "lose"]), score=SCORES, share=st.floats(0, 1))
    def kill_driver_while_it_writes(self, which: int, what: str, score: float, share: float) -> None:
        """Only a share of what an event adds to the journal is there, which may end within a line."""
        driver, journal = self.driver, self.folder / JOURNAL
        before, size = self._copy(), journal.stat().st_size
        driver.studies.listeners = ()
        if what == "ask" and not driver.asked_all:
            self._ask()
        elif what != "ask" and driver.workers:
            if what == "report":
                self._report(*self._member(which), score)
            else:
                self.lose_worker(which=which, how="raises", ahead=False, score=score)
        added = journal.stat().st_size - size
        os.truncate(journal, size + int(share * added))
        driver.release()
        self.driver = None
        after, self.expected = self.expected, {}
        for trial in self._read():
            found = Expected(trial.attempt, [each.metrics["val_accuracy"] for each in trial.results], trial.outcome)
            first, last = before.get(trial.name, Expected()), after[trial.name]
            assert found.attempt in (first.attempt, last.attempt)
            assert found.scores in (first.scores, last.scores)
            assert found.outcome in (first.outcome, last.outcome)
            self.expected[trial.name] = found
        assert before.keys() <= self.expected.keys() <= after.keys()
        for name in after.keys() - self.expected.keys():  # no worker begins with a trial before the journal has it
            shutil.rmtree(checkpoints.folder_of(self.folder, name), ignore_errors=True)

    def _copy(self) -> dict[str, Expected]:
        return {name: dataclasses.replace(each, scores=[*each.scores]) for name, each in self.expected.items()}

    def _read(self) -> list[Any]:
        return Studies(self.folder.name, read_spec(self.folder), self.folder).trials()

    @precondition(lambda self: not self.driver)
    @rule(extended=st.booleans())
    def resume(self, extended: bool) -> None:
        if extended and self.wanted < MOST_TRIALS:
            locking.mend_journal(self.folder / JOURNAL)
            run._extend(
                Studies(self.folder.name, read_spec(self.folder), self.folder), self.folder, self.wanted + 1, ""
            )
            self.wanted += 1
        self.agrees = False
        with contextlib.suppress(*[UserError] if self.failing else []):
            self.driver = Driver(self.folder, self.uri)

    # --- MLflow

    @precondition(lambda self: not self.failing)
    @rule(n=st.integers(1, 12), fault=st.sampled_from(["refused", "done but unanswered", "away from then on"]))
    def fail(self, n: int, fault: str) -> None:
        """MLflow's n-th call from now on."""
        self.calls.arm(Path(), n, MlflowCalls.faults[fault])
        self.failing = True

    @precondition(lambda self: self.failing)
    @rule()
    def answer(self) -> None:
        self.calls.disarm()
        self.failing = False

    @precondition(lambda self: not self.failing)
    @rule(which=WHICH, damage=st.deferred(lambda: st.sampled_from(DAMAGES)))
    def damage(self, which: int, damage: "Callable[[Machine, Any], object]") -> None:
        runs = self._runs(self.folder.name)
        if runs:
            damage(self, runs[which % len(runs)])
            self.damaged = True
            self.remade |= damage not in MENDED
            if self.driver is None and self.agrees:
                assert audit(self.folder, self.uri), "it says that all agree"
            self.agrees = False

    def _runs(self, search: str) -> list[Any]:
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        return sorted(
            self.client.search_runs(experiments, f"tags.`{schema.SEARCH}` = '{search}'"),
            key=lambda run: (run.data.tags[schema.KIND], run.data.tags.get(schema.TRIAL, ""), run.info.run_id),
        )

    @precondition(lambda self: not self.driver)
    @rule()
    def repair(self) -> None:
        before = {trial.name: trial.run_id for trial in self._read() if trial.run_id}
        with locking.hold(self.folder):
            locking.mend_journal(self.folder / JOURNAL)
            try:
                repair(self.folder, self.uri, note)
            except UserError:
                assert self.failing
        if not self.failing:
            self.damaged, self.agrees = False, True
            self.audit()
            self._require_recorded()
            after = {trial.name: trial.run_id for trial in self._read()}
            assert self.remade or before.items() <= after.items(), "runs that were right have been made again"
            self.remade = False

    @precondition(lambda self: not self.driver and not self.failing)
    @rule()
    def audit(self) -> None:
        journal = (self.folder / JOURNAL).read_bytes()
        lines = audit(self.folder, self.uri)
        assert not (self.agrees and lines), lines
        assert (self.folder / JOURNAL).read_bytes() == journal

    @precondition(lambda self: not self.driver and not self.failing and not self.confirmed)
    @rule()
    def confirm(self) -> None:
        """A confirmation repeats the best configurations, and leaves the search as it is."""
        complete = {name: e for name, e in self.expected.items() if e.outcome is Outcome.COMPLETE}
        if not complete:
            with pytest.raises(UserError, match="has no complete trial to confirm"):
                confirmation(self.folder, 1, 1, [])
            return
        self.confirmed = True
        spec = confirmation(self.folder, 1, 1, [])
        for architecture in SPEC["architectures"]:
            scores = {name: max(e.scores) for name, e in complete.items() if name.startswith(architecture)}
            chosen = list(spec.configurations.get(architecture, {})) if scores else []
            assert [scores[name] for name in chosen] == ([max(scores.values())] if scores else [])
        folder = self.folder.parent / f"{self.folder.name}-confirm"
        new_search(spec, self.folder.parent).rename(folder)
        driver = Driver(folder, self.uri, new=True)
        while worker := driver.ask():
            while worker in driver.workers:
                name = next(iter(worker.members))
                driver.train(worker.members[name], 0.5)
                driver.send(worker, name)
        assert driver.end()
        assert audit(folder, self.uri) == []
        assert read_runs(self.uri, folder.name).outcome == Outcome.COMPLETE

    # --- What has to hold

    @invariant()
    def studies_are_as_expected(self) -> None:
        Machine.num_steps += 1
        if self.driver:
            self._require(self.driver.studies)

    def _require_saved(self) -> None:
        self._require(Studies(self.folder.name, read_spec(self.folder), self.folder))

    def _require(self, studies: Studies) -> None:
        found = {
            trial.name: Expected(trial.attempt, [each.metrics["val_accuracy"] for each in trial.results], trial.outcome)
            for trial in studies.trials()
        }
        assert found == self.expected
        for trial in studies.trials():
            assert [each.step for each in trial.results] == [*range(1, len(trial.results) + 1)]
            assert trial.score == max(self.expected[trial.name].scores, default=None)
            times = [trial.started, *(each.time for each in trial.results), trial.ended or trial.last_event]
            assert times == sorted(times, key=lambda time: time or 0)
        ended = sum(each.outcome is not Outcome.RUNNING for each in found.values())
        assert studies.num_owed == 2 * self.wanted - ended

    def _require_recorded(self) -> None:
        """What MLflow has of a search that nobody runs, read without what the audit reads it with."""
        found = self._runs(self.folder.name)
        own, *more = [run for run in found if run.data.tags[schema.KIND] == schema.KIND_SEARCH]
        assert not more
        runs = {run.data.tags[schema.TRIAL]: run for run in found if run is not own}
        started = {name: each for name, each in self.expected.items() if each.attempt}
        assert sorted(runs) == sorted(started)
        assert len(runs) == len(found) - 1
        for name, expected in started.items():
            run, data = runs[name], runs[name].data
            outcome = Outcome.INTERRUPTED if expected.outcome is Outcome.RUNNING else expected.outcome
            assert (data.tags[schema.OUTCOME], run.info.status) == (outcome, STATUS[outcome])
            assert data.tags[schema.ATTEMPT] == str(expected.attempt)
            assert data.tags[schema.PARENT_RUN_ID] == own.info.run_id
            assert (schema.ERROR in data.tags) is (outcome in (Outcome.FAILED, Outcome.DIVERGED))
            points = sorted(self.client.get_metric_history(run.info.run_id, "val_accuracy"), key=lambda p: p.step)
            assert [(p.step, p.value) for p in points] == [*enumerate(expected.scores, 1)]
            assert data.metrics.get(schema.EPOCHS_RUN, 0) == len(expected.scores)

    def teardown(self) -> None:
        """In the end somebody goes on with it until nothing is owed, and MLflow answers."""
        self.calls.disarm()
        self.failing = False
        if self.driver:
            self.end_driver()
        self.resume(extended=False)
        while not self.driver.asked_all:
            self._ask()
            for worker in [*self.driver.workers]:
                for name in [*worker.members]:
                    self._report(worker, name, 0.5)
        self.end_driver()
        assert Counter(name.split("-")[0] for name in self.expected) == {"mlp": self.wanted, "gru": self.wanted}
        assert all(each.outcome is not Outcome.RUNNING for each in self.expected.values())
        self.repair()  # which changes nothing where all is as it should be
        shutil.rmtree(self.folder)


def delete(machine: Machine, run: Any) -> None:
    machine.client.delete_run(run.info.run_id)


def purge(machine: Machine, run: Any) -> None:
    delete(machine, run)
    machine.client._tracking_client.store._hard_delete_run(run.info.run_id)


def delete_own(machine: Machine, run: Any) -> None:
    delete(machine, own_of(machine))


def purge_own(machine: Machine, run: Any) -> None:
    purge(machine, own_of(machine))


def own_of(machine: Machine) -> Any:
    return next(
        (run for run in machine._runs(machine.folder.name) if run.data.tags[schema.KIND] == schema.KIND_SEARCH),
        machine._runs(machine.folder.name)[0],
    )


def leave_running(machine: Machine, run: Any) -> None:
    """As one that was resumed elsewhere and killed there: its tag says so, too."""
    machine.client.set_tag(run.info.run_id, schema.OUTCOME, Outcome.RUNNING)
    machine.client.update_run(run.info.run_id, status="RUNNING")


def duplicate(machine: Machine, run: Any) -> Any:
    tags = {key: tag for key, tag in run.data.tags.items() if not key.startswith("mlflow.") or "parent" in key}
    copy = machine.client.create_run(run.info.experiment_id, run.info.start_time, tags)
    for name, value in run.data.params.items():
        machine.client.log_param(copy.info.run_id, name, value)
    machine.client.set_terminated(copy.info.run_id, run.info.status, run.info.end_time)
    return copy


def lose_metrics(machine: Machine, run: Any) -> None:
    """It is made again from its tags and parameters, without its metrics."""
    duplicate(machine, run)
    purge(machine, run)


def move(machine: Machine, run: Any) -> None:
    own = run.data.tags[schema.KIND] == schema.KIND_SEARCH
    machine.client.set_tag(run.info.run_id, schema.OUTCOME if own else schema.PARENT_RUN_ID, "f" * 32)


def end_later(machine: Machine, run: Any) -> None:
    """Of the search's own run the end says nothing, but its status does."""
    if run.data.tags[schema.KIND] == schema.KIND_SEARCH:
        machine.client.set_tag(run.info.run_id, schema.SPEC_PREFIX + "trials", "77")
    else:
        machine.client.set_terminated(run.info.run_id, RunStatus.to_string(4), run.info.start_time - 1)


def report_later(machine: Machine, run: Any) -> None:
    if run.data.tags[schema.KIND] == schema.KIND_SEARCH:
        move(machine, run)
    else:
        machine.client.log_metric(run.info.run_id, schema.EPOCHS_RUN, 17.0, timestamp=origin.now_ms(), step=17)


def add_trial(machine: Machine, run: Any) -> None:
    """One of no trial that the studies know."""
    copy = duplicate(machine, run)
    machine.client.set_tag(copy.info.run_id, schema.KIND, schema.KIND_TRIAL)
    machine.client.set_tag(copy.info.run_id, schema.TRIAL, "mlp-77")


DAMAGES = [
    delete, purge, delete_own, purge_own, leave_running, duplicate, lose_metrics, move, end_later, report_later,
    add_trial,
]  # fmt: skip


#: What needs no new run of a trial.
MENDED = [delete, delete_own, purge_own, leave_running, move, end_later, add_trial]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    at = itertools.count(origin.now_ms() - 10**9, 60_000)  # no time of delivery is one of an event
    monkeypatch.setattr(study, "now_ms", functools.partial(next, at))
    return tmp_path


@pytest.fixture
def calls() -> Iterator[MlflowCalls]:
    before = dict(vars(mlflow.MlflowClient))
    yield MlflowCalls()
    for name in {*vars(mlflow.MlflowClient)} - {*before}:
        delattr(mlflow.MlflowClient, name)
    for name, method in before.items():
        if callable(method) and not name.startswith("_"):
            setattr(mlflow.MlflowClient, name, method)


def explore(place: Path, calls: MlflowCalls, num_examples: int, num_steps: int, **options: Any) -> None:
    Machine.num_examples = Machine.num_steps = 0
    try:
        run_state_machine_as_test(
            lambda: Machine(place, calls),
            settings=settings(
                max_examples=num_examples, stateful_step_count=num_steps, deadline=None, database=None,
                suppress_health_check=list(HealthCheck), **options,
            ),
        )  # fmt: skip
    finally:
        print(f"{Machine.num_examples} examples, {Machine.num_steps} steps")


def test_whatever_happens_nothing_is_lost_or_doubled(place: Path, calls: MlflowCalls) -> None:
    explore(place, calls, 7, 25, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whatever_happens_for_long_nothing_is_lost_or_doubled(place: Path, calls: MlflowCalls) -> None:
    examples = os.environ.get("BAKEOFF_EXAMPLES")
    # Without that variable the same ones each time: who looks for new ones says how many.
    explore(place, calls, int(examples or 40), 40, print_blob=True, derandomize=not examples)
