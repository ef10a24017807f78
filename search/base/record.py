"""The vocabulary of a run: the name of every parameter, metric, tag and outcome, and where runs are kept.

`search.track` writes these names and `analysis.base.runs` reads them. Imports nothing heavy, so that a command can
answer `--help` at once.
"""

import os
import re
import shlex
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote


class Outcome(StrEnum):
    """How a trial ended (tag `outcome`)."""

    COMPLETE = "complete"  # ran all its epochs, or as many as its search had patience for
    PRUNED = "pruned"  # stopped early by the pruner
    DIVERGED = "diverged"  # its loss or a metric became NaN or infinite
    FAILED = "failed"  # raised, or its worker died more often than the retries allow
    REFUSED = "refused"  # what was measured of it breaks a limit of its search
    INTERRUPTED = "interrupted"  # the driver stopped; goes on when the search is resumed
    RUNNING = "running"


SPLITS = ("train", "val", "test")

# --- Series of a trial's run. Steps are reports (from 1), but for the two curves, whose steps are iterations. An epoch
# has one report unless the spec says otherwise; EPOCHS_RUN is the axis on which any runs can be laid over each other.
CURVE_LOSS, CURVE_ACCURACY = "curve_loss", "curve_accuracy"
#: Mean of the gradient's L2 norm, before any clipping, over the curve points since the last report and the last
#: iteration (with clipping: over all iterations).
GRAD_NORM = "grad_norm"
#: And a layer's name, such as output: the same of its parameters, at the curve points only. Older runs have
#: `grad_norm/output` beside `grad_norm`, a folder and a file of one name in MLflow's file store.
GRAD_NORM_OF, OLD_GRAD_NORM_OF = "grad_norms/", "grad_norm/"


def as_named_now(metric: str) -> str:
    """The name of a metric of an older run."""
    old = metric.startswith(OLD_GRAD_NORM_OF)
    return GRAD_NORM_OF + metric.removeprefix(OLD_GRAD_NORM_OF) if old else metric


def gradient_layer(metric: str) -> str | None:
    """'grad_norms/output' -> 'output', '' for the norm of all layers together; None for any other metric."""
    if metric == GRAD_NORM:
        return ""
    name = as_named_now(metric)
    return name.removeprefix(GRAD_NORM_OF) if name.startswith(GRAD_NORM_OF) else None


LEARNING_RATE = "learning_rate"
EPOCH_SECONDS = "epoch_seconds"  # since the last report
# and {train,val}_ with each metric of the task

# --- Single values of a trial's run. `best_*` are those of the trial's best validation report, and so is `test_*`.
BEST_EPOCH = "best_epoch"  # in epochs, as the next one: a fraction within one
EPOCHS_RUN = "epochs_run"
TEMPERATURE = "temperature"  # that its logits are divided by to be calibrated, as `best_temperature`
CALIBRATED_ECE = "test_calibrated_ece"  # the ECE that this leaves
THRESHOLD = "threshold"  # on the probability of the positive one of two classes, chosen on validation
WITH_THRESHOLD = "threshold_{}"  # `best_threshold_val` and `best_threshold_test`: the search's metric with it
NUM_PARAMETERS = "num_parameters"  # trainable ones
MODEL_MB = "model_mb"  # of all numbers that answer a text, where its search asks for it
LATENCY_MS = "latency_ms"  # of one text on one thread, likewise
TRAIN_SECONDS = "train_seconds"  # what an objective or a limit calls its TRIAL_SECONDS
TRIAL_SECONDS = "trial_seconds"  # spent in its epochs, all attempts together


def best(metric: str) -> str:
    """'val_accuracy' -> 'best_val_accuracy'; test metrics have only one value, that of the best epoch."""
    return metric if metric.startswith("test_") else f"best_{metric}"


def of_best_epoch(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a run has of its best epoch, by the names of the epochs' metrics; the other way round than `best`."""
    names = (name.removeprefix("best_") for name in metrics if name.startswith(("best_", "test_")))
    return {name: metrics[best(name)] for name in names if best(name) != BEST_EPOCH}


# --- Parameters of a trial's run: these and one for each hyperparameter.
ARCHITECTURE, SEED = "architecture", "seed"
REPETITION = "repetition"  # from 0: which of the equal trials it is that differ in nothing but their seeds
FOLD = "fold"  # '2/5': which division of the texts it learned and was tested on, where each text is tested once
TRAIN_SHARE = "train_share"  # of the training texts that it learns from, where a configuration says so
REPEATS = "repeats"  # the trial of its search whose configuration was proposed again, as this one: 'gru-3'
CONFIGURATION = "configuration"  # the name of its configuration, in a search of configurations instead of a space

# --- Tags.
KIND, KIND_SEARCH, KIND_TRIAL = "kind", "search", "trial"  # a search is the parent run of its trials
KIND_ENSEMBLE = "ensemble"  # and of the models of several trials that were exported as one; no trial itself
SEARCH = "search"  # '<name>-<yyyymmdd-hhmmss>'
TRIAL = "trial"  # '<architecture>-<number>'
NUMBER = "number"  # the Optuna trial's number
HYPERPARAMETERS = "hyperparameters"  # as JSON: of a parameter MLflow keeps only str(value)
BASELINE, IS_BASELINE = "baseline", "yes"  # on the trials of baselines only
OUTCOME = "outcome"
ERROR = "error"  # the last line of what was raised
ENDED_BY, PATIENCE = "ended_by", "patience"  # what ended a complete trial before its last epoch
ATTEMPT = "attempt"  # 1, or more after worker deaths and resumes
NODE = "node"  # the address of the machine that ran the trial
WORKER = "worker_pid"  # and the process there; workers are reused
METRIC = "metric"  # on the search: what its trials are ranked by
OBJECTIVES = "objectives"  # and its several objectives, where it has any, with commas between them
METRICS = "metrics"  # and the metrics that are not ours (see `search.train.metrics.declaration`)
DATA_DIGEST = "data_digest"
GIT_COMMIT = "git_commit"
MAJORITY = "majority"  # on the search, where texts are of one class each: the most frequent one of the test texts
MAJORITY_SHARE = "majority_share"  # and a metric beside it, its share
NUM_TRAIN, NUM_FITTED = "num_train", "num_train_fitted"  # training texts; and what estimators learn from, if fewer
POSITIVE_CLASS = "positive_class"  # of two classes, that which F1, ROC AUC and average precision are of
USER = "mlflow.user"  # MLflow's own tag, on the search: who started it
FOLDER = "folder"  # on the search: where its spec, studies and checkpoints are
CPU = "cpu"  # the model of the worker's processor; on the search the driver's
KERNELS = "kernels"  # what does the models' work there: the compiled kernels, by name, or torch
DEVICE = "device"  # where networks are trained there: cpu, or the name of the card
LOOKS = "looks"  # on a confirmation: at how many looks at its seeds, this one included, verdicts are to be right
CONFIRMS = "confirms"  # on the search: the id of the search whose best configurations it repeats
PATH_OF = "path_of"  # on the search: the id of the search whose default it turns into its best, step by step
SIZES_OF = "sizes_of"  # on the search: the id of the search whose best models it trains on fewer texts
PLANNED_PREFIX = "planned."  # on the search: planned.wall_seconds, planned.trial_seconds: what `plan` had predicted
TOOK_PREFIX = "took."  # and what it took, of both
REFUSED = "refused"  # on the search: architecture -> limit -> how many draws broke it and were no trials, as JSON
STOPPED = "stopped"  # on the search: architecture -> why it got fewer trials than planned, how many and when, as JSON
REPLAY = "replay"  # whether training it again gave the same numbers
#: On the search: spec.trials, spec.time_budget and other keys of its spec that a resume may change; MLflow lets no
#: parameter change.
SPEC_PREFIX = "spec."
VERSION_PREFIX = "version."  # version.torch, version.ray, ...
#: How the tags begin that say what a trial learned from, with which code and where.
PROVENANCE = (DATA_DIGEST, GIT_COMMIT, CPU, KERNELS, DEVICE, VERSION_PREFIX)
PARENT_RUN_ID = "mlflow.parentRunId"  # MLflow's own tag that nests a run under another

# --- Parameter of an ensemble's run, whose metrics are named as a trial's.
MEMBERS = "members"  # what its models are called, the first one first: 'gru-3, mlp-0'

# --- Artifacts of a search's run.
SPEC = "spec.json"  # for programs; beside it is the search's spec.yaml, for people. Without `storage`: see there.

# --- Artifacts of a trial's run.
#: Of a complete trial: a row for each text of the test set, in the order of the encoded corpus, with the columns
#: `label` and `predicted` (names of classes) and `probability of <class>` for each class; of more than 50 classes
#: of the most probable ones only, as `top 1`, `probability 1`, `top 2`, ... Of images only the first two:
#: the digits of their quadrants, as asked for and as read ('7 - - 3').
PREDICTIONS = "test_predictions.csv"
#: Of a complete trial of a classifier: as trained, and `calibrated` (1) by its `temperature`, a row for each bin of
#: confidence that has any test texts: their mean `confidence`, the share that is `right`, and how many `answers` they
#: are.
RELIABILITY = "test_reliability.csv"
#: Of a trial that draws, an image for each report: what was drawn for some validation texts, above what was asked for.
PICTURE = "drawn-above-wanted"


def picture(step: int) -> str:
    """The file of a report's image, beside the trial's checkpoints."""
    return f"epoch-{step:04d}.png"


EPOCHS = "epochs"  # the dtype of a column of these: Int64, or float64 where one has fractions

ROLE = "role"  # a column of the analysis: what a trial is in its search, searched or a baseline

#: Columns of the analysis's table of trials, with their dtypes: those before the hyperparameters, those between these
#: and the metrics, and those after the metrics. No hyperparameter may have such a name.
COLUMNS = (
    {
        "search": "str",
        "trial": "str",
        "architecture": "str",
        "number": "Int64",
        "configuration": "str",
        "repetition": "Int64",
        "fold": "str",
        REPEATS: "str",
        "seed": "Int64",
        "outcome": "str",
        "run_id": "str",
        ROLE: "str",
    },
    {
        "epochs_run": EPOCHS,
        "best_epoch": EPOCHS,
        "num_parameters": "Int64",
        MODEL_MB: "float64",
        LATENCY_MS: "float64",
        "seconds": "float64",
    },
    {
        "error": "str",
        "node": "str",
        "attempt": "Int64",
        "start": "datetime64[ms, UTC]",
        "end": "datetime64[ms, UTC]",
    },
)

SCORE_RULE = (
    "A trial's score is its best report on validation; its test numbers are those of that report's weights. "
    "Nothing is chosen on the test set."
)


def tracking_uri(given: str | None = None) -> str:
    """The MLflow tracking URI: the given one, else MLFLOW_TRACKING_URI, else a database in the working directory.

    A path in a `sqlite:` URI is made absolute, because Ray changes the directory of its workers.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, path = split_sqlite(uri)
    if scheme and not path.startswith("/"):
        here = str(Path.cwd()).replace("%", "%25").replace("?", "%3F")  # as its readers take them back
        uri = f"{scheme}{here.rstrip('/')}/{Path(path)}"
    return uri


def split_sqlite(uri: str) -> tuple[str, str]:
    """'sqlite+pysqlite:///mlflow.db' -> ('sqlite+pysqlite:///', 'mlflow.db'); two times '' for what names no file."""
    match = re.match(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)(?=[^?])", uri)
    return (match[1], uri.removeprefix(match[1])) if match else ("", "")


def sqlite_file(uri: str) -> Path | None:
    """The file that a `sqlite:` URI names; None of any other."""
    _, path = split_sqlite(uri)
    return Path(unquote(path.partition("?")[0])) if path else None


def require_database(uri: str) -> None:
    """Raise ConnectionError when the database of a tracking URI cannot be used: MLflow tries for 100 seconds."""
    if path := sqlite_file(uri):
        try:
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA schema_version")
        except sqlite3.Error as error:  # no such folder, not ours to open, no database
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:  # who has locked it will be done
                raise ConnectionError(str(error)) from error
    if re.match(r"(postgresql|mysql|mssql)\b", uri):
        import sqlalchemy

        try:
            sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect().close()
        except Exception as error:  # it is away, its password is another, its driver is missing, ...
            raise ConnectionError(str(error)) from error


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Within it, what in MLflow is given no URI (its registry asks for a model's artifacts so) takes this one."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


#: The names that MLflow's UI goes by here. By itself it answers to 10.example.com, too, which can be anybody's.
UI_HOSTS = "localhost:*,127.0.0.1:*"


def ui_command(uri: str) -> str:
    """What follows `python -m` to show a database in MLflow's UI, in this machine's browsers."""
    return f"mlflow ui --allowed-hosts {shlex.quote(UI_HOSTS)} --backend-store-uri {shlex.quote(without_password(uri))}"


def without_password(text: str) -> str:
    """A URI, or a text with some, as it may be shown: 'postgresql://me:***@host/db'."""

    def mask(match: re.Match[str]) -> str:
        scheme, user, password = match["scheme"], match["user"], match["password"]
        if scheme.startswith(("sqlite", "file")):
            return match[0]
        return f"{scheme}://{user}:***@" if password else f"{scheme}://***@"

    # A password may hold spaces; but what follows a port is none.
    password = r":(?:\S*|(?!\d+\s)[^@\n]*)"
    text = re.sub(rf"(?P<scheme>[\w+.-]+)://(?P<user>[^\s@:/]*)(?P<password>{password})?@", mask, text)
    return re.sub(r"(?i)([?&][^=&\s]*(?:password|passwd|pwd|token|secret|key)[^=&\s]*=)[^&\s]*", r"\1***", text)
