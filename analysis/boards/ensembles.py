"""The exported ensembles of a search, in a separate table: they are not trials and have no rank."""

from analysis.base import runs
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.boards.leaderboard import RANK_BY, notes_on_classes, tested
from search.base import schema


def ensemble_tables(uri: str, search: Search, rank_by: str = RANK_BY) -> list[Table]:
    """The table of ensembles, as a list; empty if there are none. A confirmation shows those of its origin."""
    frame = runs.read_ensembles(uri, search.confirms or search.id)
    if frame.empty:
        return []
    measures = list(dict.fromkeys([rank_by, RANK_BY, *tested(frame, rank_by)]))
    return [
        Table(
            frame,
            groups=[[schema.MEMBERS, *measures, "num_parameters", "seconds", "run_id"]],
            key=schema.MEMBERS,
            title=f"{search.id}: exported ensembles",
            notes=[
                "An ensemble averages several models. It was chosen on validation, so its validation score is slightly "
                "optimistic.",
                *notes_on_classes([search]),
            ],
        )
    ]
