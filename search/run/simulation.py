"""Simulated lengths of trials whose scores are unknown, and the time that workers take for all of them."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import optuna
import torch

from search.spec.spec import Spec
from search.study.samplers import make_pruner
from search.train.length import Length

NUM_SIMULATED, MAX_SIMULATED = 10, 50  # simulated searches, and most trials in each, to estimate a pruner's effect


class Ran(NamedTuple):
    """The number of a trial's reports, and whether it completed; the last report then includes the test set."""

    reports: int
    complete: bool

    def at_most(self, length: Length) -> "Ran":
        """A copy with at most the reports of this length; models that are fitted in one go report once."""
        return Ran(length.num_reports, True) if self.reports >= length.num_reports else self


def simulate(spec: Spec, num_trials: int) -> list[list[Ran]]:
    """The trials of one architecture in several simulated searches with the spec's pruner and random scores.

    With patience, the best report of a trial is assumed to be equally likely at every step.
    """
    rng = torch.Generator().manual_seed(spec.seed)
    length, simulated = spec.length, []
    for _ in range(NUM_SIMULATED):
        study = optuna.create_study(direction="maximize", pruner=make_pruner(spec))
        ran: list[Ran] = []
        for _ in range(min(num_trials, MAX_SIMULATED)):
            trial = study.ask()
            value, step, end = float(torch.rand((), generator=rng)), 1, length.num_reports
            if length.patience is not None:
                end = min(end, int(torch.randint(1, end + 1, (), generator=rng)) + length.patience)
            trial.report(value, step=step)
            while step < end and not trial.should_prune():
                step += 1
                trial.report(value, step=step)
            study.tell(trial, value)
            ran.append(Ran(step, step == end))
        simulated.append((ran * -(-num_trials // len(ran)))[:num_trials])
    return simulated


def makespan(seconds: Sequence[float], concurrency: int) -> float:
    """The time until all jobs are done if every free worker takes the longest job that is left."""
    workers = [0.0] * concurrency
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(workers, workers[0] + each)
    return max(workers)
