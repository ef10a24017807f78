"""Does the initialization explain why the published figures differ from ours? Test accuracies with PyTorch's one.

The published networks presumably used the initialization of PyTorch's layers: every weight uniform within 1 /
sqrt(hidden size). Ours is chosen so that each activation trains well (`models.rnn`, `models.gru`). This benchmark
trains our networks with PyTorch's initialization; everything else is as in the studies `report/rnn-activation` and
`report/gru-activation`, with which it is compared.

    python -m benchmarks.initialisation [--architecture rnn] [--seeds 3] [--out FILE.json]
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

from models.parts.layers import ACTIVATIONS
from search.spec import read as specs
from search.spec.read import load_corpus
from search.train.config import TrainingConfig
from search.train.running import build_model, splits
from search.train.tasks import TASKS
from search.train.training import train


def uniform(model: nn.Module, hidden_size: int) -> None:
    """Initialize as PyTorch does its recurrent layers; its linear layers have the same bound here."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)


def measure(architecture: str, seeds: int) -> Iterator[dict[str, Any]]:
    spec = specs.read("report/gru-activation" if architecture == "gru" else "report/rnn-activation")
    corpus = load_corpus(spec)
    point = spec.default_point(architecture)
    for activation in ACTIVATIONS:
        scores = []
        for seed in range(seeds):
            config = point | {"architecture": architecture, "seed": seed, "activation": activation}
            model = build_model(config, corpus, spec.embeddings)
            uniform(model, config["hidden_size"])
            *_, last = train(
                model,
                splits(corpus, torch.device("cpu"), TASKS[model.task]),
                TrainingConfig.of(config),
                length=spec.length,
                metric=spec.metric,
                curve_interval=spec.curve_interval,
                seed=seed,
            )
            scores.append(last.best.get("test_accuracy", float("nan")))
        yield {"architecture": architecture, "activation": activation, "test_accuracy": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=["rnn", "gru"], default="rnn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for row in measure(arguments.architecture, arguments.seeds):
        rows.append(row)
        scores = row["test_accuracy"]
        spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
        print(
            f"{row['architecture']} {row['activation']:<8} {fmean(scores):.4f}{spread} ({len(scores)} seeds)",
            flush=True,
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
