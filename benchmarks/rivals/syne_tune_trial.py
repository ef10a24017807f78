"""A trial of `syne_tune_local`, which runs in a separate process."""

from argparse import ArgumentParser
from pathlib import Path

import torch
from syne_tune import Reporter
from syne_tune.constants import ST_CHECKPOINT_DIR

from benchmarks.rivals import texts, training, work

if __name__ == "__main__":
    parser = ArgumentParser()
    for name in ("architecture", "activation", "corpus", ST_CHECKPOINT_DIR):
        parser.add_argument(f"--{name}")
    for name in ("hidden_size", "recurrent_layers", "tapered_layers", "max_words", "epochs", "batch_size", "seed"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("learning_rate", "dropout"):
        parser.add_argument(f"--{name}", type=float)
    config = work.settled(vars(parser.parse_args()))
    folder = Path(config[ST_CHECKPOINT_DIR])
    folder.mkdir(parents=True, exist_ok=True)
    report = Reporter()
    for metrics, state in training.train(config, texts.load(config["corpus"], config["max_words"])):
        torch.save(state, folder / "checkpoint.pt")
        report(**metrics)
