"""The report page of a search: a self-contained index.html, with figures and their data beside it.

Everything comes from MLflow, except the memory of recurrent models, which needs their checkpoints. The order of the
page is in report.html.
"""

import base64
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.base import runs
from analysis.base.baselines import baselines, is_baseline
from analysis.base.baselines import searched as only_searched
from analysis.base.pictures import FORMATS, save
from analysis.base.reading import reading_once
from analysis.base.runs import Search
from analysis.base.table import Table, clean
from analysis.base.tables import make_folder, write
from analysis.boards import confirmation
from analysis.boards.comparison import pivot_tables
from analysis.boards.ensembles import ensemble_tables
from analysis.boards.fronts import front_table
from analysis.boards.leaderboard import architecture_table, check_metric, common_metric, ranking_table, varying
from analysis.boards.ledger import ledger_table
from analysis.explain import memory_curves
from analysis.figures.plot import PlotData
from analysis.figures.plots import PLOTS
from analysis.report import texts
from analysis.report.settings import pairs, searched, settings
from analysis.report.summary import summary
from analysis.report.view import Links, view
from analysis.verdicts import budget as budgets
from analysis.verdicts import budget_tables, confusion_tables, data_size, gain, tested, variance, why
from analysis.verdicts.differences import best_configurations, name_of, read_differences
from analysis.verdicts.importance import MAX_VALUES, importance_tables
from data.base.errors import UserError
from search.base import schema
from search.base.schema import Outcome
from search.spec.read import dump

_NOT_SHOWN = {schema.KIND, schema.SEARCH, schema.METRIC, schema.OUTCOME, schema.FOLDER, schema.CONFIRMS}
TEMPLATE = "report.html"
_PREFIXES = (schema.VERSION_PREFIX, schema.SPEC_PREFIX, schema.PLANNED_PREFIX, schema.TOOK_PREFIX)  # shown elsewhere


@reading_once()
def make(uri: str, search: Search, out: Path, rank_by: str | None = None, shared: Path | None = None) -> Path:
    """Write the report of a search to a folder, which is created if needed, and return its index.html.

    shared: a second folder, for the report as MLflow may store it: without words of the texts, unless the spec has
    `texts: all`. Raises UserError when MLflow cannot be read, a folder cannot be written, or rank_by is not a
    validation metric.
    """
    rank_by = rank_by or common_metric([search])
    check_metric(rank_by)
    folder = out / "figures"
    make_folder(folder)
    found, mattered = read(uri, search, rank_by)
    images = {name: _image(plot.render(found), folder / f"{name}.png") for name, plot in PLOTS.items()}
    if search.spec:
        write(dump(search.spec), out / "spec.yaml")
    page = out / "index.html"
    recorded = confirmation.read(uri, search)
    confirmed = confirmation.confirmation_tables(recorded, rank_by)
    verdict, different = gain.read(uri, recorded, rank_by), _differences(uri, search, rank_by)
    on_fronts = [front_table(search, found.trials, rank_by)] if found.objectives else []
    compared = [*on_fronts, *different, *_budget_tables(found), *found.paths.values()]
    compared += [found.sizes] if found.sizes else []
    exported = ensemble_tables(uri, search, rank_by)
    html = partial(render, uri, search, images=images, mattered=mattered, confirmed=confirmed, different=compared)
    write(html(found=found, answers=verdict.answers, exported=exported), page)
    if shared:
        shutil.copytree(out, shared, dirs_exist_ok=True)
        if found.inspection and not (search.spec and search.spec.texts == "all"):
            hidden = replace(found, inspection=found.inspection.without_texts())
            write(html(found=hidden, answers=verdict.answers, exported=exported), shared / page.name)
    return page


def read(uri: str, search: Search, rank_by: str) -> tuple[PlotData, Sequence[Table]]:
    """The data of all figures of a search, and the tables of importance. Raises UserError if MLflow cannot be read."""
    everything = runs.read_trials(uri, search.id)
    trials = only_searched(everything)
    mattered = importance_tables(search, trials, search.spec, np.random.default_rng(0), rank_by)
    remembered = memory_curves.read(memory_curves.of_search(uri, search), untrained=True)
    found = PlotData(trials, space=search.spaces, mattered=mattered[0].frame, rank_by=rank_by, memory=remembered)
    found = replace(found, baselines=baselines(everything), inspection=texts.read(uri, search))
    found = replace(found, objectives=search.objectives if rank_by == search.metric else [])
    found = replace(found, sizes=_sizes(uri, search), variances=_variances(uri, search, rank_by))
    found = replace(_with_budget(uri, search, found), paths=why.tables(uri, search))
    best = pd.concat([found.winners, found.best_baseline])
    predictions = _over_folds(uri, search, rank_by)
    if not predictions:
        kept = {str(trial): str(run_id) for trial, run_id in zip(best["trial"], best["run_id"], strict=True)}
        predictions = {trial: runs.read_predictions(uri, run_id) for trial, run_id in kept.items()}
    found = replace(
        found, confusions=confusion_tables.read(predictions, search.separator), reliability=_reliability(uri, best)
    )
    return replace(found, series=_series(uri, search, found)), mattered


def _over_folds(uri: str, search: Search, rank_by: str) -> dict[str, pd.DataFrame | None]:
    """The predictions of the best configuration of each architecture, and of the best baseline, for all texts, by name.
    Empty unless they were trained over folds and the predictions were kept."""
    recorded = confirmation.read(uri, search)
    if not recorded.folds:
        return {}
    best = best_configurations(recorded.repeated, rank_by)
    known = {name for name, group in best.items() if not is_baseline(group)}
    known |= set([name for name in best if name not in known][:1])
    said: dict[str, pd.DataFrame | None] = {}
    for group in (trials for name, trials in best.items() if name in known):
        predictions = {run_id: runs.read_predictions(uri, run_id) for run_id in group["run_id"]}
        kept = {run_id: frame for run_id, frame in predictions.items() if frame is not None}
        try:
            said |= {name_of(group): tested.said(tested.models(group)[0], kept)} if len(kept) == len(group) else {}
        except UserError:  # a fold has no result
            continue
    return said


def _reliability(uri: str, best: pd.DataFrame) -> pd.DataFrame:
    """The reliability of these trials, with their `architecture`."""
    models = zip(best["architecture"], best["run_id"], strict=True)
    known = [
        bins.assign(architecture=name) for name, run in models if (bins := runs.read_reliability(uri, run)) is not None
    ]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame()


def _series(uri: str, search: Search, found: PlotData) -> pd.DataFrame:
    """The histories that figures need: of all trials, and some of the winners only."""
    counted = [] if search.spec and search.spec.reports_per_epoch == 1 else [schema.EPOCHS_RUN]
    best = found.winners["run_id"].to_list()
    others = found.trials[~found.trials["run_id"].isin(best)]["run_id"]
    recorded = runs.read_names(uri, best)
    wanted = [(plot, name) for plot in PLOTS.values() for name in plot.series(found.rank_by, recorded)]
    of_best = runs.read_series(uri, best, [*counted, *(name for _, name in wanted)])
    of_others = runs.read_series(uri, others, [*counted, *(name for plot, name in wanted if not plot.of_winners)])
    return runs.in_epochs(pd.concat([of_best, of_others], ignore_index=True))


def _differences(uri: str, search: Search, rank_by: str) -> list[Table]:
    """The tables of differences between architectures, or a note on why there are none."""
    try:
        return read_differences(uri, search, rank_by)
    except UserError as error:
        why = f"It is unknown whether the architectures differ by more than luck: {error}."
        return [Table(pd.DataFrame({"architecture": []}), groups=[["architecture"]], key="architecture", notes=[why])]


def _sizes(uri: str, search: Search) -> Table | None:
    """The scores by number of training texts, if measured."""
    try:
        return data_size.read(uri, search)
    except UserError:
        return None


def _with_budget(uri: str, search: Search, found: PlotData) -> PlotData:
    """Add which architecture wins at which budget, or why that is unknown. Not for grids, where it makes no sense."""
    if search.spec is None or search.spec.sampler == "grid":
        return found
    try:
        budget, _ = budgets.read(uri, [search.id], found.rank_by)
    except budgets.NotKnownError as error:
        return replace(found, no_budget=str(error))
    return replace(found, budget=budget)


def _budget_tables(found: PlotData) -> list[Table]:
    if found.budget:
        return [*budget_tables.tables(found.budget, "What to use with a minute, ten minutes, an hour").values()]
    if not found.no_budget:
        return []
    why = f"{found.no_budget[:1].upper()}{found.no_budget[1:]}."
    return [Table(pd.DataFrame({"architecture": []}), [["architecture"]], key="architecture", notes=[why])]


def _variances(uri: str, search: Search, rank_by: str) -> pd.DataFrame:
    """The sources of the variance of test accuracy; empty for tasks without accuracy."""
    try:
        return variance.read(uri, [search], rank_by)[0].frame
    except UserError:
        return pd.DataFrame()


def _image(files: Mapping[str, bytes], png: Path) -> str:
    """Write the files of a figure and return its image as a data URI. Without files, return '' and delete those of an
    earlier report."""
    if files:
        save(files, png)
        return f"data:image/svg+xml;base64,{base64.b64encode(files['svg']).decode()}"
    try:
        for ending in FORMATS:
            png.with_suffix(f".{ending}").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot remove {png} of an earlier report: {error.strerror}") from error
    return ""


# --- Tables


def failures(trials: pd.DataFrame) -> Table:
    """The trials without a result, with the reasons."""
    ended = [Outcome.COMPLETE.value, Outcome.PRUNED.value]
    frame = trials[~trials["outcome"].isin(ended)].rename(columns={"error": "reason"})
    return Table(frame, groups=[["trial", "outcome", "reason", "epochs_run", "attempt", "node", "run_id"]], key="trial")


def comparisons(search: Search, found: PlotData) -> list[Table]:
    """Mean and spread of complete trials: by architecture, and also by hyperparameters whose values several share."""
    tables = pivot_tables([search], found.trials, "architecture")
    complete = found.trials[found.trials["outcome"] == Outcome.COMPLETE.value]
    for name in varying(complete):
        largest_cell = complete.groupby([name, "architecture"], dropna=False).size().max()
        if len(runs.values(complete[name])) <= MAX_VALUES and largest_cell > 1:
            tables += pivot_tables([search], found.trials, name, "architecture", [found.on_test])
    return tables


def _confused(found: PlotData) -> list[Table]:
    """The tables of classes that the best models confuse; empty if unknown."""
    if not found.confusions:
        return []
    mistakes = confusion_tables.mistake_tables(found.confusions)
    by_class = confusion_tables.class_tables(found.confusions)
    return [*mistakes, confusion_tables.pair_table(found.confusions), *by_class]


# --- The page


def _allowed_script() -> str:
    """The hash of the page's script for its Content Security Policy: browsers run no other script on the page."""
    (script,) = re.findall(r"<script>(.*?)</script>", (Path(__file__).with_name(TEMPLATE)).read_text("utf-8"), re.S)
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def render(
    uri: str,
    search: Search,
    found: PlotData,
    images: Mapping[str, str],
    mattered: Sequence[Table],
    confirmed: Sequence[Table] = (),
    different: Sequence[Table] = (),
    answers: Sequence[tuple[str, str]] = (),
    exported: Sequence[Table] = (),
) -> str:
    """The page as HTML; all values are escaped. images: data URIs by figure. answers: the questions and answers at the
    top (see `gain.Gain`). exported: the tables of ensembles."""
    trials, rank_by = found.everything, found.rank_by
    links = Links(uri, search, trials)

    said: set[str] = set()

    def shown(table: Table) -> dict[str, Any]:
        """The table without the search's id in its title, and without notes that stand above."""
        title = table.title.removeprefix(search.id).removeprefix(":").strip()
        notes = [note for note in table.notes if note not in said]
        said.update(notes)
        return view(replace(table, title=title[:1].upper() + title[1:], notes=notes), links)

    tags = {name: value for name, value in search.tags.items() if not name.startswith("mlflow.")}
    of_versions = [name for name in tags if name.startswith(schema.VERSION_PREFIX)]
    versions = {name.removeprefix(schema.VERSION_PREFIX): tags[name] for name in of_versions}
    digests = {name: value for name, value in tags.items() if not name.startswith(_PREFIXES) and name not in _NOT_SHOWN}
    best = found.winners["run_id"].to_list()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["one_line"] = clean
    return environment.get_template(TEMPLATE).render(
        script=_allowed_script(),
        search=search,
        answers=answers,
        summary=[*summary(search, found, links, confirmed)],
        links=links,
        settings=[shown(settings(search)), shown(searched(search))],
        inspection=found.inspection,
        texts=[*map(shown, texts.tables(found.inspection))] if found.inspection else [],
        texts_plots=[plot for plot in PLOTS.values() if plot.of_texts],
        leaderboard=shown(ranking_table(search, trials, rank_by, every=False)),
        confirmed=[*map(shown, confirmed)],
        exported=[*map(shown, exported)],
        winners=shown(architecture_table(search, trials, rank_by)),
        images=images,
        confused=[*map(shown, _confused(found))],
        winners_plots=[plot for plot in PLOTS.values() if plot.of_winners],
        comparisons=[*map(shown, [*different, *comparisons(search, found)])],
        mattered=[*map(shown, mattered)],
        plots=[plot for plot in PLOTS.values() if not (plot.of_winners or plot.of_texts)],
        ledger=shown(ledger_table(search, trials, rank_by)),
        failures=shown(failures(trials)),
        num_trials=len(trials),
        spec=dump(search.spec) if search.spec else None,
        commit=tags.get(schema.GIT_COMMIT),
        best_run=best[0] if best else None,
        versions=shown(pairs(versions, "package")),
        digests=shown(pairs(digests, "tag")),
    )
