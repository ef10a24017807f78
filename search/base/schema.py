"""The names of all parameters, metrics, tags, artifacts and outcomes of runs.

`search.track` writes these names and `analysis.base.runs` reads them. Imports nothing heavy, so that `--help` is fast.
"""

from collections.abc import Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """How a trial ended (tag `outcome`)."""

    COMPLETE = "complete"  # ran all epochs, or was stopped by the patience of the search
    PRUNED = "pruned"  # stopped early by the pruner
    DIVERGED = "diverged"  # its loss or a metric became NaN or infinite
    FAILED = "failed"  # raised an exception, or its worker died more often than the retries allow
    REFUSED = "refused"  # exceeds a limit of the search
    INTERRUPTED = "interrupted"  # the driver stopped; continues when the search is resumed
    RUNNING = "running"


SPLITS = ("train", "val", "test")

# --- Series of a trial's run. Steps are reports (from 1), or iterations for the two curves. An epoch has one report by
# default; EPOCHS_RUN is the common axis for comparing runs.
CURVE_LOSS, CURVE_ACCURACY = "curve_loss", "curve_accuracy"
#: Mean L2 norm of the gradient before clipping, over the curve points since the last report and the last iteration
#: (with clipping: over all iterations).
GRAD_NORM = "grad_norm"
#: Prefixes of a layer's name, such as output: the norm for its parameters, at the curve points only. Older runs have
#: `grad_norm/output` besides `grad_norm`, which clash as a folder and a file in MLflow's file store.
GRAD_NORM_OF, OLD_GRAD_NORM_OF = "grad_norms/", "grad_norm/"


def as_named_now(metric: str) -> str:
    """The current name of a metric of an older run."""
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
# also {train,val}_<metric> for every metric of the task

# --- Single values of a trial's run. `best_*` and `test_*` belong to the trial's best report on validation.
BEST_EPOCH = "best_epoch"  # in epochs, like EPOCHS_RUN: has a fraction within an epoch
EPOCHS_RUN = "epochs_run"
TEMPERATURE = "temperature"  # divisor of the logits that calibrates the model; logged as `best_temperature`
CALIBRATED_ECE = "test_calibrated_ece"  # the ECE after calibration
THRESHOLD = "threshold"  # on the probability of the positive class of two, chosen on validation
WITH_THRESHOLD = "threshold_{}"  # `best_threshold_val` and `best_threshold_test`: the search's metric at the threshold
NUM_PARAMETERS = "num_parameters"  # trainable parameters
MODEL_MB = "model_mb"  # size of all numbers needed for inference; only if the search has it as objective or limit
LATENCY_MS = "latency_ms"  # inference of one text on one thread; likewise
TRAIN_SECONDS = "train_seconds"  # the name of TRIAL_SECONDS in objectives and limits
TRIAL_SECONDS = "trial_seconds"  # time in epochs, summed over all attempts


def best(metric: str) -> str:
    """'val_accuracy' -> 'best_val_accuracy'; a test metric keeps its name, as it exists for the best epoch only."""
    return metric if metric.startswith("test_") else f"best_{metric}"


def of_best_epoch(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a run's best epoch, by the names of epoch metrics; the inverse of `best`."""
    names = (name.removeprefix("best_") for name in metrics if name.startswith(("best_", "test_")))
    return {name: metrics[best(name)] for name in names if best(name) != BEST_EPOCH}


# --- Parameters of a trial's run: these and all hyperparameters.
ARCHITECTURE, SEED = "architecture", "seed"
REPETITION = "repetition"  # from 0, among trials that differ only in their seeds
FOLD = "fold"  # the fold of a cross-validation: '2/5'
TRAIN_SHARE = "train_share"  # share of the training texts, in (0, 1], if the configuration sets it
REPEATS = "repeats"  # the earlier trial with the same configuration, which the sampler proposed again: 'gru-3'
CONFIGURATION = "configuration"  # the name of the configuration, in a search over named configurations

# --- Tags.
KIND, KIND_SEARCH, KIND_TRIAL = "kind", "search", "trial"  # a search is the parent run of its trials
KIND_ENSEMBLE = "ensemble"  # several trials' models exported as one; also a child run of the search
SEARCH = "search"  # '<name>-<yyyymmdd-hhmmss>'
TRIAL = "trial"  # '<architecture>-<number>'
NUMBER = "number"  # the Optuna trial's number
HYPERPARAMETERS = "hyperparameters"  # as JSON, since MLflow stores parameters as str(value)
BASELINE, IS_BASELINE = "baseline", "yes"  # only on trials of baselines
OUTCOME = "outcome"
ERROR = "error"  # the last line of the exception
ENDED_BY, PATIENCE = "ended_by", "patience"  # the reason why a complete trial ended before its last epoch
ATTEMPT = "attempt"  # from 1; more after worker deaths and resumes
NODE = "node"  # the address of the machine that ran the trial
WORKER = "worker_pid"  # the process on that machine; workers are reused
METRIC = "metric"  # on the search: the ranking metric
OBJECTIVES = "objectives"  # on the search: its objectives if there are several, joined by commas
METRICS = "metrics"  # on the search: metrics from outside (see `search.train.metrics.declaration`)
DATA_DIGEST = "data_digest"
GIT_COMMIT = "git_commit"
MAJORITY = "majority"  # on the search, for single-label texts: the most frequent class of the test texts
MAJORITY_SHARE = "majority_share"  # a metric: the share of that class
NUM_TRAIN, NUM_FITTED = "num_train", "num_train_fitted"  # training texts; those used by estimators, if fewer
POSITIVE_CLASS = "positive_class"  # of two classes, the one for which F1, ROC AUC and average precision are computed
USER = "mlflow.user"  # MLflow's tag, on the search: who started it
FOLDER = "folder"  # on the search: the folder of its spec, studies and checkpoints
CPU = "cpu"  # the processor model of the worker; on the search, of the driver
KERNELS = "kernels"  # what computes the models there: the compiled kernels, by name, or torch
DEVICE = "device"  # where networks are trained: cpu, or the name of the GPU
LOOKS = "looks"  # on a confirmation: the number of looks (including this one) for which its verdicts are valid
CONFIRMS = "confirms"  # on the search: the id of the search whose best configurations it repeats
PATH_OF = "path_of"  # on the search: the id of the search between whose default and best configuration it takes steps
SIZES_OF = "sizes_of"  # on the search: the id of the search whose best models it trains on fewer texts
PLANNED_PREFIX = "planned."  # on the search: planned.wall_seconds, planned.trial_seconds, the prediction of `plan`
TOOK_PREFIX = "took."  # on the search: the actual values of both
REFUSED = "refused"  # on the search: architecture -> limit -> number of proposals above it that were redrawn, as JSON
STOPPED = "stopped"  # on the search: architecture -> why, when and after how many trials it stopped early, as JSON
REPLAY = "replay"  # whether training the trial again gave the same numbers
#: On the search: spec.trials, spec.time_budget and other keys of its spec that a resume may change. Tags, since MLflow
#: parameters are immutable.
SPEC_PREFIX = "spec."
VERSION_PREFIX = "version."  # version.torch, version.ray, ...
#: Prefixes of the tags with a trial's provenance: data, code and machine.
PROVENANCE = (DATA_DIGEST, GIT_COMMIT, CPU, KERNELS, DEVICE, VERSION_PREFIX)
PARENT_RUN_ID = "mlflow.parentRunId"  # MLflow's tag that nests a run under another

# --- Parameter of an ensemble's run. Its metrics have the same names as a trial's.
MEMBERS = "members"  # the names of its models, in order: 'gru-3, mlp-0'

# --- Artifacts of a search's run.
SPEC = "spec.json"  # for programs, besides spec.yaml for people; without the key `storage`, which may hold a password

# --- Artifacts of a trial's run.
#: Of a complete trial: a row per test text, in the order of the encoded corpus, with the columns `label` and
#: `predicted` (class names) and `probability of <class>` for all classes; with more than 50 classes only the most
#: probable ones, as `top 1`, `probability 1`, `top 2`, ... For images only `label` and `predicted`: the digits of the
#: quadrants, wanted and recognised ('7 - - 3').
PREDICTIONS = "test_predictions.csv"
#: Of a complete trial of a classifier: a row per non-empty bin of confidence on the test set, as trained and
#: `calibrated` (1) by its `temperature`: mean `confidence`, share that is `right`, number of `answers`.
RELIABILITY = "test_reliability.csv"
#: Of a trial that generates images, an image per report: generated images for some validation texts, above the targets.
PICTURE = "drawn-above-wanted"


def picture(step: int) -> str:
    """The file name of a report's image, among the trial's checkpoints."""
    return f"epoch-{step:04d}.png"


EPOCHS = "epochs"  # dtype of a column of epochs: Int64, or float64 if any value has a fraction

ROLE = "role"  # a column of the analysis: whether a trial is searched or a baseline

#: Columns of the analysis's table of trials, with their dtypes: before the hyperparameters, between these and the
#: metrics, and after the metrics. Hyperparameters must not have these names.
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
