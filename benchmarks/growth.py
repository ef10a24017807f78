"""How wall time and memory grow with trials, corpus, words and cores, in searches whose trials do little work.

    python -m benchmarks.growth [--rounds 1] [--only corpus ...] [--out FILE.json] [--smoke]

Each search is the whole command, in a folder of its own; seconds are its wall time, memory is the largest proportional
set size that was seen of the driver, of one worker, and of all processes together. The corpus grows by repeating its
texts with another last word each time, so that none is a duplicate; it is read twice, at first without a cache.
Large corpora, of the first 80 words of each text, are only encoded, and read again from the cache; one is searched,
with baselines, and with reports within its only epoch, by which trials are pruned.
"""

import csv
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measure

#: What all searches have in common.
SMALL: dict[str, Any] = {
    "architectures": ["rnn", "gru", "mlp", "attention"],
    "space": {"hidden_size": 16, "learning_rate": [0.001, 0.003]},
    "sampler": "random",
    "pruner": "none",
    "epochs": 1,
}
COPIES = {False: (1, 4, 16), True: (1, 2)}  # of the corpus; in a smoke
NUM_TEXTS = {False: (200_000, 800_000, 3_600_000), True: (1000, 2000)}  # of what is only encoded
WORDS = 80  # of each of them
ENCODE = "import sys, data; print(data.load(sys.argv[1], progress=False).summary)"
SMOKE_TEXTS = 1000
SEARCHED_TEXTS = {False: 1_000_000, True: 1000}
LARGE: dict[str, Any] = {
    "architectures": ["mlp", "ngram"],
    "space": {},
    "trials": 2,
    "epochs": 1,
    "batch_size": 256,
    "reports_per_epoch": 10,
    "pruner": "asha",
    "baselines": ["majority", "tfidf", "nbsvm"],
}
ONE_NETWORK = {"space": {"hidden_size": 16}, "architectures": ["mlp"], "trials": 2, "batch_size": 256}


@dataclass(frozen=True)
class Case:
    axis: str
    value: str
    settings: dict[str, Any] = field(default_factory=dict)
    cores: int | None = None
    copies: int | None = None  # of the corpus, in a csv file; without it, `settings` say which corpus
    num_texts: int | None = None  # of a large corpus, which is only encoded unless there are settings of a search


def cases(smoke: bool) -> Iterator[Case]:
    for trials in (4, 8) if smoke else (8, 32, 128):
        yield Case("trials", f"{trials}", {"trials": trials // 4, "limit": SMOKE_TEXTS, "max_words": 30})
    for copies in COPIES[smoke]:
        yield Case("corpus", f"{copies}x", ONE_NETWORK, copies=copies)
    for num_texts in NUM_TEXTS[smoke]:
        yield Case("encoding", f"{num_texts:,}", num_texts=num_texts)
    yield Case("search", f"{SEARCHED_TEXTS[smoke]:,}", LARGE, num_texts=SEARCHED_TEXTS[smoke])
    some = SMOKE_TEXTS if smoke else 5000
    for words in (100, 400):
        yield Case("words", f"{words}", {"trials": 1, "limit": some, "max_words": words})
    for cores in (1, 2):
        settings = {"trials": 2, "limit": some, "space": {"hidden_size": 64}, "concurrency": cores}
        yield Case("cores", f"{cores}", settings, cores=cores)


def measured(case: Case, smoke: bool) -> Iterator[dict[str, Any]]:
    """One search; two of a corpus that is to be encoded, before and after it is."""
    with measure.scratch() as shared:
        settings = SMALL | {"name": "growth", "seed": 0} | case.settings
        environment = {}
        names = [case.axis]
        if case.copies is not None or case.num_texts is not None:
            if case.num_texts is not None:
                write_beginnings(shared / "texts.csv", case.num_texts)
            else:
                write_copies(shared / "texts.csv", case.copies or 1, SMOKE_TEXTS if smoke else None)
            settings["corpus"] = f"csv:{shared}/texts.csv"
            environment = measure.fresh_cache(shared)
            names = [f"{case.axis}, without a cache", f"{case.axis}, cached"]
        else:
            import data

            data.load("imdb", max_words=settings.get("max_words", 100), limit=settings["limit"], progress=False)
        for name in names:
            with measure.scratch() as folder:
                command = measure.our_search(Path(__file__).parent / "race.yaml", **settings)
                usage = measure.run(command, folder, environment=environment, cores=case.cores, memory=True)
                measure.require_success(usage, folder)
                trials = measure.our_trials(folder)
                yield {
                    "axis": name,
                    "value": case.value,
                    "wall_seconds": usage.wall_seconds,
                    "core_seconds": usage.core_seconds,
                    "trial_seconds": float(trials["seconds"].sum()),
                    "num_trials": len(trials),
                    "memory_of": usage.memory_of,
                }


def encoded(case: Case) -> Iterator[dict[str, Any]]:
    """A corpus encoded, and read from the cache."""
    assert case.num_texts is not None
    with measure.scratch() as shared:
        write_beginnings(shared / "texts.csv", case.num_texts)
        environment = measure.fresh_cache(shared) | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        for name in ("encoding", "encoded, cached"):
            with measure.scratch() as folder:
                command = [sys.executable, "-c", ENCODE, f"csv:{shared}/texts.csv"]
                usage = measure.run(command, folder, environment=environment, memory=True)
                measure.require_success(usage, folder)
                yield {
                    "axis": name,
                    "value": case.value,
                    "wall_seconds": usage.wall_seconds,
                    "core_seconds": usage.core_seconds,
                    "trial_seconds": 0.0,
                    "num_trials": 0,
                    "memory_of": usage.memory_of,
                }


def write_beginnings(path: Path, num_texts: int) -> None:
    """So many texts of WORDS words and the number of the copy."""
    import data

    splits = [data.read_examples("imdb", split, progress=False) for split in ("train", "val", "test")]
    texts = [(" ".join(text.split()[:WORDS]), label) for examples in splits for text, label in examples]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(num_texts):
            text, label = texts[number % len(texts)]
            writer.writerow([f"{text} {number // len(texts)}", label])


def write_copies(path: Path, copies: int, limit: int | None) -> None:
    import data

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for split in ("train", "val", "test"):
            for text, label in data.read_examples("imdb", split, limit=limit, progress=False):
                writer.writerows([f"{text} {number}", label] for number in range(copies))


def markdown(searches: list[dict[str, Any]]) -> str:
    rows = []
    for axis, value in dict.fromkeys((each["axis"], each["value"]) for each in searches):
        own = [each for each in searches if (each["axis"], each["value"]) == (axis, value)]
        memory = [
            f"{median(each['memory_of'].get(role, 0) for each in own) / 1e6:,.0f}"
            for role in (measure.DRIVER, measure.WORKER, "all")
        ]
        times = [
            f"{median(each[name] for each in own):.0f}" for name in ("wall_seconds", "core_seconds", "trial_seconds")
        ]
        rows.append([axis, value, str(own[0]["num_trials"]), *times, *memory])
    heads = ["", "", "trials", "s", "core-s", "s in epochs", "MB of the driver", "of a worker", "of all"]
    return "\n".join(
        [
            f"`python -m benchmarks.growth` on {measure.processor()}, {os.cpu_count()} cores.",
            "Seconds of the whole command; those in epochs are added up over trials.",
            "",
            measure.table(heads, rows),
        ]
    )


def main() -> None:
    parser = measure.options("growth", __doc__)
    parser.add_argument("--rounds", type=int, default=1, help="searches of each kind; medians count (default 1)")
    axes = sorted({case.axis for case in cases(smoke=True)})
    parser.add_argument("--only", action="append", choices=axes, help="this one, and write no page; may be repeated")
    chosen = parser.parse_args()
    searches: list[dict[str, Any]] = []
    for _ in range(1 if chosen.smoke else chosen.rounds):
        for case in cases(chosen.smoke):
            if case.axis in (chosen.only or axes):
                for each in encoded(case) if case.num_texts and not case.settings else measured(case, chosen.smoke):
                    searches.append(each)
                    print(f"{each['axis']} {each['value']}: {each['wall_seconds']:.1f} s", flush=True)
    measure.keep("growth", {"searches": searches}, markdown(searches), chosen)


if __name__ == "__main__":
    main()
