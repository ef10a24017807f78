"""What MLflow holds of searches: their trials as one tidy frame, one row a trial, or as records."""

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
from analysis.base.reading import PAGE_SIZE, no_garbage_collection, open_client, read_artifact, read_runs
from data.base.errors import UserError, nearest
from search.base import names, origin, record
from search.base.record import Outcome
from search.study.trial import Trial, Worker
from search.train.costs import COSTS
from search.train.metrics import declare, measures

if TYPE_CHECKING:
    from mlflow.entities import Run

    from search.spec.space import Space
    from search.spec.spec import Spec

SEARCHES = Path("searches")  # where `search run` keeps them, if not told otherwise
AT_ONCE = 8  # questions to a server
RANK_BY = "val_accuracy"  # where a search does not say by what

_BEFORE, _RESULTS, _REST = record.COLUMNS
_OPEN = (Outcome.RUNNING, Outcome.INTERRUPTED)  # trials that have not ended for good


def _after() -> dict[str, str]:
    return {**_RESULTS, **dict.fromkeys(measures(), "float64"), **_REST}


def _no_spec() -> "Spec":
    raise UserError("the spec is not in MLflow")


@dataclass(frozen=True)
class Search:
    """The parent run of a search. Whatever a half-written run lacks is None."""

    id: str
    run_id: str
    experiment_id: str
    start: datetime
    metric: str | None  # what its trials were ranked by and their best epochs chosen by
    outcome: str | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)  # how many texts, classes and words
    end: datetime | None = None
    #: Its spec, from MLflow. Raises UserError, in one line, when it cannot be had or can be read no longer.
    load_spec: "Callable[[], Spec]" = field(default=_no_spec, compare=False, repr=False)

    @property
    def spec(self) -> "Spec | None":
        """What was searched, and how; None when `load_spec` cannot tell."""
        try:
            return self.load_spec()
        except UserError:
            return None

    @property
    def spaces(self) -> "Mapping[str, Space] | None":
        """What the hyperparameters of each architecture could be."""
        return self.spec.spaces if self.spec else None

    @property
    def separator(self) -> str | None:
        """What stands between the classes of a text, where it can have several."""
        return self.spec.reading.multi_label if self.spec else None

    @property
    def objectives(self) -> list[str]:
        """Its several objectives; empty where it has one."""
        return [name for name in self.tags.get(record.OBJECTIVES, "").split(",") if name]

    @property
    def confirms(self) -> str | None:
        """The id of the search whose best configurations this one repeats."""
        return self.tags.get(record.CONFIRMS)

    @property
    def name(self) -> str:
        """The id without its date and time."""
        return names.split_search(self.id)[0]


def searches(uri: str) -> list[Search]:
    """Every search recorded at this tracking URI, oldest first, its metrics known: as the newest declares them, unless
    one was asked for (see `find_searches`). Raises UserError when it cannot be read."""
    found = [
        Search(
            id=run.data.tags[record.SEARCH],
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            start=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            metric=run.data.tags.get(record.METRIC),
            outcome=run.data.tags.get(record.OUTCOME),
            tags=run.data.tags,
            metrics=run.data.metrics,
            end=datetime.fromtimestamp(run.info.end_time / 1000, UTC) if run.info.end_time else None,
            load_spec=cache(partial(_load_spec, uri, run.info.run_id, run.data.tags)),
        )
        for run in read_runs(uri, f"tags.`{record.KIND}` = '{record.KIND_SEARCH}'")
        if record.SEARCH in run.data.tags
    ]
    found.sort(key=lambda search: search.start)
    for search in reversed(found):
        declare(search.tags.get(record.METRICS, "{}"), again=False)
    return found


def find_search(uri: str, search: str = "latest") -> Search:
    """The search with this id or MLflow run id, or the newest of this name, or the newest of all (`latest`); of these
    one whose folder is here, in SEARCHES, if there is any.

    Raises UserError when there is none.
    """
    return find_searches(uri, [search])[0]


def find_searches(uri: str, names: Iterable[str]) -> list[Search]:
    """The search that each name means (see `find_search`), each once; from now on metrics are what these declare."""
    known = searches(uri)
    if not known:
        raise UserError(
            f"no search in {record.without_password(uri)} yet; start one: python -m search run (another MLflow: "
            "--tracking-uri)"
        )
    here = {folder.name for folder in origin.folders("", SEARCHES)}
    found = {search.id: search for search in (_newest(known, name, here) for name in dict.fromkeys(names))}
    for search in sorted(found.values(), key=lambda search: search.start):
        declare(search.tags.get(record.METRICS, "{}"))
    return list(found.values())


def _newest(known: Sequence[Search], name: str, here: Container[str]) -> Search:
    matching = [each for each in known if name in ("latest", each.id, each.name, each.run_id)]
    if not matching:
        near = nearest(name, [known_as for each in reversed(known) for known_as in (each.name, each.id)])
        meant = f" (did you mean {near!r}?)" if near else ""
        raise UserError(f"no search {name!r}{meant}; the newest: {', '.join(each.id for each in known[:-4:-1])}")
    newest = ([each for each in matching if each.id in here] or matching)[-1]
    if name not in (newest.id, newest.run_id):
        somebody = newest.tags.get(record.USER)
        origin.say_which(name, newest.id, somebody if somebody != origin.user() else None)
    return newest


def _load_spec(uri: str, run_id: str, tags: Mapping[str, str]) -> "Spec":
    """Raises UserError, too, for one that brings code of others which this machine has not run: reading a spec executes
    its code, and whoever writes to a tracking server must not decide what those who read from it execute."""
    from search.spec import read  # which takes seconds, and most of what reads runs does without

    for name in (record.SPEC, read.SPEC_FILE):  # old searches have only the one for people
        text = read_artifact(uri, run_id, name)
        if text is None:
            continue
        code = _code(read.parse(text, name))
        own = Path(tags.get(record.FOLDER, ""), read.SPEC_FILE)
        if code and not (own.is_file() and _code(read.parse(own.read_bytes(), str(own))) == code):
            names = ", ".join(each for kind in code.values() for each in kind)
            raise UserError(
                f"{tags.get(record.SEARCH)} ran code that is not ours ({names}), which is executed only where the "
                "search's folder is: read it on that machine"
            )
        return read.load(text, name)
    return _no_spec()


def _code(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sources in a spec, by the key and the name that they are called by."""
    kept = content.get("code")
    return {key: sources for key, sources in kept.items() if sources} if isinstance(kept, dict) else {}


#: Names of classes, as predictions of many classes have them.
TOP_CLASSES = [f"top {rank}" for rank in range(1, 10)]


def read_predictions(uri: str, run_id: str) -> pd.DataFrame | None:
    """What the trial's model said of each test text (see `record.PREDICTIONS`); None when that is not kept.

    Raises UserError when MLflow or the file cannot be read.
    """
    text = read_artifact(uri, run_id, record.PREDICTIONS)
    if text is None:
        return None
    try:
        # A class may be called NA.
        texts = dict.fromkeys(("label", "predicted", *TOP_CLASSES), "str")
        predictions = pd.read_csv(io.StringIO(text), dtype=texts, keep_default_na=False)
        return predictions[["label", "predicted", *predictions.columns.drop(["label", "predicted"])]]
    except (ValueError, KeyError) as error:
        raise UserError(f"{record.PREDICTIONS} of the run {run_id} cannot be read: {error}") from error


def read_reliability(uri: str, run_id: str) -> pd.DataFrame | None:
    """How often what the trial's model says with a confidence is right (see `record.RELIABILITY`); None when that is
    not kept. Raises UserError when MLflow or the file cannot be read."""
    text = read_artifact(uri, run_id, record.RELIABILITY)
    if text is None:
        return None
    try:
        return pd.read_csv(io.StringIO(text), dtype="float64")[
            ["calibrated", "temperature", "confidence", "right", "answers"]
        ]
    except (ValueError, KeyError) as error:
        raise UserError(f"{record.RELIABILITY} of the run {run_id} cannot be read: {error}") from error


def read_trials(uri: str, *search_ids: str, page_size: int = PAGE_SIZE) -> pd.DataFrame:
    """The trials of searches (ids, as `find_search` gives them) in the order they were started; see `tidy`.

    Metrics are those of the best report on validation.
    """
    return tidy(_row(run) for search_id in search_ids for run in _trial_runs(uri, search_id, page_size))


def read_ensembles(uri: str, search_id: str) -> pd.DataFrame:
    """What was exported of a search as an average of several models: `members`, and what `tidy` has of a trial that is
    known of it. Of equal members the newest, in the order in which they were exported."""
    where = f"tags.`{record.KIND}` = '{record.KIND_ENSEMBLE}' and tags.`{record.SEARCH}` = '{search_id}'"
    newest = {run.data.params[record.MEMBERS]: run for run in read_runs(uri, where) if run.data.params}
    return tidy(_row(run) for run in newest.values())


def read_records(uri: str, searches: Iterable[Search], *, baselines: bool = True) -> list[Trial]:
    """The trials of searches as records, in the order they were started, without those that are only half written.

    baselines: whether theirs are among them.
    """
    runs = ((search, run) for search in searches for run in _trial_runs(uri, search.id))
    runs = ((search, run) for search, run in runs if baselines or not _is_baseline(run))
    return [trial for search, run in runs if (trial := _record(search, run))]


def read_series(uri: str, run_ids: Iterable[str], names: Iterable[str]) -> pd.DataFrame:
    """What metrics were at each epoch or iteration of runs: run_id, metric, step, value.

    In the order of the runs, then of the names, then by step, each step once. A run without such a metric, or that
    isn't there, has no rows. Raises UserError when MLflow cannot be read.
    """
    wanted = [(run_id, name) for run_id in dict.fromkeys(run_ids) for name in dict.fromkeys(names)]
    # A server takes several questions at once; a database in a file is read no faster so.
    at_once = AT_ONCE if uri.startswith("http") else 1
    rows = []
    with open_client(uri) as client, no_garbage_collection(), ThreadPoolExecutor(at_once) as pool:
        histories = pool.map(lambda each: client.get_metric_history(*each), wanted)
        for (run_id, name), points in zip(wanted, histories, strict=True):
            by_step = {point.step: _with_infinity(point.value) for point in points}  # in time; written twice: the last
            rows += [(run_id, name, step, by_step[step]) for step in sorted(by_step)]
    frame = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    return frame.astype({"run_id": "str", "metric": "str", "step": "Int64", "value": "float64"})


def in_epochs(series: pd.DataFrame) -> pd.DataFrame:
    """The same series with what they count in epochs: as their runs' own EPOCHS_RUN says, which is left out, where it
    is among them. Without it a step is an epoch."""
    told = series["metric"] == record.EPOCHS_RUN
    counted = series[told].set_index(["run_id", "step"])["value"]
    rest = series[~told]
    steps = pd.MultiIndex.from_frame(rest[["run_id", "step"]])
    found = pd.Series(counted.reindex(steps).to_numpy(), index=rest.index)
    return rest.assign(step=epochs(found.fillna(rest["step"].astype("float64"))))


def read_names(uri: str, run_ids: Iterable[str]) -> list[str]:
    """The names of all metrics that any of these runs has. Raises UserError when MLflow cannot be read."""
    with open_client(uri) as client:
        return sorted({name for run_id in run_ids for name in client.get_run(run_id).data.metrics})


def tidy(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with any of the columns -> the frame that all of the analysis works on.

    Its columns have a fixed order and dtype, and are missing values where a row has none. All other keys are
    hyperparameters: integers (Int64), numbers (float64) or, with None or text among them, objects; NaN where the
    architecture has no such hyperparameter, None where that is its value. A row that does not say what kind of trial it
    is goes by the name of its architecture.
    """
    frame = pd.DataFrame([{ROLE: role_by_name(row.get("architecture")), **row} for row in rows], dtype=object)
    columns = {name: _typed(frame, name, dtype) for name, dtype in _BEFORE.items()}
    columns |= {name: _natural(frame[name]) for name in hyperparameters(frame)}
    columns |= {name: _typed(frame, name, dtype) for name, dtype in _after().items()}
    return pd.DataFrame(columns, index=frame.index)


def scored(trials: pd.DataFrame, metric: str) -> list[Any]:
    """The rows of a frame as `search.study.ranking` compares trials, each with its `Index` in the frame."""
    told = ("search", "architecture", "number", "seed", "configuration", "fold", "repeats", "outcome", "num_parameters")
    columns = trials[[*told]]
    known = columns.assign(score=trials[metric]).astype(object)
    return list(known.where(known.notna(), None).itertuples())


def hyperparameters(trials: pd.DataFrame) -> list[str]:
    """The columns of a frame of trials that are hyperparameters: all that are nothing else."""
    fixed = {*_BEFORE, *_after()}
    return [name for name in trials.columns if name not in fixed]


def present(value: Any) -> bool:
    """Whether a trial has this hyperparameter. None is a value (no clipping); NaN means there is none."""
    return value is None or not pd.isna(value)


def values(column: pd.Series) -> set[Any]:
    """The values that a hyperparameter takes."""
    return {value for value in column if present(value)}


def _typed(frame: pd.DataFrame, name: str, dtype: Any) -> pd.Series:
    """The column as this dtype; what is missing or unreadable is a missing value."""
    column = frame[name] if name in frame else pd.Series(None, index=frame.index, dtype=object)
    if dtype.startswith("datetime"):
        return pd.to_datetime(column, unit="ms", utc=True, errors="coerce").astype(dtype)
    if dtype != "str":
        column = pd.to_numeric(column, errors="coerce")
    return epochs(column) if dtype == record.EPOCHS else column.astype(dtype)


def epochs(column: pd.Series) -> pd.Series:
    """Numbers of epochs as Int64, or as float64 where one of them is no whole number."""
    numbers = column.astype("Float64")
    return numbers.astype("Int64" if (numbers % 1 == 0).fillna(True).all() else "float64")


def _natural(column: pd.Series) -> pd.Series:
    """A hyperparameter's column, as an integer or float dtype where all of its values are such numbers."""
    kinds = {type(value) for value in values(column)}
    if kinds == {int}:
        return column.astype("Int64")
    return column.astype("float64") if kinds and kinds <= {int, float} else column


def _row(run: "Run") -> dict[str, Any]:
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    trial = tags.get(record.TRIAL)
    # A driver that was killed between making the run and writing its parameters leaves only the trial's name.
    architecture, _ = names.split_trial(trial or "") or (None, None)
    fixed = {
        "search": tags.get(record.SEARCH),
        "trial": trial,
        "architecture": params.get(record.ARCHITECTURE, architecture),
        "number": tags.get(record.NUMBER),
        "configuration": params.get(record.CONFIGURATION),
        "repetition": params.get(record.REPETITION),
        "fold": params.get(record.FOLD),
        record.REPEATS: params.get(record.REPEATS),
        "seed": params.get(record.SEED),
        "outcome": tags.get(record.OUTCOME),
        "run_id": run.info.run_id,
        ROLE: BASELINE if _is_baseline(run) else SEARCHED,
        "seconds": metrics.get(record.TRIAL_SECONDS),
        "error": tags.get(record.ERROR),
        "node": tags.get(record.NODE),
        "attempt": tags.get(record.ATTEMPT),
        "start": run.info.start_time,
        "end": run.info.end_time,
    }
    for name in (record.EPOCHS_RUN, record.BEST_EPOCH, record.NUM_PARAMETERS, record.MODEL_MB, record.LATENCY_MS):
        fixed[name] = metrics.get(name)
    best = _best(run)
    return _hyperparameters(run) | fixed | {name: best.get(name) for name in measures()}


def _is_baseline(run: "Run") -> bool:
    """By its tag: what goes by a baseline's name may be older than that, and somebody's own."""
    return bool(run.data.tags.get(record.BASELINE) == record.IS_BASELINE)


def _record(search: Search, run: "Run") -> Trial | None:
    """The trial of a run, as its study would have it but for its results; None of one half written."""
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    identity = names.split_trial(tags.get(record.TRIAL, ""))
    if identity is None or record.ARCHITECTURE not in params:
        return None
    architecture, number = identity
    return Trial(
        architecture=architecture,
        number=number,
        search=search.id,
        folder=Path(search.tags.get(record.FOLDER, search.id)),
        metric=search.metric or RANK_BY,
        hyperparameters=_hyperparameters(run),
        seed=int(params[record.SEED]),
        configuration=params.get(record.CONFIGURATION),
        repetition=int(params[record.REPETITION]) if record.REPETITION in params else None,
        repeats=params.get(record.REPEATS),
        fold=params.get(record.FOLD),
        outcome=Outcome(tags.get(record.OUTCOME, Outcome.RUNNING)),
        error=tags.get(record.ERROR),
        attempt=int(tags.get(record.ATTEMPT, 1)),
        ended_by=tags.get(record.ENDED_BY),
        epochs=metrics.get(record.EPOCHS_RUN, 0.0),
        seconds=metrics.get(record.TRIAL_SECONDS, 0.0),
        best_epoch=metrics.get(record.BEST_EPOCH, 0.0),
        best=_best(run),
        num_parameters=metrics.get(record.NUM_PARAMETERS),
        costs=_costs(metrics),
        run_id=run.info.run_id,
        worker=Worker(tags[record.NODE], int(tags[record.WORKER])) if record.WORKER in tags else None,
        started=run.info.start_time,
        ended=None if tags.get(record.OUTCOME) in (None, *_OPEN) else run.info.end_time,
        provenance={k: v for k, v in {**search.tags, **tags}.items() if k.startswith(record.PROVENANCE)},
    )


def _costs(metrics: Mapping[str, float]) -> dict[str, float]:
    taken = {record.TRAIN_SECONDS: metrics[record.TRIAL_SECONDS]} if record.TRIAL_SECONDS in metrics else {}
    told = {**metrics, **taken}
    return {name: told[name] for name in COSTS if name in told}


def _hyperparameters(run: "Run") -> dict[str, Any]:
    """As they were. Runs from before the tag that keeps them have only what str() made of them."""
    exact = json.loads(run.data.tags.get(record.HYPERPARAMETERS, "{}"))
    design = (
        *(record.ARCHITECTURE, record.SEED),
        *(record.CONFIGURATION, record.REPETITION, record.REPEATS, record.FOLD),
    )
    params = {name: value for name, value in run.data.params.items() if name not in design}
    return {name: exact[name] if name in exact else _parse(value) for name, value in params.items()}


def _best(run: "Run") -> dict[str, float]:
    """The metrics of its best epoch."""
    return {name: _with_infinity(value) for name, value in record.of_best_epoch(run.data.metrics).items()}


def _with_infinity(value: float) -> float:
    """MLflow keeps an infinity as the largest float."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _parse(value: str) -> Any:
    """What a value was that MLflow keeps as str(value), by its looks: '1' may have been a text."""
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
    where = f"tags.`{record.KIND}` = '{record.KIND_TRIAL}' and tags.`{record.SEARCH}` = '{search_id}'"
    return read_runs(uri, where, page_size)
