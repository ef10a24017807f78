"""The spaces of benchmarks/race.yaml and whole.yaml for all architectures, in the define-by-run style of Optuna's
documentation. A space suggests a point, which the trial stores."""

from collections.abc import Callable
from typing import Any

import optuna


def race(trial: optuna.Trial) -> None:
    architecture = trial.suggest_categorical("architecture", ["rnn", "gru", "mlp", "attention"])
    trial.suggest_int("hidden_size", 64, 128, step=8)
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.suggest_categorical("activation", ["none", "relu", "tanh", "sigmoid"])
    if architecture in ("rnn", "gru"):
        trial.suggest_int("recurrent_layers", 1, 2)
    else:
        trial.suggest_int("tapered_layers", 2, 5)


def whole(trial: optuna.Trial) -> None:
    architecture = trial.suggest_categorical("architecture", ["mlp", "ngram"])
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    if architecture == "ngram":
        trial.suggest_int("row_size", 2, 16)
    else:
        trial.suggest_int("hidden_size", 64, 128, step=8)
        trial.suggest_categorical("activation", ["none", "relu", "tanh", "sigmoid"])
        trial.suggest_int("tapered_layers", 2, 5)


SPACES: dict[str, Callable[[optuna.Trial], None]] = {"race": race, "whole": whole}


def start(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    for point in points:
        study.enqueue_trial(point)
