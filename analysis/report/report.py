"""The report page of a search: one index.html that needs nothing else, with its figures and their data beside it.

Everything in it comes from MLflow, but for the memory of recurrent models, which is theirs whose checkpoints are at
hand; the words and the order are those of report.html.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.base import runs
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.base.tables import write
from analysis.boards.comparison import pivot_tables
from analysis.boards.confirmation import read_confirmed
from analysis.boards.leaderboard import architecture_table, common_metric, ranking_table, varying
from analysis.boards.ledger import ledger_table
from analysis.explain import memory
from analysis.figures import plots
from analysis.report.settings import pairs, searched, settings
from analysis.report.summary import summary
from analysis.report.view import Links, view
from analysis.verdicts.differences import read_differences
from analysis.verdicts.importance import MAX_VALUES, importance_tables
from data.base.errors import UserError
from search.base import record
from search.base.record import Outcome

OF_WINNERS = ("learning_curves", "gradient_norms")  # the figures that stand beside the best of each architecture
_NOT_SHOWN = {record.KIND, record.SEARCH, record.METRIC, record.OUTCOME, record.FOLDER, record.CONFIRMS}
_PREFIXES = (record.VERSION_PREFIX, record.PLANNED_PREFIX, record.TOOK_PREFIX)  # shown on their own


def make(uri: str, search: Search, out: Path, rank_by: str | None = None) -> Path:
    """Write the report of a search into a folder, which is made if needed, and return its index.html.

    Raises UserError when MLflow cannot be read or the folder cannot be written.
    """
    _make_folder(out / "figures")
    rank_by = rank_by or common_metric([search])
    trials = runs.read_trials(uri, search.id)
    spec = runs.read_spec(uri, search)
    space = runs.space_of(spec)
    mattered = importance_tables(search, trials, space, np.random.default_rng(0), rank_by)
    remembered = memory.read(memory.of_search(uri, search), untrained=True)
    found = plots.Found(trials, _series(uri, trials, rank_by), space, mattered[0].frame, rank_by, remembered)
    figures = [_figure(plot, plots.render(plot, found), out / "figures") for plot in plots.PLOTS.values()]
    if spec is not None:
        write(spec, out / "spec.yaml")
    page = out / "index.html"
    confirmed = read_confirmed(uri, search, rank_by)
    write(render(uri, search, found, figures, mattered, spec, confirmed, _differences(uri, search, rank_by)), page)
    return page


def _series(uri: str, trials: pd.DataFrame, rank_by: str) -> pd.DataFrame:
    """What the figures need: every trial's score by epoch, and more of the winners."""
    best = plots.winners(trials, rank_by)["run_id"].to_list()
    wanted = plots.series_wanted(rank_by, runs.read_names(uri, best))
    others = trials[~trials["run_id"].isin(best)]["run_id"]
    return pd.concat([runs.read_series(uri, best, wanted), runs.read_series(uri, others, [rank_by])], ignore_index=True)


def _differences(uri: str, search: Search, rank_by: str) -> list[Table]:
    """Whether the architectures differ, or why that cannot be told."""
    try:
        return read_differences(uri, search, np.random.default_rng(0), rank_by)
    except UserError as error:
        why = f"Whether the architectures differ by more than luck cannot be told: {error}."
        return [Table(pd.DataFrame({"architecture": []}), groups=[["architecture"]], key="architecture", notes=[why])]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}") from error


# --- Figures


@dataclass(frozen=True)
class Figure:
    """A figure as the page shows it; `image` is empty where there is nothing to show."""

    plot: plots.Plot
    image: str


def _figure(plot: plots.Plot, files: Mapping[str, bytes], folder: Path) -> Figure:
    """Write the files of a figure, and take away those of an earlier report that has it no longer."""
    for ending in ("png", "svg", "csv"):
        path = folder / f"{plot.name}.{ending}"
        try:
            if ending in files:
                path.write_bytes(files[ending])
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
    return Figure(plot, f"data:image/svg+xml;base64,{base64.b64encode(files['svg']).decode()}" if files else "")


# --- Tables


def failures(trials: pd.DataFrame) -> Table:
    """The trials that have no result, with the reason."""
    ended = [Outcome.COMPLETE.value, Outcome.PRUNED.value]
    frame = trials[~trials["outcome"].isin(ended)].rename(columns={"error": "reason"})
    return Table(frame, groups=[["trial", "outcome", "reason", "epochs_run", "attempt", "node", "run_id"]], key="trial")


def comparisons(search: Search, trials: pd.DataFrame) -> list[Table]:
    """Mean and spread of complete trials: by architecture, and with each hyperparameter that several have in common."""
    tables = pivot_tables([search], trials, "architecture")
    complete = trials[trials["outcome"] == Outcome.COMPLETE.value]
    for name in varying(complete):
        largest_cell = complete.groupby([name, "architecture"], dropna=False).size().max()
        if len(runs.values(complete[name])) <= MAX_VALUES and largest_cell > 1:
            (by_name,) = pivot_tables([search], trials, name, "architecture", ["test_accuracy"])
            tables.append(by_name)
    return tables


# --- The page


def render(
    uri: str,
    search: Search,
    found: plots.Found,
    figures: Sequence[Figure],
    mattered: Sequence[Table],
    spec: str | None,
    confirmed: Sequence[Table] = (),
    different: Sequence[Table] = (),
) -> str:
    """The page as HTML. Everything that comes from outside is escaped."""
    trials, rank_by = found.trials, found.rank_by
    links = Links(uri, search, trials)

    said: set[str] = set()

    def shown(table: Table) -> dict[str, Any]:
        """The table without what the page has said above it: the search's id, and notes."""
        title = table.title.removeprefix(search.id).removeprefix(":").strip()
        notes = [note for note in table.notes if note not in said]
        said.update(notes)
        return view(replace(table, title=title[:1].upper() + title[1:], notes=notes), links)

    tags = {name: value for name, value in search.tags.items() if not name.startswith("mlflow.")}
    of_versions = [name for name in tags if name.startswith(record.VERSION_PREFIX)]
    versions = {name.removeprefix(record.VERSION_PREFIX): tags[name] for name in of_versions}
    digests = {name: value for name, value in tags.items() if not name.startswith(_PREFIXES) and name not in _NOT_SHOWN}
    best = plots.winners(trials, rank_by)["run_id"].to_list()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        search=search,
        summary=list(summary(search, found, links, confirmed)),
        links=links,
        settings=[shown(settings(search)), shown(searched(found.space))],
        leaderboard=shown(ranking_table(search, trials, rank_by)),
        confirmed=[*map(shown, confirmed)],
        winners=shown(architecture_table(search, trials, rank_by)),
        winners_figures=[figure for figure in figures if figure.plot.name in OF_WINNERS],
        comparisons=[*map(shown, [*different, *comparisons(search, trials)])],
        mattered=[*map(shown, mattered)],
        figures=[figure for figure in figures if figure.plot.name not in OF_WINNERS],
        ledger=shown(ledger_table(search, trials, rank_by)),
        failures=shown(failures(trials)),
        num_trials=len(trials),
        spec=spec,
        commit=tags.get(record.GIT_COMMIT),
        best_run=best[0] if best else None,
        versions=shown(pairs(versions, "package")),
        digests=shown(pairs(digests, "tag")),
    )
