"""The cost of trained word vectors: an iteration of `mlp` with frozen vectors, and with vectors trained by either Adam.

    python -m benchmarks.trained_vectors [--rounds 9] [--out FILE.json] [--smoke]

An iteration is one pass of the training loop over 32 reviews of up to 400 words, with hidden size 64, in one thread.
The candidates take turns in one process; ratios are within a round, and results are medians over rounds. Times are CPU
time, on which other processes have little effect.
"""

import os
import sys
import time
from statistics import median

import torch

from benchmarks import measure
from benchmarks.time_loops import ALLOCATOR
from search.spec import read as specs
from search.spec.read import load_corpus
from search.train.config import TrainingConfig
from search.train.examples import Examples
from search.train.optimizing import Optimizer
from search.train.running import build_model, splits
from search.train.stepping import finish
from search.train.tasks import TASKS
from search.train.training import _EpochLog, _train_epoch

CANDIDATES = {"frozen": ("frozen", "dense"), "dense Adam": ("finetuned", "dense"), "lazy Adam": ("finetuned", "lazy")}
BATCH, MAX_WORDS, ITERATIONS, SMOKE_TEXTS = 32, 400, 30, 1000


class Candidate:
    """A training that can be continued by a number of iterations."""

    def __init__(self, embeddings: str, adam: str, *, smoke: bool) -> None:
        spec = specs.read("default").model_copy(
            update={"max_words": MAX_WORDS, "embeddings": embeddings, "limit": SMOKE_TEXTS if smoke else None}
        )
        corpus = load_corpus(spec)
        self.config = TrainingConfig(batch_size=BATCH, adam=adam)
        point = spec.default_point("mlp") | {"architecture": "mlp", "seed": 0, "hidden_size": 64}
        self.model = build_model(point, corpus, embeddings)
        self.optimizer = Optimizer(self.model, self.config)
        self.task = TASKS[self.model.task]
        self.examples: Examples = splits(corpus, torch.device("cpu"), self.task).train
        self.num_words = len(corpus.vocabulary)

    def run(self, number: int, iterations: int) -> float:
        """Milliseconds per iteration. number: selects the texts."""
        start = number * iterations * BATCH % (len(self.examples) - iterations * BATCH + 1)
        order_N = torch.arange(start, start + iterations * BATCH)
        log = _EpochLog(self.task, tuple(each_N[order_N] for each_N in self.examples.targets), 50, iterations)
        rates = dict.fromkeys(range(1, iterations + 1), self.config.learning_rate)
        begun = time.process_time()
        finish(_train_epoch(self.model, self.optimizer, self.examples, order_N, self.config, rates, log, None))
        return 1e3 * (time.process_time() - begun) / iterations


def main() -> None:
    parser = measure.options("trained_vectors", __doc__)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each candidate (default 9)")
    chosen = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.trained_vectors", *sys.argv[1:]], os.environ | ALLOCATOR
        )
    torch.set_num_threads(1)
    rounds, iterations = (2, 2) if chosen.smoke else (chosen.rounds, ITERATIONS)
    candidates = {name: Candidate(*how, smoke=chosen.smoke) for name, how in CANDIDATES.items()}
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            milliseconds = candidate.run(number, iterations)
            if number > 0:  # the first round warms up
                spent[name].append(milliseconds)
    rows = [
        [
            name,
            f"{median(by_round):.2f}",
            f"{median(one / other for one, other in zip(by_round, spent['frozen'], strict=True)):.2f}",
        ]
        for name, by_round in spent.items()
    ]
    num_words = candidates["frozen"].num_words
    text = (
        f"`python -m benchmarks.trained_vectors` on {measure.processor()}: an iteration of `mlp` with hidden size\n"
        f"64 on 32 texts of up to {MAX_WORDS} words, and {num_words:,} words with vectors of 50; one thread.\n\n"
        f"{measure.table(['word vectors', 'ms per iteration', 'ratio to frozen'], rows)}"
    )
    measure.keep("trained vectors", {"milliseconds": spent}, text, chosen)


if __name__ == "__main__":
    main()
