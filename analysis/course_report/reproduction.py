"""The published report's studies, repeated: our numbers beside the published ones, and which conclusions hold.

The published numbers are from single runs, chosen on the test set. Ours are means over seeds of test numbers by which
nothing was chosen. The results are tables, and a markdown page with one figure per study.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd

from analysis.base import runs
from analysis.base.formats import to_markdown
from analysis.base.pictures import encode, save
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.base.tables import make_folder, write
from analysis.course_report import gradients
from analysis.course_report.conclusions import comparison_table, comparisons, conclusion_table
from analysis.course_report.side_by_side import OURS, draw_study, figures, study_points, study_tables, titled
from analysis.course_report.studies import find_studies, read_published, search_table, with_study
from search.base import schema

FOLDER = "figures"  # the folder of figures, beside the page


@dataclass(frozen=True)
class Reproduction:
    """The recorded data. studies: search by study. trials: of all studies, see `with_study`. norms: see
    `gradients.norms`. published: see `read_published`."""

    studies: Mapping[str, Search]
    trials: pd.DataFrame
    norms: pd.DataFrame
    published: pd.DataFrame


def read(uri: str, searches: Iterable[str] = ()) -> Reproduction:
    """Read the studies from these searches, else from the newest of each study. Raises UserError for a search of no
    study."""
    studies = find_studies(runs.searches(uri), runs.find_searches(uri, searches) if searches else [])
    trials = with_study(runs.read_trials(uri, *(search.id for search in studies.values())), studies)
    gated = trials[trials["study"] == gradients.GATED]["run_id"]
    layers = [name for name in runs.read_names(uri, gated) if schema.gradient_layer(name)]
    norms = gradients.norms(trials, runs.read_series(uri, gated, layers))
    return Reproduction(studies, trials, norms, read_published())


def tables(found: Reproduction, *, long: bool = False) -> dict[str, list[Table]]:
    """The tables by part: conclusions, comparisons, figures (one table per study), gradients, searches.

    long: one row per number, for programs.
    """
    side_by_side = figures(found.trials, found.published)
    compared = comparisons(found.trials, found.published, found.norms)
    by_layer = gradients.means(found.norms)
    return {
        "conclusions": [conclusion_table(compared)],
        "comparisons": [comparison_table(compared)],
        "figures": [_long(side_by_side, "Figure for figure")] if long else study_tables(side_by_side),
        "gradients": [_long(by_layer, gradients.TITLE) if long else gradients.table(by_layer)],
        "searches": [search_table(found.studies, found.trials)],
    }


def _long(frame: pd.DataFrame, title: str) -> Table:
    return Table(frame, groups=[list(frame.columns)], key=list(frame.columns), title=title)


def write_page(found: Reproduction, parts: Mapping[str, Sequence[Table]], out: Path, command: str) -> None:
    """Write the page, and a folder with its figures and their data beside it. command: the one that writes this page.

    Raises UserError when they cannot be written.
    """
    drawn = {}
    for study in found.studies:
        points = study_points(found.trials, found.published, study)
        if (points["of"] == OURS).any():
            drawn[titled(study)] = study, points, draw_study(points, study)
    if len(found.norms):
        drawn[gradients.TITLE] = "gradient-norms", found.norms, gradients.draw(found.norms)
    make_folder(out.parent / FOLDER)
    for name, data, figure in drawn.values():
        save(encode(figure, data), out.parent / FOLDER / f"{name}.png")
    lines = ["# The report's studies, repeated\n"]
    lines.append(
        "Compare the conclusions of a published course report with the same studies run here. "
        f"Made by `{command}` from the searches listed at the end, which `make report` runs.\n"
    )
    for table in chain(*parts.values()):
        lines.append(to_markdown(table))
        if table.title in drawn:
            path = f"{FOLDER}/{drawn[table.title][0]}"
            lines.append(f"![{table.title}]({path}.png) ([data]({path}.csv))\n")
    write("\n".join(lines), out)
