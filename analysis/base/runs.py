"""Searches as MLflow records them: their trials as one tidy frame (a row per trial) or as `Trial` records."""

import io
import json
import math
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.base.baselines import BASELINE, ROLE, SEARCHED, role_by_name
from analysis.base.reading import PAGE_SIZE, no_garbage_collection, once, open_client, read_artifact, read_runs
from data.base.errors import UserError, nearest
from search.base import mlflow_uri, names, origin, schema
from search.base.schema import Outcome
from search.study.trial import Trial, Worker
from search.train.costs import COSTS
from search.train.metrics import declare, measures

if TYPE_CHECKING:
    from mlflow.entities import Run

    from search.spec.space import Space
    from search.spec.spec import Spec

SEARCHES = Path("searches")  # the default folder of `search run`
AT_ONCE = 8  # concurrent requests to a tracking server
RANK_BY = "val_accuracy"  # for searches that record no metric

_BEFORE, _RESULTS, _REST = schema.COLUMNS
_OPEN = (Outcome.RUNNING, Outcome.INTERRUPTED)  # a resume continues these trials


def _after() -> dict[str, str]:
    return {**_RESULTS, **dict.fromkeys(measures(), "float64"), **_REST}


def _no_spec() -> "Spec":
    raise UserError("the spec is not in MLflow")


@dataclass(frozen=True)
class Search:
    """The parent run of a search. Fields that a half-written run lacks are None."""

    id: str
    run_id: str
    experiment_id: str
    start: datetime
    metric: str | None  # by which trials were ranked and their best epochs chosen
    outcome: str | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)  # numbers of texts, classes and words
    end: datetime | None = None
    #: Loads the spec from MLflow. Raises UserError when it is missing or cannot be read.
    load_spec: "Callable[[], Spec]" = field(default=_no_spec, compare=False, repr=False)

    @property
    def spec(self) -> "Spec | None":
        """The spec; None when `load_spec` raises UserError."""
        try:
            return self.load_spec()
        except UserError:
            return None

    @property
    def spaces(self) -> "Mapping[str, Space] | None":
        """The search space of each architecture."""
        return self.spec.spaces if self.spec else None

    @property
    def separator(self) -> str | None:
        """The separator of the classes of a text, if a text can have several."""
        return self.spec.reading.multi_label if self.spec else None

    @property
    def objectives(self) -> list[str]:
        """The objectives of a multi-objective search; empty for a single objective."""
        return [name for name in self.tags.get(schema.OBJECTIVES, "").split(",") if name]

    @property
    def confirms(self) -> str | None:
        """The id of the search that this one confirms."""
        return self.tags.get(schema.CONFIRMS)

    @property
    def name(self) -> str:
        """The id without its date and time."""
        return names.split_search(self.id)[0]


@once
def searches(uri: str) -> list[Search]:
    """All searches recorded at a tracking URI, oldest first.

    Registers their custom metrics; if several searches declare a metric, the newest one wins (`find_searches` overrides
    that). Raises UserError when MLflow cannot be read.
    """
    found = [
        Search(
            id=run.data.tags[schema.SEARCH],
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            start=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            metric=run.data.tags.get(schema.METRIC),
            outcome=run.data.tags.get(schema.OUTCOME),
            tags=run.data.tags,
            metrics=run.data.metrics,
            end=datetime.fromtimestamp(run.info.end_time / 1000, UTC) if run.info.end_time else None,
            load_spec=cache(partial(_load_spec, uri, run.info.run_id, run.data.tags)),
        )
        for run in read_runs(uri, f"tags.`{schema.KIND}` = '{schema.KIND_SEARCH}'")
        if schema.SEARCH in run.data.tags
    ]
    found.sort(key=lambda search: search.start)
    for search in reversed(found):
        declare(search.tags.get(schema.METRICS, "{}"), again=False)
    return found


def find_search(uri: str, search: str = "latest") -> Search:
    """The search with this id or MLflow run id, or the newest with this name, or the newest of all (`latest`).

    Searches whose folder is in SEARCHES take precedence. Raises UserError when there is no match.
    """
    return find_searches(uri, [search])[0]


def find_searches(uri: str, names: Iterable[str]) -> list[Search]:
    """The searches that these names mean (see `find_search`), without duplicates. Registers their custom metrics."""
    known = searches(uri)
    if not known:
        raise UserError(
            f"no search in {mlflow_uri.without_password(uri)} yet; start one: python -m search run (another MLflow: "
            "--tracking-uri)"
        )
    here = {folder.name for folder in origin.folders("", SEARCHES)}
    found = {search.id: search for search in (_newest(known, name, here) for name in dict.fromkeys(names))}
    for search in sorted(found.values(), key=lambda search: search.start):
        declare(search.tags.get(schema.METRICS, "{}"))
    return list(found.values())


def _newest(known: Sequence[Search], name: str, here: Container[str]) -> Search:
    matching = [search for search in known if name in ("latest", search.id, search.name, search.run_id)]
    if not matching:
        near = nearest(name, [known_as for search in reversed(known) for known_as in (search.name, search.id)])
        meant = f" (did you mean {near!r}?)" if near else ""
        raise UserError(f"no search {name!r}{meant}; the newest: {', '.join(search.id for search in known[:-4:-1])}")
    newest = ([search for search in matching if search.id in here] or matching)[-1]
    if name not in (newest.id, newest.run_id):
        somebody = newest.tags.get(schema.USER)
        origin.say_which(name, newest.id, somebody if somebody != origin.user() else None)
    return newest


def _load_spec(uri: str, run_id: str, tags: Mapping[str, str]) -> "Spec":
    """The spec of a search from MLflow. Raises UserError when it is missing or invalid.

    A spec with user code is refused unless the same code is in the search's folder on this machine: reading a spec
    executes its code, and whoever can write to a tracking server must not execute code on the machines of its readers.
    """
    from search.spec import read  # deferred: it takes seconds, and most callers do not need it

    for name in (schema.SPEC, read.SPEC_FILE):  # old searches have only the second
        text = read_artifact(uri, run_id, name)
        if text is None:
            continue
        code = _code(read.parse(text, name))
        local = Path(tags.get(schema.FOLDER, ""), read.SPEC_FILE)
        if code and not (local.is_file() and _code(read.parse(local.read_bytes(), str(local))) == code):
            names = ", ".join(source for sources in code.values() for source in sources)
            raise UserError(
                f"{tags.get(schema.SEARCH)} ran user code ({names}), which is executed only on the machine with the "
                "search's folder: read it there"
            )
        return read.load(text, name)
    return _no_spec()


def _code(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sources of user code in a spec, by key and name."""
    kept = content.get("code")
    return {key: sources for key, sources in kept.items() if sources} if isinstance(kept, dict) else {}


#: Columns with the most probable classes, in predictions of many classes.
TOP_CLASSES = [f"top {rank}" for rank in range(1, 10)]


@once
def read_predictions(uri: str, run_id: str) -> pd.DataFrame | None:
    """A trial's predictions of the test texts (see `schema.PREDICTIONS`); None when they were not kept.

    Raises UserError when MLflow or the file cannot be read.
    """
    text = read_artifact(uri, run_id, schema.PREDICTIONS)
    if text is None:
        return None
    try:
        # Without keep_default_na=False, a class named NA would become a missing value.
        texts = dict.fromkeys(("label", "predicted", *TOP_CLASSES), "str")
        predictions = pd.read_csv(io.StringIO(text), dtype=texts, keep_default_na=False)
        return predictions[["label", "predicted", *predictions.columns.drop(["label", "predicted"])]]
    except (ValueError, KeyError) as error:
        raise UserError(f"{schema.PREDICTIONS} of the run {run_id} cannot be read: {error}") from error


def read_reliability(uri: str, run_id: str) -> pd.DataFrame | None:
    """A trial's accuracy by confidence (see `schema.RELIABILITY`); None when it was not kept.

    Raises UserError when MLflow or the file cannot be read.
    """
    text = read_artifact(uri, run_id, schema.RELIABILITY)
    if text is None:
        return None
    try:
        return pd.read_csv(io.StringIO(text), dtype="float64")[
            ["calibrated", "temperature", "confidence", "right", "answers"]
        ]
    except (ValueError, KeyError) as error:
        raise UserError(f"{schema.RELIABILITY} of the run {run_id} cannot be read: {error}") from error


@once
def read_trials(uri: str, *search_ids: str, page_size: int = PAGE_SIZE) -> pd.DataFrame:
    """The trials of searches (by id) in the order of their starts, as a `tidy` frame.

    Metrics are those of a trial's best report on validation.
    """
    return tidy(_row(run) for search_id in search_ids for run in _trial_runs(uri, search_id, page_size))


def read_ensembles(uri: str, search_id: str) -> pd.DataFrame:
    """The exported ensembles of a search, in the order of their export, as a `tidy` frame with `members`.

    Of several ensembles with the same members, the newest.
    """
    where = f"tags.`{schema.KIND}` = '{schema.KIND_ENSEMBLE}' and tags.`{schema.SEARCH}` = '{search_id}'"
    newest = {run.data.params[schema.MEMBERS]: run for run in read_runs(uri, where) if run.data.params}
    return tidy(_row(run) for run in newest.values())


def read_records(uri: str, searches: Iterable[Search], *, baselines: bool = True) -> list[Trial]:
    """The trials of searches as records, in the order of their starts, without half-written ones.

    baselines: whether to include trials of baselines.
    """
    runs = ((search, run) for search in searches for run in _trial_runs(uri, search.id))
    runs = ((search, run) for search, run in runs if baselines or not _is_baseline(run))
    return [trial for search, run in runs if (trial := _record(search, run))]


def read_series(uri: str, run_ids: Iterable[str], names: Iterable[str]) -> pd.DataFrame:
    """The histories of metrics, by epoch or iteration: run_id, metric, step, value.

    Ordered by run, name and step, with unique steps. Missing runs and metrics have no rows. Raises UserError when
    MLflow cannot be read.
    """
    wanted = [(run_id, name) for run_id in dict.fromkeys(run_ids) for name in dict.fromkeys(names)]
    # Concurrent requests help with a server; a database file is read no faster.
    at_once = AT_ONCE if uri.startswith("http") else 1
    rows = []
    with open_client(uri) as client, no_garbage_collection(), ThreadPoolExecutor(at_once) as pool:
        histories = pool.map(lambda each: client.get_metric_history(*each), wanted)
        for (run_id, name), points in zip(wanted, histories, strict=True):
            by_step = {point.step: _with_infinity(point.value) for point in points}  # the last of repeated writes
            rows += [(run_id, name, step, by_step[step]) for step in sorted(by_step)]
    frame = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    return frame.astype({"run_id": "str", "metric": "str", "step": "Int64", "value": "float64"})


def in_epochs(series: pd.DataFrame) -> pd.DataFrame:
    """The series with steps converted to epochs by the metric EPOCHS_RUN of the same runs, which is removed.

    Without that metric, a step is an epoch.
    """
    counts = series["metric"] == schema.EPOCHS_RUN
    counted = series[counts].set_index(["run_id", "step"])["value"]
    rest = series[~counts]
    steps = pd.MultiIndex.from_frame(rest[["run_id", "step"]])
    found = pd.Series(counted.reindex(steps).to_numpy(), index=rest.index)
    return rest.assign(step=epochs(found.fillna(rest["step"].astype("float64"))))


def read_names(uri: str, run_ids: Iterable[str]) -> list[str]:
    """The names of the metrics of these runs, sorted. Raises UserError when MLflow cannot be read."""
    with open_client(uri) as client:
        return sorted({name for run_id in run_ids for name in client.get_run(run_id).data.metrics})


def tidy(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame on which all analysis works, from rows with any of its columns.

    Columns have a fixed order and dtype; absent values are missing values. All other keys are hyperparameters: integers
    (Int64), numbers (float64) or, if None or text is among them, objects; NaN if the architecture has no such
    hyperparameter, None if that is the value. The role of a row without one is inferred from its architecture.
    """
    frame = pd.DataFrame([{ROLE: role_by_name(row.get("architecture")), **row} for row in rows], dtype=object)
    columns = {name: _typed(frame, name, dtype) for name, dtype in _BEFORE.items()}
    columns |= {name: _natural(frame[name]) for name in hyperparameters(frame)}
    columns |= {name: _typed(frame, name, dtype) for name, dtype in _after().items()}
    return pd.DataFrame(columns, index=frame.index)


def scored(trials: pd.DataFrame, metric: str) -> list[Any]:
    """The rows of a frame as `search.study.ranking` takes trials, with their `Index` in the frame."""
    used = ("search", "architecture", "number", "seed", "configuration", "fold", "repeats", "outcome", "num_parameters")
    columns = trials[[*used]]
    known = columns.assign(score=trials[metric]).astype(object)
    return list(known.where(known.notna(), None).itertuples())


def hyperparameters(trials: pd.DataFrame) -> list[str]:
    """The columns of a frame of trials that are hyperparameters: all except the fixed ones."""
    fixed = {*_BEFORE, *_after()}
    return [name for name in trials.columns if name not in fixed]


def present(value: Any) -> bool:
    """Whether a trial has this hyperparameter. None is a value (no clipping); NaN means there is none."""
    return value is None or not pd.isna(value)


def values(column: pd.Series) -> set[Any]:
    """The distinct values of a hyperparameter."""
    return {value for value in column if present(value)}


def _typed(frame: pd.DataFrame, name: str, dtype: Any) -> pd.Series:
    """The column with this dtype; absent or invalid values become missing values."""
    column = frame[name] if name in frame else pd.Series(None, index=frame.index, dtype=object)
    if dtype.startswith("datetime"):
        return pd.to_datetime(column, unit="ms", utc=True, errors="coerce").astype(dtype)
    if dtype != "str":
        column = pd.to_numeric(column, errors="coerce")
    return epochs(column) if dtype == schema.EPOCHS else column.astype(dtype)


def epochs(column: pd.Series) -> pd.Series:
    """Numbers of epochs as Int64, or as float64 if one of them is fractional."""
    numbers = column.astype("Float64")
    return numbers.astype("Int64" if (numbers % 1 == 0).fillna(True).all() else "float64")


def _natural(column: pd.Series) -> pd.Series:
    """A hyperparameter's column with an integer or float dtype if all values are such numbers."""
    kinds = {type(value) for value in values(column)}
    if kinds == {int}:
        return column.astype("Int64")
    return column.astype("float64") if kinds and kinds <= {int, float} else column


def _row(run: "Run") -> dict[str, Any]:
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    trial = tags.get(schema.TRIAL)
    # If the driver was killed between creating the run and writing its parameters, only the trial's name is known.
    architecture, _ = names.split_trial(trial or "") or (None, None)
    fixed = {
        "search": tags.get(schema.SEARCH),
        "trial": trial,
        "architecture": params.get(schema.ARCHITECTURE, architecture),
        "number": tags.get(schema.NUMBER),
        "configuration": params.get(schema.CONFIGURATION),
        "repetition": params.get(schema.REPETITION),
        "fold": params.get(schema.FOLD),
        schema.REPEATS: params.get(schema.REPEATS),
        "seed": params.get(schema.SEED),
        "outcome": tags.get(schema.OUTCOME),
        "run_id": run.info.run_id,
        ROLE: BASELINE if _is_baseline(run) else SEARCHED,
        "seconds": metrics.get(schema.TRIAL_SECONDS),
        "error": tags.get(schema.ERROR),
        "node": tags.get(schema.NODE),
        "attempt": tags.get(schema.ATTEMPT),
        "start": run.info.start_time,
        "end": run.info.end_time,
    }
    for name in (schema.EPOCHS_RUN, schema.BEST_EPOCH, schema.NUM_PARAMETERS, schema.MODEL_MB, schema.LATENCY_MS):
        fixed[name] = metrics.get(name)
    best = _best(run)
    return _hyperparameters(run) | fixed | {name: best.get(name) for name in measures()}


def _is_baseline(run: "Run") -> bool:
    """By the tag: a user's architecture may have the name of a baseline that was added later."""
    return bool(run.data.tags.get(schema.BASELINE) == schema.IS_BASELINE)


def _record(search: Search, run: "Run") -> Trial | None:
    """The trial of a run, as in its study except for the reports; None for a half-written run."""
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    identity = names.split_trial(tags.get(schema.TRIAL, ""))
    if identity is None or schema.ARCHITECTURE not in params:
        return None
    architecture, number = identity
    return Trial(
        architecture=architecture,
        number=number,
        search=search.id,
        folder=Path(search.tags.get(schema.FOLDER, search.id)),
        metric=search.metric or RANK_BY,
        hyperparameters=_hyperparameters(run),
        seed=int(params[schema.SEED]),
        configuration=params.get(schema.CONFIGURATION),
        repetition=int(params[schema.REPETITION]) if schema.REPETITION in params else None,
        repeats=params.get(schema.REPEATS),
        fold=params.get(schema.FOLD),
        outcome=Outcome(tags.get(schema.OUTCOME, Outcome.RUNNING)),
        error=tags.get(schema.ERROR),
        attempt=int(tags.get(schema.ATTEMPT, 1)),
        ended_by=tags.get(schema.ENDED_BY),
        epochs=metrics.get(schema.EPOCHS_RUN, 0.0),
        seconds=metrics.get(schema.TRIAL_SECONDS, 0.0),
        best_epoch=metrics.get(schema.BEST_EPOCH, 0.0),
        best=_best(run),
        num_parameters=metrics.get(schema.NUM_PARAMETERS),
        costs=_costs(metrics),
        run_id=run.info.run_id,
        worker=Worker(tags[schema.NODE], int(tags[schema.WORKER])) if schema.WORKER in tags else None,
        started=run.info.start_time,
        ended=None if tags.get(schema.OUTCOME) in (None, *_OPEN) else run.info.end_time,
        provenance={k: v for k, v in {**search.tags, **tags}.items() if k.startswith(schema.PROVENANCE)},
    )


def _costs(metrics: Mapping[str, float]) -> dict[str, float]:
    taken = {schema.TRAIN_SECONDS: metrics[schema.TRIAL_SECONDS]} if schema.TRIAL_SECONDS in metrics else {}
    known = {**metrics, **taken}
    return {name: known[name] for name in COSTS if name in known}


def _hyperparameters(run: "Run") -> dict[str, Any]:
    """The hyperparameters with their types, from a tag. Older runs have only parameters, which MLflow keeps as text."""
    exact = json.loads(run.data.tags.get(schema.HYPERPARAMETERS, "{}"))
    design = (
        *(schema.ARCHITECTURE, schema.SEED),
        *(schema.CONFIGURATION, schema.REPETITION, schema.REPEATS, schema.FOLD),
    )
    params = {name: value for name, value in run.data.params.items() if name not in design}
    return {name: exact[name] if name in exact else _parse(value) for name, value in params.items()}


def _best(run: "Run") -> dict[str, float]:
    """The metrics of the run's best epoch."""
    return {name: _with_infinity(value) for name, value in schema.of_best_epoch(run.data.metrics).items()}


def _with_infinity(value: float) -> float:
    """The value with infinity restored, which MLflow keeps as the largest float."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _parse(value: str) -> Any:
    """The likely original of a value that MLflow keeps as str(value): the text '1' becomes an integer."""
    constants = {"None": None, "True": True, "False": False}
    if value in constants:
        return constants[value]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _trial_runs(uri: str, search_id: str, page_size: int = PAGE_SIZE) -> Iterator["Run"]:
    where = f"tags.`{schema.KIND}` = '{schema.KIND_TRIAL}' and tags.`{schema.SEARCH}` = '{search_id}'"
    return read_runs(uri, where, page_size)
