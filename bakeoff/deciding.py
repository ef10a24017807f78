"""Sequential confirmation (`confirm --until-decided`): add a few seeds at a time to the architectures where they help
most, and test all pairs after each addition (`analysis/verdicts/until.py`).

Each addition is recorded as a confirmation with the number of looks planned at the start, so that the bounds stay the
same for later readers and after an interruption.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.base.errors import UserError
from search.base import console as consoles
from search.base import mlflow_uri
from search.base.schema import Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.verdicts.until import Look
    from search.run.run import SearchResult

MARGIN, MAX_SEEDS = 0.01, 15


@dataclass(frozen=True)
class Decided:
    """How a sequential confirmation ended.

    last: the last confirmation search, None if none was needed. command: the command that continues it if it was
    stopped, else None.
    """

    look: "Look"
    reason: str
    last: "SearchResult | None" = None
    command: str | None = None


@dataclass
class _Clock:
    """The time budget in seconds, and the seconds per trial at the last look."""

    budget: float | None
    started: float
    per_trial: float = 0.0

    @property
    def left(self) -> float | None:
        return None if self.budget is None else self.budget - (time.monotonic() - self.started)

    @property
    def reason(self) -> str:
        """Why no more seeds are added."""
        return "the time budget is spent" if self.lacks(1) else "it was stopped"

    def lacks(self, num_trials: int) -> bool:
        """Whether the time left is too short for this many trials."""
        return self.left is not None and self.left <= self.per_trial * num_trials


class _State(NamedTuple):
    """What is on record.

    names: the compared configuration of each architecture. done, planned: the number of looks.
    """

    look: "Look"
    names: dict[str, str]
    done: int
    planned: int


@dataclass(frozen=True)
class Plan:
    """What to decide.

    folder: of the search. margin: in accuracy. max_seeds: per architecture. time_budget: in seconds. architectures:
    those that get seeds; empty for all.
    """

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
            raise UserError(f"max_seeds: 2 to 1000 of each architecture; got {self.max_seeds}")
        if self.time_budget is not None and self.time_budget <= 0:
            raise UserError(f"time_budget: above 0 seconds; got {self.time_budget:g}")

    def command(self) -> str:
        """The command that continues this plan."""
        given = [f"--margin {self.margin:g}", f"--max-seeds {self.max_seeds}"]
        given += [] if self.time_budget is None else [f"--time-budget {self.time_budget:g}s"]
        given += [f"--architecture {shlex.quote(name)}" for name in self.architectures]
        given += [self._searches()] if self._searches() else []
        arguments = " ".join([self.folder.name, "--until-decided", *given, self._uri()])
        return f"{consoles.python()} -m search confirm {arguments}"

    def verdicts(self) -> str:
        """The command that shows all pairs."""
        return f"{consoles.python()} -m analysis differences {self.folder.name} --margin {self.margin:g} {self._uri()}"

    def _searches(self) -> str:
        root = self.folder.parent
        return "" if root == Path("searches").absolute() else f"--searches {shlex.quote(str(root))}"

    def _uri(self) -> str:
        return f"--tracking-uri {shlex.quote(mlflow_uri.without_password(self.uri))}"

    def look(self, looks: int | None = None) -> _State:
        """Test all pairs on what is recorded. looks: the planned number of looks; None for the recorded one."""
        from analysis.base import runs
        from analysis.boards import confirmation
        from analysis.boards.leaderboard import common_metric
        from analysis.verdicts import differences, until

        found = runs.find_search(self.uri, self.folder.name)
        recorded = confirmation.read(self.uri, found)
        if recorded.folds:
            raise UserError(
                f"{self.folder.name} was confirmed over {recorded.folds} folds, which test more texts than seeds "
                f"do; continue with: python -m search confirm {self.folder.name} --folds {recorded.folds} --seeds 3"
            )
        rank_by = common_metric([found])
        best = differences.compared(recorded, rank_by)
        predictions = differences.read_predictions(self.uri, recorded.origin, best)
        differences.check_texts(best, predictions)
        models = {name: differences.models_of(repeats, predictions, rank_by) for name, repeats in best.items()}
        if len(models) < 2:
            raise UserError(f"{self.folder.name} has a single architecture and no baseline: there is no pair to decide")
        names = {name: differences.name_of(repeats) for name, repeats in best.items()}
        pursued = [name for name, repeated in models.items() if not repeated.same_with_every_seed]
        chosen = [name for name in pursued if not self.architectures or name in self.architectures]
        planned, done = differences.planned_looks(recorded), len(recorded.same)
        look = until.look_at(models, self.margin, looks or max(1, planned, done), chosen)
        return _State(look, names, done, planned)


def require_one_way(until_decided: bool, fixed: Mapping[str, object], sequential: Mapping[str, object]) -> None:
    """Raise UserError for options of the other way to confirm: fixed numbers of seeds, or `until_decided`."""
    for name, value in (fixed if until_decided else sequential).items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            if until_decided:
                raise UserError(f"--until-decided chooses by itself what to train; leave out {option} {value}")
            raise UserError(f"{option} {value} works with --until-decided only; add that option")


def planned(
    folder: Path,
    uri: str,
    margin: float | None,
    max_seeds: int | None,
    time_budget: str | float | None,
    architectures: Sequence[str],
) -> Plan:
    """The plan for these options; None means the default. Raises UserError."""
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
    """Add seeds to the best configurations of a search until every pair of architectures is decided (better, or equal
    within the margin), or texts, seeds or time are exhausted. Prints every look and the reason for the end.

    address: of a running Ray cluster. Raises UserError when there is nothing to confirm or to compare.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    ended = _run(plan, console, address, say)
    say(f"Ended: {ended.reason}.")
    say(f"Verdicts     {plan.verdicts()}")
    if ended.command:
        say(f"Continue     {ended.command}")
    return ended


def _run(plan: Plan, console: "Console", address: str | None, say: Callable[[str], None]) -> Decided:
    from analysis.verdicts import until
    from search.run import confirm, run

    folder, uri, max_seeds, time_budget = plan.folder, plan.uri, plan.max_seeds, plan.time_budget
    confirm.confirmation(folder, 1, 1, list(plan.architectures))  # raises UserError early if nothing can be confirmed
    clock = _Clock(time_budget, time.monotonic())
    last: SearchResult | None = None
    if begun := confirm.unfinished(folder):
        say(f"{begun.name} was interrupted; resuming it")
        last = run.resume(begun, uri, console, address, time_budget=None if time_budget is None else str(time_budget))
        if last.outcome is not Outcome.COMPLETE:
            return Decided(plan.look().look, clock.reason, last, plan.command())
    look, names, done, planned = plan.look()
    looks = max(planned, done)
    if looks == done and (room := look.room(max_seeds)):
        looks = done + until.planned(room)
        say(f"Plan: up to {max_seeds} seeds per architecture, tested at {looks} looks (levels after Pocock 1977)")
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
        say(f"Training {add} more seeds of {', '.join(wanted)}, where they help most")
        spec = confirm.confirmation(folder, None, add, wanted, named=names)
        began = time.monotonic()
        spec = spec.model_copy(update={"looks": looks, "time_budget": clock.left})
        last = run.start(spec, folder.parent, uri, console, address)
        if last.outcome is not Outcome.COMPLETE:
            return Decided(look, clock.reason, last, plan.command())
        clock.per_trial = (time.monotonic() - began) / (add * len(wanted))
        look, names, done, _ = plan.look(looks)


def _at_an_end(look: "Look", wanted: Sequence[str], left: int, max_seeds: int) -> str:
    """Why no more seeds are added; '' if some are."""
    if not look.open:
        return f"every pair is decided: better, or equal within {look.margin:g}"
    if not look.promising:
        return (
            "every open pair is limited by the number of test texts, not by seeds: confirm over folds, which test on "
            "every text"
        )
    if not wanted or not left:
        num = len(look.open)
        return f"the seeds are spent (at most {max_seeds} each); {num} pair{'s are' if num > 1 else ' is'} still open"
    return ""
