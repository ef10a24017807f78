"""The space of benchmarks/race.yaml, all architectures in one, as Optuna's documentation defines one by running it."""

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> None:
    """Suggests a point; the trial keeps it."""
    architecture = trial.suggest_categorical("architecture", ["rnn", "gru", "mlp", "attention"])
    trial.suggest_int("hidden_size", 64, 128, step=8)
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.suggest_categorical("activation", ["none", "relu", "tanh", "sigmoid"])
    if architecture in ("rnn", "gru"):
        trial.suggest_int("recurrent_layers", 1, 2)
    else:
        trial.suggest_int("tapered_layers", 2, 5)


def start(study: optuna.Study, points: list[dict[str, Any]]) -> None:
    for point in points:
        study.enqueue_trial(point)
