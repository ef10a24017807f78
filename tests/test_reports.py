"""Reports within an epoch, and trials that end when patience does."""

import contextlib
import copy
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from conftest import command
from test_faults import (
    LONG,
    assert_finished_as_if_nothing_had_happened,
    the_search,
    trials_of,
    uri_of,
    wait_for_epochs,
    workers_of,
)
from test_faults import start as start_search
from test_search_studies import HERE
from test_search_training import TRAIN, make_model, numbers, run, start

from analysis.base import runs
from search.base import schema
from search.base.schema import Outcome
from search.prove.audit import audit
from search.run import plan
from search.run.folders import new_search
from search.run.simulation import simulate
from search.spec import read as specs
from search.spec.read import load_corpus, read_spec
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.tracking import Tracker
from search.train.config import length_of
from search.train.length import Length
from search.train.training import Result
from search.tune.worker import WORTH_SAVING, pays


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


# --- Training. TRAIN has 100 texts: seven batches of 16 an epoch.


@pytest.mark.parametrize("per_epoch", [2, 3, 7])
def test_how_often_it_reports_changes_nothing_that_is_learned(per_epoch: int) -> None:
    changes = {"epochs": 2, "schedule": "linear", "word_dropout": 0.2, "averaging": 0.9}
    once, often = run(**changes), run(reports_per_epoch=per_epoch, **changes)
    assert [result.step for result in often] == list(range(1, 2 * per_epoch + 1))
    ends = often[per_epoch - 1 :: per_epoch]
    for name in ("val_loss", "val_accuracy", "val_f1", "learning_rate"):
        assert [result.metrics[name] for result in ends] == [result.metrics[name] for result in once]
    for one, other in zip(once, ends, strict=True):
        assert one.state["shuffler"].equal(other.state["shuffler"])
    last, last_often = once[-1].state["model"], often[-1].state["model"]
    assert all(last[name].equal(last_often[name]) for name in last)


def test_the_training_numbers_of_a_report_are_those_since_the_last_one() -> None:
    (whole,) = run(epochs=1)
    parts = run(epochs=1, reports_per_epoch=3)
    texts = [2 * 16, 2 * 16, 2 * 16 + 4]  # of two, two and three batches, of which the last has four texts
    assert sum(texts) == len(TRAIN)
    for name in ("train_loss", "train_accuracy"):
        mean = sum(num * part.metrics[name] for num, part in zip(texts, parts, strict=True)) / len(TRAIN)
        assert whole.metrics[name] == pytest.approx(mean, rel=1e-5)
    assert [iteration for part in parts for iteration, _, _ in part.curve] == [2, 4, 6]


def test_the_score_is_the_best_report_and_test_is_measured_with_its_weights() -> None:
    changes = {"epochs": 2, "reports_per_epoch": 7, "learning_rate": 0.05, "seed": 1}
    results = run(**changes)
    scores = [result.metrics["val_accuracy"] for result in results]
    last = results[-1]
    assert last.best_step == scores.index(max(scores)) + 1
    assert last.best_step % 7, "choose a seed whose best report is within an epoch"
    assert ["test_accuracy" in result.best for result in results] == [False] * 13 + [True]
    best = next(result for result in start(**changes) if result.step == last.best_step)
    kept = last.state["best_weights"]
    assert all(kept[name].equal(tensor) for name, tensor in best.state["model"].items())


@pytest.mark.parametrize("stop_after", range(1, 8))
def test_a_trial_that_is_killed_within_an_epoch_goes_on_to_the_same_numbers(stop_after: int) -> None:
    changes = {"epochs": 2, "reports_per_epoch": 4, "word_dropout": 0.2, "schedule": "linear"}
    whole = run(**changes)
    state = next(copy.deepcopy(result.state) for result in start(**changes) if result.step == stop_after)
    torch.randn(3)  # another trial used the process in between
    rest = run(make_model(seed=99), state=state, **changes)
    assert numbers(rest) == numbers(whole[stop_after:])


def test_an_epoch_has_no_more_reports_than_batches() -> None:
    small = {"corpus": "rotten-tomatoes", "vectors": "glove.6B.50d", "limit": 200, "space": {"batch_size": [8, 16]}}
    corpus = load_corpus(specs.validate(spec_of(reports_per_epoch=10, **small)), to_train=True)
    assert len(corpus.train) == 160
    for wanted, given in ((9, 9), (10, 10), (11, 10)):
        assert (
            specs.fitted(specs.validate(spec_of(reports_per_epoch=wanted, **small)), corpus).reports_per_epoch == given
        )


@pytest.mark.parametrize("per_epoch", [1, 3])
def test_patience_ends_a_trial_with_its_test_numbers(per_epoch: int) -> None:
    changes = {"epochs": 20, "reports_per_epoch": per_epoch, "learning_rate": 0.05}
    results = run(patience=2, **changes)
    scores = [result.metrics["val_accuracy"] for result in run(**changes)]
    best = next(i for i in range(len(scores)) if max(scores[i + 1 : i + 3]) <= max(scores[: i + 1]) == scores[i])
    assert len(results) == best + 1 + 2 < 20 * per_epoch
    last = results[-1]
    assert (last.best_step, last.best["val_accuracy"]) == (best + 1, scores[best])
    assert "test_accuracy" in last.best
    assert last.test_outputs_N is not None
    assert all(result.test_outputs_N is None for result in results[:-1])
    assert run(make_model(), patience=2, state=copy.deepcopy(last.state), **changes) == []  # nothing is left to do


# --- How long a trial is


def test_lengths_by_hand() -> None:
    length = Length(3, reports_per_epoch=4, patience=5)
    assert length.num_reports == 12
    assert [length.iteration(step, 10) for step in range(9)] == [0, 2, 5, 7, 10, 12, 15, 17, 20]
    assert [length.over(step, 2) for step in (6, 7, 8)] == [False, True, True]
    assert [length.out_of_patience(step, 7) for step in (11, 12)] == [False, False]  # after 12 no epoch is left
    assert length.over(12, 7)
    assert length_of("gru", length) == length


def test_a_checkpoint_within_an_epoch_is_written_only_where_much_would_be_lost() -> None:
    length = Length(2, reports_per_epoch=4, patience=3)

    def result(step: int, best_step: int = 0) -> Result:
        return Result(step, {}, [], best_step or step, {}, None, 0.0)

    assert [pays(length, result(step), 1.0) for step in range(1, 9)] == [False, False, False, True] * 2
    assert pays(length, result(1), WORTH_SAVING)
    assert pays(length, result(5, best_step=2), 1.0)  # the trial's last one


# --- Studies


def spec_of(**changes: Any) -> dict[str, Any]:
    small = {"name": "parts", "architectures": ["mlp"], "epochs": 2, "reports_per_epoch": 4, "pruner": "none"}
    return small | {"trials": 3, "sampler": "random", "baselines": [], "duplicate_trials": "allow"} | changes


def said(step: int, score: float, best_step: int | None = None, **more: Any) -> Result:
    """A report whose best one is another one, or itself."""
    best = {"val_accuracy": score, "val_loss": 1 - score}
    return Result(step, dict(best), [], step if best_step is None else best_step, best | more, None, 0.5 * step)


def ask(studies: Studies) -> Trial:
    trial = studies.ask()
    assert trial
    return trial


def test_a_doomed_trial_ends_after_a_quarter_of_an_epoch(tmp_path: Path) -> None:
    studies = Studies("s", specs.validate(spec_of(pruner="asha")), tmp_path, "new")
    good, doomed = ask(studies), ask(studies)
    for step in range(1, 9):
        assert studies.report(good, said(step, 0.9), HERE) == (step < 8)
    assert not studies.report(doomed, said(1, 0.5), HERE)
    assert (good.outcome, good.epochs, good.best_epoch, good.ended_by) == (Outcome.COMPLETE, 2.0, 2.0, None)
    assert (doomed.outcome, doomed.epochs, doomed.step) == (Outcome.PRUNED, 0.25, 1)
    again = Studies("s", studies.spec, tmp_path).trials()
    assert [(trial.epochs, trial.best_epoch, trial.step) for trial in again] == [(2.0, 2.0, 8), (0.25, 0.25, 1)]


@pytest.mark.parametrize(("per_epoch", "passes"), [(1, False), (4, True)])
def test_the_better_half_passes_after_a_part_of_an_epoch_and_a_third_after_a_whole_one(
    per_epoch: int, passes: bool, tmp_path: Path
) -> None:
    studies = Studies(
        "s", specs.validate(spec_of(pruner="asha", trials=4, reports_per_epoch=per_epoch)), tmp_path, "new"
    )
    for score in (0.9, 0.6, 0.7):
        studies.report(ask(studies), said(1, score), HERE)
    assert studies.report(ask(studies), said(1, 0.8), HERE) == passes


def test_reports_that_are_sent_again_count_once_and_are_not_pruned(tmp_path: Path) -> None:
    """A worker that goes on from the last checkpoint repeats what came after it."""
    studies = Studies("s", specs.validate(spec_of(pruner="median", trials=4)), tmp_path, "new")
    slow, *others = (ask(studies) for _ in range(4))
    for step in range(1, 4):
        assert studies.report(slow, said(step, 0.5), HERE)
    for step in range(1, 9):
        for other in others:
            studies.report(other, said(step, 0.9), HERE)
    assert studies.report(slow, said(1, 0.5), HERE)
    assert studies.report(slow, said(2, 0.5), HERE)
    assert [result.step for result in slow.results] == [1, 2, 3]
    assert not studies.report(slow, said(3, 0.5), HERE)  # the driver may have died before it asked the pruner
    assert slow.outcome is Outcome.PRUNED


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search in MLflow: a trial that made all reports, one that patience ended, one that was pruned."""
    tmp_path = tmp_path_factory.mktemp("recorded")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = new_search(specs.validate(spec_of(patience=3, keep_checkpoints="best")), tmp_path)
    studies = Studies(folder.name, read_spec(folder), folder, "new")
    studies.provenance = {"data_digest": "d" * 64}
    with contextlib.chdir(tmp_path):  # where artifacts go
        tracker = Tracker(uri, studies)
    studies.listeners = [tracker]
    whole, impatient, pruned = ask(studies), ask(studies), ask(studies)
    for step in range(1, 9):
        studies.report(whole, said(step, 0.5 + step / 100), HERE)
    for step in range(1, 6):
        studies.report(impatient, said(step, 0.8, min(step, 2), **({"test_accuracy": 0.7} if step == 5 else {})), HERE)
    studies.report(pruned, said(1, 0.3), HERE)
    studies.finish(pruned, Outcome.PRUNED)
    tracker.close(Outcome.COMPLETE)
    return folder, uri


def copy_of(uri: str, folder: Path) -> str:
    """A database that may be written to."""
    return f"sqlite:///{shutil.copy(uri.removeprefix('sqlite:///'), folder)}"


def test_patience_makes_a_trial_complete_and_says_so(recorded: tuple[Path, str], tmp_path: Path) -> None:
    folder, uri = recorded[0], copy_of(recorded[1], tmp_path)
    whole, impatient, pruned = Studies(folder.name, read_spec(folder), folder).trials()
    assert (impatient.outcome, impatient.ended_by) == (Outcome.COMPLETE, "patience")
    assert (impatient.epochs, impatient.best_epoch) == (1.25, 0.5)
    assert (whole.ended_by, pruned.ended_by) == (None, None)
    ranked = Studies(folder.name, read_spec(folder), folder).ranked("mlp")
    assert [trial.name for trial in ranked] == ["mlp-1", "mlp-0"]
    tags = [mlflow.MlflowClient(uri).get_run(trial.run_id or "").data.tags for trial in (whole, impatient)]
    assert [each.get(schema.ENDED_BY) for each in tags] == [None, "patience"]
    assert audit(folder, uri) == []
    mlflow.MlflowClient(uri).delete_tag(impatient.run_id or "", schema.ENDED_BY)
    assert audit(folder, uri) == ["mlp-1: ended by patience, its run says nothing"]


def test_mlflow_counts_reports_and_says_how_many_epochs_each_is(recorded: tuple[Path, str]) -> None:
    folder, uri = recorded
    trials = Studies(folder.name, read_spec(folder), folder).trials()
    client = mlflow.MlflowClient(uri)
    history = client.get_metric_history(trials[0].run_id or "", schema.EPOCHS_RUN)
    assert [(point.step, point.value) for point in history] == [(step, step / 4) for step in range(1, 9)]
    known = [dataclass_without_results(trial) for trial in trials]
    assert runs.read_records(uri, [runs.find_search(uri, folder.name)]) == known


def dataclass_without_results(trial: Trial) -> Trial:
    trial = copy.copy(trial)
    trial.results = []
    return trial


def test_a_run_that_lacks_reports_is_given_them_once(recorded: tuple[Path, str], tmp_path: Path) -> None:
    folder, uri = recorded[0], copy_of(recorded[1], tmp_path)
    studies = Studies(folder.name, read_spec(folder), folder, "resume")
    (trial, *_) = studies.trials()
    mlflow.MlflowClient(uri).log_metric(trial.run_id or "", schema.EPOCHS_RUN, 1.25, step=9)  # as if it had five
    tracker = Tracker(uri, studies)
    assert tracker.sync(trial)
    assert not tracker.sync(trial)
    history = mlflow.MlflowClient(uri).get_metric_history(trial.run_id or "", "val_accuracy")
    assert sorted(point.step for point in history) == [*range(1, 9)]  # at the time of its event each is one point


@pytest.mark.slow
def test_a_worker_that_is_killed_within_an_epoch_repeats_it_to_the_same_numbers(tmp_path: Path) -> None:
    process = start_search(tmp_path, *LONG, "--set", "reports_per_epoch=10", "--set", "trials=1")
    wait_for_epochs(tmp_path, 10, process)
    workers_of(process)[0].kill()
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    folder = the_search(tmp_path)
    assert_finished_as_if_nothing_had_happened(folder, uri_of(tmp_path))
    trials = trials_of(folder)
    assert sorted(trial.attempt for trial in trials) == [1, 2]
    assert [len(trial.results) for trial in trials] == [250, 250]
    (killed,) = [trial.name for trial in trials if trial.attempt == 2]
    done = command("search", "replay", f"{folder.name}:{killed}", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f"{killed}: equal", done.stdout + done.stderr


# --- Analysis


def test_the_table_of_trials_has_fractions_of_epochs_only_where_there_are_some(recorded: tuple[Path, str]) -> None:
    folder, uri = recorded
    frame = runs.read_trials(uri, folder.name)
    assert frame["epochs_run"].tolist() == [2.0, 1.25, 0.25]
    assert frame["best_epoch"].tolist() == [2.0, 0.5, 0.25]
    whole = runs.tidy([{"epochs_run": 2.0, "best_epoch": 1.0}, {"epochs_run": None}])
    assert (str(whole["epochs_run"].dtype), str(whole["best_epoch"].dtype)) == ("Int64", "Int64")


def test_curves_of_any_number_of_reports_are_laid_over_each_other() -> None:
    rows = [("often", "epochs_run", step, step / 4) for step in (1, 2, 3)]
    rows += [("often", "val_loss", step, 0.5) for step in (1, 2)]  # the third diverged
    rows += [("once", "val_loss", step, 0.4) for step in (1, 2)]
    series = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"]).astype({"step": "Int64"})
    found = runs.in_epochs(series)
    assert found["metric"].tolist() == ["val_loss"] * 4
    assert found["step"].tolist() == [0.25, 0.5, 1.0, 2.0]
    only = series[series["run_id"] == "once"]
    pd.testing.assert_frame_equal(runs.in_epochs(only), only)


# --- The plan


def test_a_plan_prunes_at_reports() -> None:
    spec = specs.validate(spec_of(pruner="asha"))
    steps = {each.reports for ran in simulate(spec, 20) for each in ran}
    assert steps <= set(range(1, 9))
    assert min(steps) == 1
    cost = {"mlp": plan.Cost(10, 14, 4e6, 1e6, 20)}
    unpruned = plan.predict(spec.model_copy(update={"pruner": "none"}), {"mlp": 2}, cost, 1, 0.0)
    assert unpruned.trial_seconds == 2 * (7 * 10 + 14)
