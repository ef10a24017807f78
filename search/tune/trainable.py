"""The Tune trainable that wraps any architecture: what a trial runs in its Ray worker.

Workers are reused, and a process keeps its random state, thread counts and module globals between trials: a trial
sets all of its own.
"""

import dataclasses
from typing import Any

from ray import tune

import models
from data.encoded import EncodedCorpus
from search.base import record
from search.base.names import config_name
from search.train import checkpoints
from search.train.running import Setting, predictions_csv, run_trial
from search.train.tasks import TASKS
from search.train.training import EpochResult


def trainable(config: dict[str, Any], corpus: EncodedCorpus, setting: Setting) -> None:
    """Train one trial, from its last checkpoint if it has one; report and checkpoint each epoch."""
    folder = setting.checkpoints / config_name(config)
    checkpoints.remove_unfinished(folder)
    saved = checkpoints.load_last(folder)
    if saved is not None:
        # The driver may have died, or lost this worker, before it heard of the epoch; it counts each epoch once.
        _report(EpochResult.from_dict(saved["result"]))
    for result in run_trial(config, corpus, setting, saved and saved["state"]):
        problem = None
        if not result.diverged:
            content = {"result": result.to_dict(), "state": result.state}
            try:
                if result.picture is not None:
                    checkpoints.save_file(folder, record.picture(result.epoch), result.picture)
                if result.test_outputs_N is not None:
                    task = TASKS[models.architecture(config[record.ARCHITECTURE]).task]
                    text = predictions_csv(task.predictions(result.test_outputs_N, corpus))
                    checkpoints.save_text(folder, record.PREDICTIONS, text)
                checkpoints.save(folder, result.epoch, content)
            except OSError as error:  # a full disk costs the checkpoint, not the training
                reason = error.strerror or str(error)[:200]  # an object store's errors have no number
                problem = f"checkpoints cannot be written ({reason}): trials that stop now start again"
        _report(dataclasses.replace(result, picture=None, test_outputs_N=None, state={}), problem)


def _report(result: EpochResult, problem: str | None = None) -> None:
    # An early stop arrives as SystemExit out of this call: nothing here may catch it.
    tune.report({"epoch": result.epoch, "result": result, "problem": problem})
