"""The Tune trainable, which a Ray worker runs to train a pack of trials of any architecture.

Workers are reused, and a process keeps its random state, thread counts and module globals between trials, so every
trial sets these itself.
"""

import contextlib
import dataclasses
import functools
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import tune

import models
from data.base.errors import in_short
from data.encoded import EncodedCorpus
from search.base import schema
from search.base.names import config_name
from search.track.provenance import of_worker
from search.train import checkpoints
from search.train.calibrating import reliability_rows
from search.train.checkpoints import Folder
from search.train.config import length_of
from search.train.device import device_of
from search.train.length import Length
from search.train.lockstep import Lockstep
from search.train.pack import Failure, Pack
from search.train.running import Setting, predictions_csv, trial_in_steps
from search.train.stepping import Steps, mapped
from search.train.tasks import task_of
from search.train.training import Result
from search.tune import answers
from search.tune.answers import Answer
from search.tune.hosted import MEMBERS, SIZE

WORTH_SAVING = 10.0  # seconds of training that another worker would have to repeat


Corpora = Mapping[str, "ray.ObjectRef[EncodedCorpus]"]  # by fold; WHOLE if the texts are split once

WHOLE = ""

Report = tuple[Result, str | None]  # with the reason why no checkpoint could be written, else None


def trainable(config: dict[str, Any], corpora: Corpora, setting: Setting) -> None:
    """Train and report a pack of trials, each on the corpus of its fold and from its last checkpoint, if any."""
    device = device_of(setting.gpu)
    tags = tuple(of_worker(device).items())  # Tune would spread a dict over the report
    tune_id = tune.get_context().get_trial_id()

    def tell(reported: dict[str, Any]) -> Answer:
        # This call raises SystemExit when the whole pack is to end: nothing here may catch it.
        tune.report(reported | {"provenance": tags})
        return answers.take(tune_id) if config[SIZE] > 1 else Answer()

    # On a CPU, lockstep would save no time, and its rounding differs from that of trials trained alone.
    pack: Pack[Report] = Pack(Lockstep() if device.type == "cuda" else None)
    train_pack(pack, config[MEMBERS], functools.cache(lambda fold: ray.get(corpora[fold])), setting, tell)


def train_pack(
    pack: Pack[Report],
    members: Sequence[dict[str, Any]],
    corpus_of: Callable[[str], EncodedCorpus],
    setting: Setting,
    tell: Callable[[dict[str, Any]], Answer],
) -> None:
    """Train these trials, and those that join them, together until all have ended.

    corpus_of: returns the corpus of a fold. tell: receives `reports` as (name, result, problem with the files or None)
    and `failures` as (name, traceback), and returns which trials end and which join. If the last remaining trial fails,
    its exception is raised.
    """

    def join(member: dict[str, Any]) -> None:
        corpus = corpus_of(member.get(schema.FOLD, WHOLE))
        pack.join(config_name(member), run_on(member, corpus, setting, member[schema.ATTEMPT]))

    for member in members:
        join(member)
    while reported := pack.next_reports():
        reports = [(name, *each) for name, each in reported if not isinstance(each, Failure)]
        failures = [(name, each.error) for name, each in reported if isinstance(each, Failure)]
        if len(failures) == 1 and not reports and not pack:
            raise failures[0][1]  # no other trial is in this process, so it may end
        reasons = [(name, "".join(traceback.format_exception(error))) for name, error in failures]
        for _, traced in reasons:
            print(traced, file=sys.stderr)  # goes to Ray's logs
        reported.clear()  # an exception keeps everything alive that its trial had in memory
        failures.clear()
        answer = tell({"reports": reports, "failures": reasons})
        for name in answer.left:
            pack.leave(name)
        for member in answer.joined:
            join(member)


def run_on(config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, attempt: int = 0) -> Steps[Report, None]:
    """Train a trial from its last checkpoint on and yield its reports, the one of the checkpoint first: each with the
    reason why no checkpoint could be written, or None.

    attempt: the number of workers that have started the trial, including this one. Raises SupersededError, and writes
    nothing more, once there is a later attempt.
    """
    folder = setting.checkpoints / config_name(config)
    saving = _Saving(config, corpus, setting, folder, attempt)
    with contextlib.suppress(OSError):  # a full disk: the first checkpoint tries again
        saving.begin()
    checkpoints.remove_unfinished(folder)
    saved = checkpoints.load_last(folder)
    if saved is not None:
        # The driver may have died, or lost its worker, before it received this report; it counts repeated reports once.
        yield Result.from_dict(saved["result"]), None
        saving.saved_seconds = saved["result"]["seconds"]
    yield from mapped(trial_in_steps(config, corpus, setting, saved and saved["state"]), saving.report)


class _Saving:
    """Writes the files of a trial, and checkpoints when they are worth it. The final checkpoint replaces all others."""

    def __init__(
        self, config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, folder: Folder, attempt: int
    ) -> None:
        self._architecture, self._corpus = config[schema.ARCHITECTURE], corpus
        self._setting, self._folder, self._attempt = setting, folder, attempt
        self._begun = False
        self.saved_seconds = 0.0  # seconds of training in the last checkpoint

    def begin(self) -> None:
        checkpoints.begin(self._folder, self._attempt)
        self._begun = True

    def report(self, result: Result) -> Report:
        """Write the files of a result. Returns the result without its large parts, and why writing failed, or None."""
        problem = None
        if not result.diverged:
            try:
                self._write(result)
            except OSError as error:  # a full disk costs the checkpoint, not the training
                reason = error.strerror or in_short(str(error))  # errors of object stores have no errno
                problem = f"checkpoints cannot be written ({reason}): trials that stop now start again"
        return dataclasses.replace(result, picture=None, test_outputs_N=None, state={}), problem

    def _write(self, result: Result) -> None:
        if self._begun:
            checkpoints.require_current(self._folder, self._attempt)
        else:
            self.begin()
        if result.picture is not None:
            checkpoints.save_file(self._folder, schema.picture(result.step), result.picture)
        if result.test_outputs_N is not None:
            task = task_of(models.architecture(self._architecture).task, self._corpus)
            text = predictions_csv(task.predictions(result.test_outputs_N, self._corpus))
            checkpoints.save_text(self._folder, schema.PREDICTIONS, text)
            if temperature := result.best.get(schema.TEMPERATURE):
                said_N, targets = result.test_outputs_N.cpu(), task.tensors(self._corpus.test)
                text = predictions_csv(reliability_rows(task, said_N, targets, temperature))
                checkpoints.save_text(self._folder, schema.RELIABILITY, text)
        length = length_of(self._architecture, self._setting.length)
        if pays(length, result, result.seconds - self.saved_seconds):
            last = length.over(result.step, result.best_step)
            num_kept = 1 if last else checkpoints.NUM_KEPT
            checkpoints.save(self._folder, result.step, result.to_checkpoint(last=last), num_kept, self._attempt)
            self.saved_seconds = result.seconds


def pays(length: Length, result: Result, seconds: float) -> bool:
    """Whether a checkpoint of this result should be written. seconds: of training since the last checkpoint.

    Checkpoints are written at the end of every epoch and of the trial, and in between if at least WORTH_SAVING seconds
    of training would otherwise have to be repeated.
    """
    whole = result.step % length.reports_per_epoch == 0
    return whole or length.over(result.step, result.best_step) or seconds >= WORTH_SAVING
