"""Confirms until it is decided: seeds are added a few at a time, to the architectures that decide most, with a look at
all pairs after each addition (`analysis/verdicts/until.py`).

Each addition is a confirmation of its own, and all are on record with the number of looks that was planned at first:
whoever reads them later has the same bounds, and so has the plan when it goes on after a stop.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.base.errors import UserError
from search.base import console as consoles
from search.base import record
from search.base.record import Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.verdicts.until import Look
    from search.run.run import SearchResult

MARGIN, MAX_SEEDS = 0.01, 15


@dataclass(frozen=True)
class Decided:
    """How it ended. last: the last confirmation, if one was trained. command: goes on where it stopped, if it did."""

    look: "Look"
    reason: str
    last: "SearchResult | None" = None
    command: str | None = None


@dataclass
class _Clock:
    """The time budget, and how long the trials of the looks have taken."""

    budget: float | None
    started: float
    per_trial: float = 0.0

    @property
    def left(self) -> float | None:
        return None if self.budget is None else self.budget - (time.monotonic() - self.started)

    @property
    def reason(self) -> str:
        """Why it goes on no longer."""
        return "the time budget is spent" if self.lacks(1) else "it was stopped"

    def lacks(self, num_trials: int) -> bool:
        """Whether there is too little left for so many trials."""
        return self.left is not None and self.left <= self.per_trial * num_trials


class _Seen(NamedTuple):
    """names: of the configurations that are compared, by architecture. done: how many looks there have been. planned:
    how many there were to be."""

    look: "Look"
    names: dict[str, str]
    done: int
    planned: int


@dataclass(frozen=True)
class Plan:
    """What is to be decided. folder: of the search. max_seeds: of an architecture. time_budget: in seconds.
    architectures: only these get seeds, or all without any."""

    folder: Path
    uri: str
    margin: float = MARGIN
    max_seeds: int = MAX_SEEDS
    time_budget: float | None = None
    architectures: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 0.5:
            raise UserError(f"margin: above 0 and at most 0.5, in accuracy; got {self.margin:g}; nearest: {MARGIN:g}")
        if not 2 <= self.max_seeds <= 1000:
            raise UserError(f"max_seeds: 2 to 1000 of each; got {self.max_seeds}")
        if self.time_budget is not None and self.time_budget <= 0:
            raise UserError(f"time_budget: above 0 seconds; got {self.time_budget:g}")

    def command(self) -> str:
        """What a user types to go on with it."""
        given = [f"--margin {self.margin:g}", f"--max-seeds {self.max_seeds}"]
        given += [] if self.time_budget is None else [f"--time-budget {self.time_budget:g}s"]
        given += [f"--architecture {shlex.quote(name)}" for name in self.architectures]
        given += [self._searches()] if self._searches() else []
        asked = " ".join([self.folder.name, "--until-decided", *given, self._uri()])
        return f"{consoles.python()} -m search confirm {asked}"

    def verdicts(self) -> str:
        """What a user types to see all pairs."""
        return f"{consoles.python()} -m analysis differences {self.folder.name} --margin {self.margin:g} {self._uri()}"

    def _searches(self) -> str:
        root = self.folder.parent
        return "" if root == Path("searches").absolute() else f"--searches {shlex.quote(str(root))}"

    def _uri(self) -> str:
        return f"--tracking-uri {shlex.quote(record.without_password(self.uri))}"

    def look(self, looks: int | None = None) -> _Seen:
        """All that is recorded. looks: how many there are to be, if not those that are on record."""
        from analysis.base import runs
        from analysis.boards import confirmation
        from analysis.boards.leaderboard import common_metric
        from analysis.verdicts import differences, until

        found = runs.find_search(self.uri, self.folder.name)
        recorded = confirmation.read(self.uri, found)
        if recorded.folds:
            raise UserError(
                f"{self.folder.name} was confirmed over {recorded.folds} folds, which test on more texts than seeds "
                f"alone; go on with: search confirm {self.folder.name} --folds {recorded.folds} --seeds 3"
            )
        rank_by = common_metric([found])
        best = differences.compared(recorded, rank_by)
        predictions = differences.read_predictions(self.uri, recorded.origin, best)
        differences.check_texts(best, predictions)
        models = {name: differences.models_of(own, predictions, rank_by) for name, own in best.items()}
        if len(models) < 2:
            raise UserError(f"{self.folder.name} has a single architecture and no baseline: there is no pair to decide")
        names = {name: differences.name_of(own) for name, own in best.items()}
        pursued = [name for name, each in models.items() if not each.same_with_every_seed]
        chosen = [name for name in pursued if not self.architectures or name in self.architectures]
        planned, done = differences.planned_looks(recorded), len(recorded.same)
        look = until.look_at(models, self.margin, looks or max(1, planned, done), chosen)
        return _Seen(look, names, done, planned)


def require_one_way(until_decided: bool, others: Mapping[str, object], own: Mapping[str, object]) -> None:
    """Raise UserError where options are given that belong to the other way to confirm."""
    for name, value in (others if until_decided else own).items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            if until_decided:
                raise UserError(f"--until-decided decides by itself what is trained; leave out {option} {value}")
            raise UserError(f"{option} {value} is for --until-decided only; add that")


def planned(
    folder: Path,
    uri: str,
    margin: float | None,
    max_seeds: int | None,
    time_budget: str | float | None,
    architectures: Sequence[str],
) -> Plan:
    """What a user asks for; None is what is usual. Raises UserError."""
    from search.spec.spec import parse_seconds

    seconds = parse_seconds(time_budget) if time_budget is not None else None
    if seconds is not None and not isinstance(seconds, float):
        raise UserError(f"time_budget: seconds, or a number with s, m, h or d; got {time_budget!r}; nearest: '20m'")
    return Plan(
        folder,
        uri,
        MARGIN if margin is None else margin,
        MAX_SEEDS if max_seeds is None else max_seeds,
        seconds,
        architectures,
    )


def until_decided(plan: Plan, console: "Console", address: str | None = None) -> Decided:
    """Add seeds to the best configurations of a search until every pair of architectures is better or equal within the
    margin, or texts, seeds or time are at an end. Say so.

    address: of a running Ray cluster. Raises UserError when there is nothing to confirm, or to compare.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    ended = _run(plan, console, address, say)
    say(f"Ended: {ended.reason}.")
    say(f"Verdicts     {plan.verdicts()}")
    if ended.command:
        say(f"Go on        {ended.command}")
    return ended


def _run(plan: Plan, console: "Console", address: str | None, say: Callable[[str], None]) -> Decided:
    from analysis.verdicts import until
    from search.run import confirm, run

    folder, uri, max_seeds, time_budget = plan.folder, plan.uri, plan.max_seeds, plan.time_budget
    confirm.confirmation(folder, 1, 1, list(plan.architectures))  # what cannot be confirmed is refused before all else
    clock = _Clock(time_budget, time.monotonic())
    last: SearchResult | None = None
    if begun := confirm.unfinished(folder):
        say(f"{begun.name} was interrupted; it goes on")
        last = run.resume(begun, uri, console, address, time_budget=None if time_budget is None else str(time_budget))
        if last.outcome is not Outcome.COMPLETE:
            return Decided(plan.look().look, clock.reason, last, plan.command())
    look, names, done, planned = plan.look()
    looks = max(planned, done)
    if looks == done and (room := look.room(max_seeds)):
        looks = done + until.planned(room)
        say(f"Plan: up to {max_seeds} seeds of each, looked at {looks} times in all (Pocock 1977 allows for that)")
        look = plan.look(looks).look
    while True:
        wanted, left = look.wanted(max_seeds), looks - done
        if done:
            say(f"Look {done} of {looks}: {', '.join(f'{look.seeds(name)} seeds of {name}' for name in look.pursued)}")
        for line in look.lines():
            say(line)
        if reason := _at_an_end(look, wanted, left, max_seeds):
            return Decided(look, reason, last)
        add = until.step(look.room(max_seeds), left)
        if clock.lacks(add * len(wanted)):
            return Decided(look, clock.reason, last, plan.command())
        say(f"{add} more seeds of {', '.join(wanted)}, which decide most")
        spec = confirm.confirmation(folder, None, add, wanted, named=names)
        began = time.monotonic()
        spec = spec.model_copy(update={"looks": looks, "time_budget": clock.left})
        last = run.start(spec, folder.parent, uri, console, address)
        if last.outcome is not Outcome.COMPLETE:
            return Decided(look, clock.reason, last, plan.command())
        clock.per_trial = (time.monotonic() - began) / (add * len(wanted))
        look, names, done, _ = plan.look(looks)


def _at_an_end(look: "Look", wanted: Sequence[str], left: int, max_seeds: int) -> str:
    """Why no seeds are added any more; '' where some are."""
    if not look.open:
        return f"every pair is decided: better, or equal within {look.margin:g}"
    if not look.promising:
        return "texts are the limit of all open pairs, not seeds: confirm over folds, which test on every text"
    if not wanted or not left:
        num = len(look.open)
        return f"the seeds are spent (at most {max_seeds} of each); {num} pair{'s are' if num > 1 else ' is'} open"
    return ""
