"""Trials per hour when one process trains many trials together (`packing`), compared with processes that share the
device.

    python -m benchmarks.packed [--out FILE.json] [--device cpu] [--sizes 1 8] [--texts 4000] [--smoke]

A trial is two epochs of a network on synthetic texts, whose label is the group (of two) that more of the words belong
to. Trials differ in seed, learning rate, dropout and clipping. A trial has the same results at every pack size, which
the table shows by the first trial. Sizes increase; those that would take longer than `--limit` seconds for all packs
are skipped. Needs only torch, neither Ray, Optuna nor MLflow.
"""

import argparse
import json
import multiprocessing as mp
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.functional import pad

import models
from benchmarks import measure
from models.native import masks
from search.train.config import TrainingConfig
from search.train.device import prepare
from search.train.examples import Examples, Splits
from search.train.length import Length
from search.train.lockstep import Lockstep
from search.train.pack import Failure, Pack
from search.train.stepping import Steps
from search.train.tasks import TASKS
from search.train.training import Result, train

VOCABULARY, SIZE, MAX_WORDS, BATCH = 5000, 50, 100, 32
NUM_PROCESSES, PROCESSES = 8, "8 processes"
EPOCHS = 2


@dataclass(frozen=True)
class Texts:
    """The parameters from which a worker process generates its texts."""

    device: str
    architecture: str
    hidden_size: int
    num: int

    def splits(self) -> tuple[torch.Tensor, Splits]:
        """The word vectors, and the splits of the texts, on the device."""
        generator = torch.Generator().manual_seed(0)
        vectors_VE = pad(torch.randn(VOCABULARY - 1, SIZE, generator=generator), (0, 0, 1, 0)).to(self.device)
        made = (self._examples(num, generator) for num in (self.num, max(100, self.num // 8), max(100, self.num // 8)))
        return vectors_VE, Splits(*made, TASKS[models.CLASSIFICATION])

    def _examples(self, num: int, generator: torch.Generator) -> Examples:
        lengths_N = torch.randint(MAX_WORDS // 10, MAX_WORDS + 1, (num,), generator=generator)
        labels_N = torch.randint(2, (num,), generator=generator)
        words_NT = torch.randint(1, VOCABULARY, (num, MAX_WORDS), generator=generator)
        telling_NT = torch.rand(words_NT.shape, generator=generator) < 0.1
        of_label_NT = 1 + labels_N.unsqueeze(1) * 50 + words_NT % 50
        words_NT = words_NT.where(~telling_NT, of_label_NT).int()
        there_NT = torch.arange(MAX_WORDS) < lengths_N.unsqueeze(1)
        tokens_W = pad(words_NT[there_NT], (0, MAX_WORDS))
        starts_N = lengths_N.cumsum(0) - lengths_N
        tokens_W, starts_N, lengths_N, labels_N = (
            each.to(self.device) for each in (tokens_W, starts_N, lengths_N.int(), labels_N)
        )
        return Examples(tokens_W, starts_N, lengths_N, (labels_N,))


@dataclass(frozen=True)
class Figure:
    """The result of a measurement. first: the last validation loss of trial 0. memory: peak in bytes, of the GPU if one
    is used."""

    trials: int
    seconds: float
    core_seconds: float
    memory: float
    accuracy: float
    first: float

    @property
    def per_hour(self) -> float:
        return 3600 * self.trials / self.seconds


def trial(number: int, texts: Texts, vectors_VE: torch.Tensor, splits: Splits) -> Steps[Result, None]:
    torch.manual_seed(number)
    draw = torch.Generator().manual_seed(number)
    rate, share, clipped = torch.rand(3, generator=draw).tolist()
    config = TrainingConfig(
        learning_rate=10 ** (-3.5 + rate), batch_size=BATCH, max_grad_norm=1.0 if clipped > 0.5 else None
    )
    embedding = models.WordVectors(vectors_VE)
    network = models.build(texts.architecture, embedding, 2, hidden_size=texts.hidden_size, dropout=share / 2)
    length = Length(EPOCHS)
    return train(
        network.to(texts.device), splits, config, length=length, metric="val_accuracy", curve_interval=50, seed=number
    )


def run(numbers: Sequence[int], size: int, texts: Texts) -> Figure:
    """Train these trials in packs of this size."""
    torch.set_num_threads(1)
    prepare(torch.device(texts.device), "float32")
    vectors_VE, splits = texts.splits()
    pack: Pack[Result] = Pack(Lockstep() if size > 1 else None)
    waiting = iter(numbers)
    last: dict[str, Result] = {}
    if texts.device == "cuda":
        torch.cuda.synchronize()
    started, cores = time.perf_counter(), time.process_time()
    while True:
        while len(pack) < size and (number := next(waiting, None)) is not None:
            pack.join(str(number), trial(number, texts, vectors_VE, splits))
        if not pack:
            break
        for name, report in pack.next_reports():
            if isinstance(report, Failure):
                raise report.error
            last[name] = report
            if report.step == EPOCHS or report.diverged:
                pack.leave(name)
    if texts.device == "cuda":
        torch.cuda.synchronize()
    seconds, cores = time.perf_counter() - started, time.process_time() - cores
    memory = (
        torch.cuda.max_memory_allocated()
        if texts.device == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    accuracies = [result.best["val_accuracy"] for result in last.values() if result.best]
    first = last[str(numbers[0])]
    mean = sum(accuracies) / max(1, len(accuracies))
    return Figure(len(numbers), seconds, cores, float(memory), mean, first.metrics.get("val_loss", float("nan")))


def _work(numbers: Sequence[int], texts: Texts, barrier: Any, results: Any) -> None:
    masks.BY_PLACE.add(texts.device)
    run([10**6 + numbers[0]], 1, Texts(texts.device, texts.architecture, texts.hidden_size, 4 * BATCH))  # warm up
    barrier.wait()
    results.put(run(numbers, 1, texts))


def in_processes(num: int, each: int, texts: Texts) -> Figure:
    """Train `each` trials in each of `num` concurrent processes."""
    context = mp.get_context("spawn")
    barrier, results = context.Barrier(num), context.Queue()
    shares = [range(i, num * each, num) for i in range(num)]
    workers = [context.Process(target=_work, args=(numbers, texts, barrier, results)) for numbers in shares]
    for worker in workers:
        worker.start()
    figures = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return Figure(
        trials=sum(figure.trials for figure in figures),
        seconds=max(figure.seconds for figure in figures),
        core_seconds=sum(figure.core_seconds for figure in figures),
        memory=sum(figure.memory for figure in figures),
        accuracy=sum(figure.accuracy for figure in figures) / len(figures),
        first=float("nan"),
    )


def figures(
    texts: Texts, sizes: Sequence[int], num_processes: int, limit: float
) -> Iterator[tuple[str, Figure | None]]:
    """The figures by kind of run; None if there was not enough time."""
    begun = time.perf_counter()
    run(range(2), 2, Texts(texts.device, texts.architecture, texts.hidden_size, 4 * BATCH))  # warm up, compile
    longest = 0.0
    for size in sizes:
        # One full pack, but several trials for the smallest sizes; a trial takes at most as long in a larger pack.
        num = max(size, 4)
        left = limit - (time.perf_counter() - begun)
        if longest * num > left:
            yield f"pack of {size}", None
            continue
        figure = run(range(num), size, texts)
        longest = figure.seconds / num
        yield f"pack of {size}", figure
    yield PROCESSES, in_processes(num_processes, 1 if texts.device == "cpu" else 2, texts)


def report(found: dict[str, Figure | None], texts: Texts) -> str:
    processes = found[PROCESSES]
    assert processes is not None
    rows = []
    for name, figure in found.items():
        if figure is None:
            rows.append([name, *["not measured"] * 6])
            continue
        rows.append(
            [
                name,
                f"{figure.per_hour:,.0f}",
                f"{figure.per_hour / processes.per_hour:.2f}",
                f"{figure.core_seconds / figure.trials:.2f}",
                f"{figure.memory / 2**20:,.0f}",
                f"{100 * figure.accuracy:.1f}",
                "" if name == PROCESSES else f"{figure.first:.5f}",
            ]
        )
    heads = [
        "",
        "trials per hour",
        "ratio to 8 processes",
        "core-s per trial",
        "MiB",
        "accuracy, %",
        "loss, first trial",
    ]
    where = torch.cuda.get_device_name() if texts.device == "cuda" else f"{measure.processor()}, one thread per process"
    about = f"`{texts.architecture}` of {texts.hidden_size} units, {texts.num:,} texts of up to {MAX_WORDS} words"
    text = f"`python -m benchmarks.packed` on {where}: {about}, two epochs.\n\n{measure.table(heads, rows)}"
    return text if texts.device == "cuda" else f"{text}\n\nOn a GPU: not measured."


def main() -> None:
    parser = measure.options("packed", __doc__)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default=automatic, help=f"default on this machine: {automatic}"
    )
    parser.add_argument("--architecture", default="gru", help="default: gru")
    parser.add_argument("--hidden-size", type=int, default=64, metavar="H", help="default: 64")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 32, 128], metavar="P", help="of packs")
    parser.add_argument("--texts", type=int, default=20000, metavar="N", help="texts to train on (default: 20,000)")
    parser.add_argument("--limit", type=float, default=240.0, metavar="S", help="seconds for all packs (default: 240)")
    chosen: argparse.Namespace = parser.parse_args()
    texts = Texts(chosen.device, chosen.architecture, chosen.hidden_size, 128 if chosen.smoke else chosen.texts)
    masks.BY_PLACE.add(chosen.device)  # also use lockstep on a CPU
    found: dict[str, Figure | None] = {}
    sizes, num_processes = ([1, 2], 2) if chosen.smoke else (chosen.sizes, NUM_PROCESSES)
    for name, figure in figures(texts, sizes, num_processes, chosen.limit):
        found[name] = figure
        print(name, json.dumps(figure and asdict(figure)), flush=True)
    measured = {name: figure and asdict(figure) for name, figure in found.items()}
    measure.keep("packed trials", {"packed": measured}, report(found, texts), chosen)


if __name__ == "__main__":
    main()
