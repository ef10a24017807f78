"""Growth of wall time and memory with trials, corpus, words and cores, in searches whose trials do little work.

    python -m benchmarks.growth [--rounds 1] [--only corpus ...] [--out FILE.json] [--smoke]

Each search is the whole command in a new folder. Seconds are wall time; memory is the largest observed proportional set
size of the driver, of one worker, and of all processes together. The corpus grows by repeating its texts with a
different last word, so that there are no duplicates; it is searched twice, first without a cache. Large corpora consist
of the first 80 words of each text. They are only encoded, and read again from the cache; one of them is also searched,
with baselines and with several reports in its only epoch, so that trials are pruned.
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

#: The settings of all searches.
SMALL: dict[str, Any] = {
    "architectures": ["rnn", "gru", "mlp", "attention"],
    "space": {"hidden_size": 16, "learning_rate": [0.001, 0.003]},
    "sampler": "random",
    "pruner": "none",
    "epochs": 1,
}
COPIES = {False: (1, 4, 16), True: (1, 2)}  # of the corpus; by whether this is a smoke run
NUM_TEXTS = {False: (200_000, 800_000, 3_600_000), True: (1000, 2000)}  # of the large corpora
WORDS = 80  # per text of the large corpora
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
    copies: int | None = None  # of the corpus, in a csv file; None: `settings` name the corpus
    num_texts: int | None = None  # of a large corpus, which is only encoded unless there are `settings` for a search


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
    """The results of one search; of two, before and after encoding, if the corpus has to be encoded."""
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
    """The results of encoding a corpus, and of reading it from the cache."""
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
    """Write this many texts of WORDS words, each followed by the number of its copy."""
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
        repeated = [each for each in searches if (each["axis"], each["value"]) == (axis, value)]
        memory = [
            f"{median(each['memory_of'].get(role, 0) for each in repeated) / 1e6:,.0f}"
            for role in (measure.DRIVER, measure.WORKER, "all")
        ]
        times = [
            f"{median(each[name] for each in repeated):.0f}"
            for name in ("wall_seconds", "core_seconds", "trial_seconds")
        ]
        rows.append([axis, value, str(repeated[0]["num_trials"]), *times, *memory])
    heads = ["", "", "trials", "s", "core-s", "s in epochs", "MB, driver", "MB, one worker", "MB, all"]
    return "\n".join(
        [
            f"`python -m benchmarks.growth` on {measure.processor()}, {os.cpu_count()} cores.",
            "Seconds are those of the whole command, except seconds in epochs, which are summed over trials.",
            "",
            measure.table(heads, rows),
        ]
    )


def main() -> None:
    parser = measure.options("growth", __doc__)
    parser.add_argument("--rounds", type=int, default=1, help="searches of each kind; medians count (default 1)")
    axes = sorted({case.axis for case in cases(smoke=True)})
    parser.add_argument(
        "--only", action="append", choices=axes, help="only this one, without writing the page; repeatable"
    )
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
