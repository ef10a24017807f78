"""Several trials of one process, which take turns: each trains from its last report to its next."""

import random
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from search.train import clock
from search.train.lockstep import Lockstep
from search.train.stepping import Answer, Step, Steps

R = TypeVar("R")


@dataclass(frozen=True)
class Failure:
    """Takes the place of a report: the exception of a member, which has left the pack."""

    error: Exception


@dataclass(frozen=True)
class RandomState:
    """The states of the global random generators of a process, which its trials must not share."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]  # one for each card; empty while no card is in use

    @classmethod
    def now(cls) -> Self:
        cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cards)

    def with_torch_now(self) -> Self:
        """A copy with the current state of torch's generator on the CPU."""
        return replace(self, torch=torch.get_rng_state())

    def restore(self, *, whole: bool = True) -> None:
        """whole: restore all generators, not only torch's on the CPU. NumPy's alone takes a hundred times as long, too
        long for every iteration."""
        torch.set_rng_state(self.torch)
        if not whole:
            return
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@dataclass
class _Member(Generic[R]):
    """pending: the step whose answer it awaits; None before its start and after a report."""

    steps: Steps[R, None]
    random_state: RandomState
    pending: Step | None = None

    def go_on(self, answer: Answer | None) -> R | Step:
        if self.pending is None:
            return next(self.steps)
        return self.steps.send(answer or self.pending.execute())


class Pack(Generic[R]):
    """The trials that share a process. Each gives the numbers that it would give alone.

    A member that raises fails alone: its `Failure` is reported and the others go on. Exceptions that concern the whole
    process are propagated: SystemExit and KeyboardInterrupt, and an error after which a GPU can no longer be used.

    lockstep: executes the steps of all members together; they then go on at the same time, and their numbers are equal
    within the rounding of float32. None: members take turns, from report to report.
    """

    def __init__(self, lockstep: Lockstep | None = None) -> None:
        self._members: dict[str, _Member[R]] = {}  # in the order of their turns
        self._lockstep = lockstep
        clock.divide(1)

    def __len__(self) -> int:
        return len(self._members)

    def join(self, name: str, steps: Steps[R, None]) -> None:
        """Add a trial: the steps of its training and its reports."""
        self._members[name] = _Member(steps, RandomState.now())

    def leave(self, name: str) -> None:
        """End a trial after its last report, if it has not ended by itself."""
        if member := self._members.pop(name, None):
            member.steps.close()

    def next_reports(self) -> list[tuple[str, R | Failure]]:
        """Train until a member reports or fails: a list of (name, report). Empty once no member is left.

        A member whose reports have come to an end leaves the pack.
        """
        reports: list[tuple[str, R | Failure]] = []
        while self._members and not reports:
            if self._lockstep is None:
                reports = self._go_on(next(iter(self._members)), None)
                continue
            clock.divide(len(self._members))
            pending = {name: member.pending for name, member in self._members.items() if member.pending is not None}
            answers = self._lockstep.execute(pending)
            for name in list(self._members):
                reports += self._go_on(name, answers.get(name))
        return reports

    def _go_on(self, name: str, answer: Answer | None) -> list[tuple[str, R | Failure]]:
        """Continue a member until its next report or, in lockstep, its next step; returns its report, if any.

        answer: to its pending step; None if that has yet to be executed.
        """
        member = self._members.pop(name)
        whole = answer is None  # a member whose step is executed in lockstep draws from torch's generator alone
        member.random_state.restore(whole=whole)
        try:
            item = member.go_on(answer)
            while self._lockstep is None and isinstance(item, Step):
                item = member.steps.send(item.execute())
        except StopIteration:
            return []
        except torch.AcceleratorError:
            raise
        except Exception as error:
            member.steps.close()
            return [(name, Failure(error))]
        member.random_state = RandomState.now() if whole else member.random_state.with_torch_now()
        self._members[name] = member
        if isinstance(item, Step):
            member.pending = item
            return []
        member.pending = None
        return [(name, item)]
