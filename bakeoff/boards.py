"""The leaderboard of a search, read and laid out for a terminal, a file or a program."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from data.base.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.base.runs import Search
    from analysis.base.tables import Table


def read(
    uri: str, names: Iterable[str], rank_by: str | None = None, architecture: str | None = None
) -> tuple[list["Search"], "pd.DataFrame", str]:
    """Find searches by name. Returns them, their trials, and the metric to rank by."""
    from analysis.base import runs
    from analysis.boards import leaderboard

    found = runs.find_searches(uri, names)
    if rank_by:  # finding the searches registers their custom metrics
        leaderboard.check_metric(rank_by)
    trials = runs.read_trials(uri, *(search.id for search in found))
    if architecture and len(trials):
        trials = leaderboard.only(trials, architecture)
    return found, trials, rank_by or leaderboard.common_metric(found)


def leaderboard(
    uri: str,
    search: str,
    rank_by: str | None = None,
    architecture: str | None = None,
    by_architecture: bool = False,
    only_confirmed: bool | None = False,
    form: str = "table",
    top: int | None = None,
) -> list["Table"]:
    """The tables for a format: several for a terminal, one for other formats. Raises UserError.

    only_confirmed: None for confirmed configurations if any has a rank, else trials.
    """
    (found,), trials, rank_by = read(uri, [search], rank_by, architecture)
    from analysis.base import tables
    from analysis.boards import confirmation, ensembles
    from analysis.boards import leaderboard as boards
    from analysis.boards.fronts import front_table
    from analysis.verdicts import gain

    recorded = confirmation.read(uri, found)
    confirmed = confirmation.confirmation_tables(recorded, rank_by, architecture)
    if only_confirmed and not confirmed:
        raise UserError(f"nothing of {found.id} was confirmed yet; run: python -m search confirm {found.id}")
    if only_confirmed is None:
        only_confirmed = not by_architecture and any("rank" in t.frame and t.frame["rank"].any() for t in confirmed)
    top = top if top is not None else 10 if form == "table" else 0
    best = boards.architecture_table(found, trials, rank_by)
    for_programs = form in (*tables.FOR_PROGRAMS, "frame")
    ranking = boards.ranking_table(
        found, trials, rank_by, top, every=for_programs or not top or architecture is not None
    )
    if only_confirmed:
        shown = confirmed
    elif by_architecture:
        shown = [best]
    elif form == "table" and len(trials):
        # The trials of a confirmation differ in their seeds only: its best of each architecture is the luckiest seed.
        winners = [] if found.confirms else [replace(best, notes=())]
        winners += [front_table(found, trials, rank_by)] if found.objectives and rank_by == found.metric else []
        shown = [*confirmed, *winners, *ensembles.ensemble_tables(uri, found, rank_by), ranking]
    else:
        shown = [ranking]
    if architecture or for_programs or trials.empty:
        return shown
    return [replace(shown[0], first=gain.read(uri, recorded, rank_by).answers), *shown[1:]]


def why(uri: str, search: str) -> dict[str, "Table"]:
    """What each change from an architecture's default configuration to its best gained; the architecture is the key.

    search: SEARCH:ARCHITECTURE, or the id of a search that `search ablate` ran.
    """
    from analysis.base import runs
    from analysis.verdicts import why as path

    name, _, architecture = search.partition(":")
    return path.read(uri, runs.find_search(uri, name), architecture)


def data_size(uri: str, search: str) -> list["Table"]:
    """The scores of a search's best models by number of training texts."""
    from analysis.base import runs
    from analysis.verdicts import data_size as sizes

    return [sizes.read(uri, runs.find_search(uri, search))]
