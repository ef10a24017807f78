"""The ensembles that were exported of a search: rows of their own, for they are no trials and have no rank."""

from analysis.base import runs
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.boards.leaderboard import RANK_BY, notes_on_classes, tested
from search.base import record


def ensemble_tables(uri: str, search: Search, rank_by: str = RANK_BY) -> list[Table]:
    """The table of them, or none; of a confirmation those of the search that it confirms."""
    frame = runs.read_ensembles(uri, search.confirms or search.id)
    if frame.empty:
        return []
    measures = list(dict.fromkeys([rank_by, RANK_BY, *tested(frame, rank_by)]))
    return [
        Table(
            frame,
            groups=[[record.MEMBERS, *measures, "num_parameters", "seconds", "run_id"]],
            key=record.MEMBERS,
            title=f"{search.id}: exported as one model that averages several",
            notes=[
                "Chosen on validation among several averages, which flatters the validation score a little.",
                *notes_on_classes([search]),
            ],
        )
    ]
