"""The Pareto fronts of a search with several objectives: of all trials, and of each architecture."""

import pandas as pd

from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.boards.leaderboard import column_of, leaderboard, notes_on_fronts

ALL, OWN = "all", "its architecture"


def on_fronts(trials: pd.DataFrame, rank_by: str, objectives: list[str]) -> pd.DataFrame:
    """The complete trials on a front, in the order of the leaderboard; `on_front` says whose front."""
    board, first_ids = leaderboard(trials, rank_by, objectives), set()
    for _, group in trials.groupby("architecture"):
        ranked = leaderboard(group, rank_by, objectives)
        first_ids |= {*ranked["run_id"][ranked["front"] == 1]}
    found = board[board["run_id"].isin(first_ids)]
    return found.assign(on_front=[ALL if number == 1 else OWN for number in found["front"]])


def front_table(search: Search, trials: pd.DataFrame, rank_by: str) -> Table:
    """The table of the trials on a front."""
    found = on_fronts(trials, rank_by, search.objectives)
    return Table(
        found,
        groups=[["trial", "on_front", *dict.fromkeys(map(column_of, search.objectives)), "run_id"]],
        key="trial",
        title=f"{search.id}: the fronts of {', '.join(search.objectives)}",
        notes=[*notes_on_fronts(search, rank_by)],
    )
