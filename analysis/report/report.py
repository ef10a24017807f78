"""The report page of a search: one index.html that needs nothing else, with its figures and their data beside it.

Everything in it comes from MLflow, but for the memory of recurrent models, which is theirs whose checkpoints are at
hand; the words and the order are those of report.html.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.base import runs
from analysis.base.runs import Search
from analysis.base.tables import Table, cell, clean, heading, write
from analysis.boards.comparison import pivot_tables
from analysis.boards.confirmation import read_confirmed
from analysis.boards.leaderboard import architecture_table, by_architecture, common_metric, ranking_table, varying
from analysis.boards.ledger import ledger_table, searched_less
from analysis.explain import memory
from analysis.figures import plots
from analysis.verdicts.differences import read_differences
from analysis.verdicts.importance import MAX_VALUES, importance_tables
from data.base.errors import UserError
from search.base import record
from search.base.record import Outcome

LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` serves MLflow
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


class Links:
    """Where the runs of a search are in MLflow's UI: on its server, else on this machine as `make ui` shows them."""

    def __init__(self, uri: str, search: Search, trials: pd.DataFrame) -> None:
        parts = urlsplit(uri)
        self.served = parts.scheme in ("http", "https")
        host = parts.netloc.rpartition("@")[2]  # no password goes into a page
        self.ui = f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if self.served else LOCAL_UI
        self._experiment = f"{self.ui}/#/experiments/{quote(search.experiment_id, safe='')}"
        #: MLflow's UI would show an experiment first as one of conversations with language models.
        self.experiment = f"{self._experiment}/runs?workflowType=machine_learning"
        self._runs = dict(zip(trials["trial"], trials["run_id"], strict=True))

    def run(self, run_id: str) -> str:
        return f"{self._experiment}/runs/{quote(run_id, safe='')}"

    def of(self, column: str, value: Any) -> str | None:
        """What a cell links to: a run, or nothing; an architecture to its trials in the leaderboard."""
        if not isinstance(value, str):
            return None
        if column == "architecture":
            return "#leaderboard"
        run_id = value if column == "run_id" else self._runs.get(value) if column == "trial" else None
        return self.run(run_id) if isinstance(run_id, str) else None


def view(table: Table, links: Links) -> dict[str, Any]:
    """A table as report.html takes it: heads, and rows of cells with their text, link, and what to sort by."""
    columns = sorted(
        table.columns, key=lambda name: {"rank": 0, "architecture": 1, "trial": 2, "run_id": 3}.get(name, 4)
    )
    numbers = {name: pd.api.types.is_numeric_dtype(table.frame[name]) for name in columns}
    rows = [
        [_cell(name, value, numbers[name], links) for name, value in zip(columns, values, strict=True)]
        for values in table.frame[columns].itertuples(index=False, name=None)
    ]
    heads = [{"text": heading(name), "number": numbers[name]} for name in columns]
    return {"title": clean(table.title), "heads": heads, "rows": rows, "notes": list(map(clean, table.notes))}


def _cell(name: str, value: Any, number: bool, links: Links) -> dict[str, Any]:
    missing = value is not None and pd.isna(value)
    sort = "" if missing else repr(float(value)) if number else cell(name, value).lower()
    full = value if name == "run_id" and isinstance(value, str) else ""
    return {"text": cell(name, value), "number": number, "sort": sort, "href": links.of(name, value), "full": full}


def settings(search: Search) -> Table:
    """What was searched and on what, but for the space."""
    counts = {name: f"{search.metrics[name]:,.0f}" for name in _COUNTS if name in search.metrics}
    texts = [f"{counts[f'num_{split}']} {name}" for split, name in _SPLITS.items() if f"num_{split}" in counts]
    rows = {"corpus": search.spec.get("corpus", "unknown"), "texts": ", ".join(texts) or "unknown"}
    rows |= {name.removeprefix("num_"): counts[name] for name in ("num_classes", "num_words") if name in counts}
    # MLflow keeps a list as Python writes it.
    spec = {name: re.sub(r"[\[\]{}']", "", value) for name, value in search.spec.items() if value != "None"}
    return _pairs(rows | {name: value for name, value in spec.items() if name not in ("name", "corpus")}, "setting")


_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_COUNTS = [*(f"num_{split}" for split in _SPLITS), "num_classes", "num_words"]


def searched(space: Mapping[str, Any] | None) -> Table:
    """What each hyperparameter could be."""
    rows = {}
    for name, written in (space or {}).items():
        if isinstance(written, dict) and not {"low", "high"} <= set(written):
            rows[name] = "; ".join(f"{architecture}: {_range(own)}" for architecture, own in written.items())
        else:
            rows[name] = _range(written)
    return _pairs(rows, "hyperparameter")


def _range(written: Any) -> str:
    if isinstance(written, dict) and {"low", "high"} <= set(written):
        step = f" in steps of {written['step']}" if written.get("step") else ""
        return f"{written['low']} to {written['high']}{step}{' (log)' if written.get('log') else ''}"
    return ", ".join(map(str, written)) if isinstance(written, list) else str(written)


def _pairs(rows: Mapping[str, Any], key: str, title: str = "") -> Table:
    frame = pd.DataFrame({key: list(rows), "value": [str(value) for value in rows.values()]}, dtype=object)
    return Table(frame, groups=[[key, "value"]], key=key, title=title)


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


# --- Words


def summary(search: Search, found: plots.Found, links: Links, confirmed: Sequence[Table] = ()) -> Iterable[Markup]:
    """What the page says, in a few sentences; of the means over fresh seeds if these cover all architectures."""
    trials, rank_by = found.trials, found.rank_by
    best = by_architecture(trials, rank_by).dropna(subset="trial")
    fresh = _on_fresh_seeds(confirmed, rank_by)
    covered = set(best["architecture"]) <= set(fresh["architecture"])
    best = fresh if covered else best
    if search.outcome != Outcome.COMPLETE:
        yield Markup("The search is not finished ({}); this is what is on record so far.").format(
            search.outcome or "its outcome is unknown"
        )
    if best.empty:
        yield Markup("No trial can be ranked.")
    else:
        first, *others = best.to_dict("records")
        of = f"the best of {len(best)} architectures" if others else "the only architecture with a ranked trial"
        yield Markup("<strong>{}</strong> is {} on validation: {} reached a {}{} of {}{}.").format(
            first["architecture"],
            of,
            _linked(first, links),
            f"mean over {first['seeds']} fresh seeds in " if covered else "",
            plots.label(rank_by).partition(" (")[0],
            cell(rank_by, first[rank_by]),
            _on_test(first),
        )
        if others:
            scores = [
                Markup("{} {}{}").format(_linked(each, links), cell(rank_by, each[rank_by]), _on_test(each))
                for each in others
            ]
            yield Markup("The best of the others: {}.").format(Markup(", ").join(scores))
        if not covered:
            texts = f" on {search.metrics['num_test']:,.0f} test texts" if "num_test" in search.metrics else ""
            yield Markup("Each is one trial with one seed{}: small differences can be luck.").format(texts)
    for sentence in searched_less(trials):
        yield Markup("{}").format(sentence)
    if len(trials):
        counts = {each.value: (trials["outcome"] == each.value).sum() for each in Outcome}
        yield Markup("{} trial{}: {}. Trained for {} s in all, {}.").format(
            len(trials),
            "s" * (len(trials) > 1),
            ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count),
            f"{trials['seconds'].sum():,.0f}",
            _when(search),
        )


def _on_fresh_seeds(confirmed: Sequence[Table], rank_by: str) -> pd.DataFrame:
    """The best confirmed configuration of each architecture, with the means of at least two seeds as its scores."""
    frame = pd.concat([each.frame for each in confirmed] or [pd.DataFrame()])
    frame = frame.reindex(columns=["architecture", "trial", "run_id", "seeds", f"{rank_by}_mean", "test_accuracy_mean"])
    frame = frame[frame["seeds"] > 1].dropna(subset="run_id").drop_duplicates("architecture")
    return frame.rename(columns=lambda name: name.removesuffix("_mean"))


def _on_test(row: Mapping[Any, Any]) -> str:
    known = not pd.isna(row["test_accuracy"])
    return f" (test accuracy {cell('test_accuracy', row['test_accuracy'])})" if known else " (no test score)"


def _linked(row: Mapping[Any, Any], links: Links) -> Markup:
    return Markup('<a href="{}">{}</a>').format(links.run(row["run_id"]), row["trial"])


def _when(search: Search) -> str:
    start = f"{search.start:%Y-%m-%d %H:%M}"
    if search.end is None:
        return f"started {start} UTC"
    same_day = search.end.date() == search.start.date()
    return f"from {start} to {search.end:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"


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
        versions=shown(_pairs(versions, "package")),
        digests=shown(_pairs(digests, "tag")),
    )
