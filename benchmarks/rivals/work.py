"""What a rival is asked to do, and how it says what it found: `python -m benchmarks.rivals.NAME WORK.json`."""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = "results.jsonl"  # in the working directory, a line for each epoch that the driver hears of


@dataclass(frozen=True)
class Work:
    """points: train these configurations and stop; without any, search with early stopping until ended from outside.

    fixed: what all trials share: corpus (a file for `texts.load`), max_words, epochs, batch_size, seed.
    """

    fixed: dict[str, Any]
    points: list[dict[str, Any]] = field(default_factory=list)
    encode_once: bool = False  # the corpus is encoded by the driver and handed to the trials

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
    """A configuration as the networks take it: the depth of two kinds of architecture has two names in a space."""
    kind = "recurrent_layers" if config["architecture"] in ("rnn", "gru") else "tapered_layers"
    return {**config, "num_layers": config[kind]}


def as_point(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as the spaces have it."""
    recurrent = config["architecture"] in ("rnn", "gru")
    kind = "recurrent_layers" if recurrent else "tapered_layers"
    return {name: value for name, value in config.items() if name != "num_layers"} | {kind: config["num_layers"]}
