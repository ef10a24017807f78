"""How long trials are where nothing is known of their scores, and when so many workers are done with all of them."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import optuna
import torch

from search.spec.spec import Spec
from search.study.samplers import make_pruner
from search.train.length import Length

NUM_SIMULATED, MAX_SIMULATED = 10, 50  # searches, and trials in each, to see how much a pruner prunes


class Ran(NamedTuple):
    """How many reports a trial made, and whether it came to its end: the last report is then on the test set, too."""

    reports: int
    complete: bool

    def at_most(self, length: Length) -> "Ran":
        """The same of what makes no more reports than this: what learns in one go makes one."""
        return Ran(length.num_reports, True) if self.reports >= length.num_reports else self


def simulate(spec: Spec, num_trials: int) -> list[list[Ran]]:
    """The trials of one architecture in some searches with the spec's pruner, their order by score a random one.

    The best report of a trial is as likely the first as any other: so much its patience cuts.
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
    """When the last of some jobs is done, if each of so many workers takes the longest one that is left."""
    workers = [0.0] * concurrency
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(workers, workers[0] + each)
    return max(workers)
