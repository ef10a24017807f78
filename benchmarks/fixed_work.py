"""Time for the same work with this project and with rivals: twelve fixed configurations, three per architecture, two
epochs each.

    python -m benchmarks.fixed_work [--rounds 5] [--only ours --only recipe] [--out FILE.json] [--smoke]

Candidates (the rivals' code is in benchmarks/rivals): `ours`, the command `python -m search run` on a spec of these
configurations; `recipe`, Ray Tune with OptunaSearch and MLflowLoggerCallback as in their documentation, where every
trial loads and encodes the corpus; `recipe, encoded once`, the same, but the encoded corpus is passed to the trials;
`optuna`, Optuna alone with n_jobs=2; `syne-tune`, Syne Tune's local backend. All train the same networks from the same
initial weights on the same texts, words and vectors, with the same batch size, one thread per trial and two concurrent
trials.

The candidates take turns. Each runs in a new folder without a cache; only the packages and our compiled kernels are
installed. Seconds are wall time of the whole command; core-seconds are CPU time of all processes that it starts.
"""

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from benchmarks import measure
from benchmarks.rivals import work

EPOCHS, BATCH_SIZE, MAX_WORDS = 2, 32, 100
SMOKE_TEXTS = 1000
_VALUES = ("architecture", "hidden_size", "num_layers", "activation", "dropout", "learning_rate")
CONFIGURATIONS: list[dict[str, Any]] = [
    dict(zip(_VALUES, values, strict=True))
    for values in (
        ("rnn", 64, 1, "tanh", 0.1, 1e-3),
        ("rnn", 96, 1, "sigmoid", 0.0, 1e-3),
        ("rnn", 128, 2, "relu", 0.1, 5e-4),
        ("gru", 64, 1, "tanh", 0.1, 3e-3),
        ("gru", 96, 1, "relu", 0.0, 1e-3),
        ("gru", 64, 2, "tanh", 0.1, 1e-3),
        ("mlp", 64, 2, "relu", 0.1, 1e-3),
        ("mlp", 96, 3, "tanh", 0.0, 1e-3),
        ("mlp", 128, 4, "sigmoid", 0.1, 1e-3),
        ("attention", 64, 2, "relu", 0.1, 1e-3),
        ("attention", 96, 3, "tanh", 0.0, 1e-3),
        ("attention", 128, 4, "relu", 0.1, 5e-4),
    )
]
ARCHITECTURES = ("rnn", "gru", "mlp", "attention")


# --- The candidates: each runs in a folder and returns the usage and the trials (architecture, num_parameters,
# test_accuracy)


def write_spec(path: Path, seed: int, limit: int | None, epochs: int = EPOCHS) -> None:
    """Write the spec of our search of the configurations."""
    import yaml

    points: dict[str, dict[str, Any]] = {name: {} for name in ARCHITECTURES}
    for number, point in enumerate(CONFIGURATIONS):
        points[point["architecture"]][f"c{number}"] = {k: v for k, v in point.items() if k != "architecture"}
    spec = {
        "name": "fixed-work",
        "limit": limit,
        "max_words": MAX_WORDS,
        "architectures": list(ARCHITECTURES),
        "configurations": points,
        "sampler": "grid",
        "pruner": "none",
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "seed": seed,
    }
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")


def ours(folder: Path, texts: Path, seed: int, limit: int | None) -> tuple[measure.Usage, list[dict[str, Any]]]:
    write_spec(folder / "spec.yaml", seed, limit)
    usage = measure.run(measure.our_search("spec.yaml"), folder, environment=measure.fresh_cache(folder))
    measure.require_success(usage, folder)
    trials = measure.our_trials(folder)
    records = trials[["architecture", "num_parameters", "test_accuracy"]].to_dict("records")
    return usage, [{str(name): value for name, value in record.items()} for record in records]


def rival(
    module: str, folder: Path, texts: Path, seed: int, limit: int | None, *, encode_once: bool = False
) -> tuple[measure.Usage, list[dict[str, Any]]]:
    usage = measure.require_success(
        start_rival(module, folder, texts, seed, EPOCHS, CONFIGURATIONS, encode_once=encode_once), folder
    )
    return usage, [result for result in work.results(folder) if result["epoch"] == EPOCHS]


def start_rival(
    module: str,
    folder: Path,
    texts: Path,
    seed: int,
    epochs: int,
    points: list[dict[str, Any]],
    *,
    encode_once: bool = False,
    space: str = "race",
    max_words: int = MAX_WORDS,
    **options: Any,
) -> measure.Usage:
    """Run one of benchmarks.rivals; `space` is one of its spaces, `options` are those of `measure.run`."""
    fixed = {
        "corpus": str(texts),
        "max_words": max_words,
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "seed": seed,
    }
    work.Work(fixed, points, space, encode_once).write(folder / "work.json")
    return measure.run(
        [sys.executable, "-m", f"benchmarks.rivals.{module}", "work.json"],
        folder,
        environment={
            "OMP_NUM_THREADS": "1",
            "RAY_ADDRESS": "local",  # ignores any cluster that was started on this machine
            "PYTHONWARNINGS": "ignore",
            "SYNETUNE_FOLDER": str(folder / "syne-tune"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        **options,
    )


Candidate = Callable[[Path, Path, int, int | None], tuple[measure.Usage, list[dict[str, Any]]]]
CANDIDATES: dict[str, Candidate] = {
    "ours": ours,
    "recipe": lambda *given: rival("recipe", *given),
    "recipe, encoded once": lambda *given: rival("recipe", *given, encode_once=True),
    "optuna": lambda *given: rival("optuna_alone", *given),
    "syne-tune": lambda *given: rival("syne_tune_local", *given),
}


def write_texts(path: Path, limit: int | None) -> None:
    """Write the corpus as the rivals read it: text, label and our split."""
    import data

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for split in ("train", "val", "test"):
            examples = data.read_examples("imdb", split, limit=limit, progress=False)
            writer.writerows([text, label, split] for text, label in examples)


# --- The results


def check_equal_work(rounds: list[dict[str, Any]]) -> None:
    """Require that all candidates have trained twelve networks with the same numbers of parameters."""
    wanted = None
    for each in rounds:
        found = sorted((trial["architecture"], int(trial["num_parameters"])) for trial in each["trials"])
        assert len(found) == len(CONFIGURATIONS), f"{each['candidate']}: {len(found)} trials"
        wanted = wanted or found
        assert found == wanted, f"{each['candidate']}: {found}, not {wanted}"


def accuracy(each: dict[str, Any], architecture: str) -> float:
    return fmean(trial["test_accuracy"] for trial in each["trials"] if trial["architecture"] == architecture)


def difference(rounds: list[dict[str, Any]], candidate: str, architecture: str) -> str:
    """The mean test accuracy minus that of ours, with its standard error, in points of 100."""
    baseline = [accuracy(each, architecture) for each in rounds if each["candidate"] == "ours"]
    compared = [accuracy(each, architecture) for each in rounds if each["candidate"] == candidate]
    written = f"{100 * (fmean(compared) - fmean(baseline)):+.2f}"
    if len(baseline) < 2:
        return written
    error = math.sqrt((stdev(baseline) ** 2 + stdev(compared) ** 2) / len(baseline))
    return f"{written} ± {100 * error:.2f}"


def markdown(rounds: list[dict[str, Any]]) -> str:
    """One row per candidate: medians over rounds, of the measures and of their ratios to ours in the same round."""
    names = list(dict.fromkeys(each["candidate"] for each in rounds))
    num_rounds = len(rounds) // len(names)
    ours_by_round = [each for each in rounds if each["candidate"] == "ours"]
    rows, accuracies = [], []
    for name in names:
        by_round = [each for each in rounds if each["candidate"] == name]
        seconds = median(each["wall_seconds"] for each in by_round)
        both = list(zip(by_round, ours_by_round, strict=True))
        ratios = [each["wall_seconds"] / first["wall_seconds"] for each, first in both]
        core_ratios = [each["core_seconds"] / first["core_seconds"] for each, first in both]
        rows.append(
            [
                name,
                f"{seconds:.0f}",
                f"{median(each['core_seconds'] for each in by_round):.0f}",
                f"{3600 * len(CONFIGURATIONS) / seconds:.0f}",
                f"{median(ratios):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                f"{median(core_ratios):.2f}",
            ]
        )
        if name == "ours":
            means = [fmean(accuracy(each, architecture) for each in by_round) for architecture in ARCHITECTURES]
            accuracies.append([name, *(f"{100 * mean:.2f}" for mean in means)])
        else:
            accuracies.append([name, *(difference(rounds, name, a) for a in ARCHITECTURES)])
    heads = ["", "s", "core-s", "trials per hour", "s, ratio to ours", "lowest to highest", "core-s, ratio to ours"]
    return "\n".join(
        [
            f"`python -m benchmarks.fixed_work` on {measure.processor()}: twelve configurations of two epochs,",
            f"two concurrent; medians of {num_rounds} rounds in which the candidates took turns. Ratios are by round.",
            "",
            measure.table(heads, rows),
            "",
            "Mean test accuracy of ours in percent, and of the others minus ours in points, with the standard error",
            "of the difference (the rounds differ in their seeds):",
            "",
            measure.table(["", *ARCHITECTURES], accuracies),
        ]
    )


def main() -> None:
    parser = measure.options("fixed_work", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each candidate (default 5)")
    parser.add_argument(
        "--only",
        action="append",
        choices=CANDIDATES,
        help="only ours and this one, without writing the page; repeatable",
    )
    chosen = parser.parse_args()
    limit, num_rounds = (SMOKE_TEXTS, 1) if chosen.smoke else (None, chosen.rounds)
    names = [name for name in CANDIDATES if name == "ours" or name in (chosen.only or CANDIDATES)]
    rounds: list[dict[str, Any]] = []
    with measure.scratch() as shared:
        write_texts(shared / "texts.csv", limit)
        for number in range(num_rounds):
            for name in names if number % 2 == 0 else reversed(names):
                with measure.scratch() as folder:
                    usage, trials = CANDIDATES[name](folder, shared / "texts.csv", number, limit)
                rounds.append(
                    {
                        "candidate": name,
                        "round": number,
                        "wall_seconds": usage.wall_seconds,
                        "core_seconds": usage.core_seconds,
                        "trials": trials,
                    }
                )
                measure.save({"rounds": rounds}, chosen)
                print(f"{name}: {usage.wall_seconds:.1f} s, {usage.core_seconds:.1f} core-seconds", flush=True)
    check_equal_work(rounds)
    measure.keep("fixed work", {"rounds": rounds}, markdown(rounds), chosen)


if __name__ == "__main__":
    main()
