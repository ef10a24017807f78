"""The input and the results of a rival: `python -m benchmarks.rivals.NAME WORK.json`."""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# A hyperparameter whose range depends on the architecture has several names in a space.
RECURRENT, TAPERED = {"num_layers": "recurrent_layers"}, {"num_layers": "tapered_layers"}
NAMES_IN_SPACE = {
    "rnn": RECURRENT,
    "gru": RECURRENT,
    "mlp": TAPERED,
    "attention": TAPERED,
    "ngram": {"hidden_size": "row_size"},
}

RESULTS = "results.jsonl"  # in the working directory, a line per reported epoch


@dataclass(frozen=True)
class Work:
    """The task of a rival. points: configurations to train; if empty, the rival searches, with early stopping, until it
    is ended.

    fixed: settings of all trials: corpus (a file for `texts.load`), max_words, epochs, batch_size, seed. space: the
    name of one of `optuna_space.SPACES`; Syne Tune has `race` only.
    """

    fixed: dict[str, Any]
    points: list[dict[str, Any]] = field(default_factory=list)
    space: str = "race"
    encode_once: bool = False  # whether the driver encodes the corpus and passes it to the trials

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read() -> Work:
    return Work(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def keep(trial: str, config: dict[str, Any], metrics: dict[str, Any]) -> None:
    names = ("epoch", "val_accuracy", "test_accuracy", "num_parameters")
    line = {"at": time.time(), "trial": trial, "architecture": config["architecture"]}
    line |= {name: metrics[name] for name in names if name in metrics}
    with Path(RESULTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def results(folder: Path) -> list[dict[str, Any]]:
    """All whole lines so far."""
    path = folder / RESULTS
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def settled(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as the networks take it."""
    names = NAMES_IN_SPACE[config["architecture"]]
    return {**config, **{name: config[in_space] for name, in_space in names.items()}}


def as_point(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the names of the spaces."""
    names = NAMES_IN_SPACE[config["architecture"]]
    return {names.get(name, name): value for name, value in config.items()}
