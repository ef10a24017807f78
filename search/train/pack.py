"""Several trials of one process, which take turns: each trains from its last report to its next."""

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from search.train.stepping import Steps, alone

R = TypeVar("R")


@dataclass(frozen=True)
class Failure:
    """In place of a report: what a member raised. It has left the pack."""

    error: Exception


@dataclass(frozen=True)
class RandomState:
    """The states of the generators that a process has one of: trials that draw from them must not see each other."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]  # one for each card; empty while no card is in use

    @classmethod
    def now(cls) -> Self:
        cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cards)

    def restore(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@dataclass
class _Member(Generic[R]):
    run: Generator[R, None, None]
    random_state: RandomState


class Pack(Generic[R]):
    """The trials that share a process. Each gives the numbers that it would give alone.

    A member that raises fails alone: its `Failure` is reported and the others go on. What is meant for the whole
    process passes through: SystemExit and KeyboardInterrupt, and an error after which a GPU can no longer be used.
    """

    def __init__(self) -> None:
        self._members: dict[str, _Member[R]] = {}  # the one whose turn it is first

    def __len__(self) -> int:
        return len(self._members)

    def join(self, name: str, steps: Steps[R, None]) -> None:
        """Add a trial: the steps of its training and its reports."""
        self._members[name] = _Member(alone(steps), RandomState.now())

    def leave(self, name: str) -> None:
        """End a trial after its last report, if it has not ended by itself."""
        if member := self._members.pop(name, None):
            member.run.close()

    def next_reports(self) -> list[tuple[str, R | Failure]]:
        """Train until a member reports or fails: a list of (name, report). Empty once no member is left.

        A member whose reports have come to an end leaves the pack.
        """
        while self._members:
            name, member = next(iter(self._members.items()))
            del self._members[name]
            member.random_state.restore()
            try:
                report = next(member.run)
            except StopIteration:
                continue
            except torch.AcceleratorError:
                raise
            except Exception as error:
                return [(name, Failure(error))]
            member.random_state = RandomState.now()
            self._members[name] = member
            return [(name, report)]
        return []
