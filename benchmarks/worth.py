"""Architectures and baselines compared: test accuracy, training time, prediction speed and size of the model.

    python -m benchmarks.worth [--out FILE.json] [--words 100 1000] [--smoke]

One search per number of words trains a configuration of each architecture and the baselines on the embedded corpus,
with two concurrent trials. The configurations were chosen on validation. Each model is then exported, loaded from the
registry, and predicts the test texts as in `python -m analysis predict`.
"""

import os
import time
from pathlib import Path
from statistics import median

import mlflow
import pandas as pd
import yaml

import data
from benchmarks import measure
from models import is_baseline
from search.base import console, mlflow_uri, schema
from search.serve import export

SPEC = Path(__file__).with_suffix(".yaml")
ROUNDS = 3


def main() -> None:
    parser = measure.options("worth", __doc__)
    parser.add_argument("--words", type=int, nargs="+", default=[100, 1000], help="numbers of words read per text")
    chosen = parser.parse_args()
    console.quiet_libraries()
    texts = [text for text, _ in data.read_examples("imdb", "test", limit=800 if chosen.smoke else None)]
    by_words: dict[int, pd.DataFrame] = {}
    for words in chosen.words:
        by_words[words] = measure_models(words, texts, chosen.smoke)
        measure.save({"words": {n: frame.to_dict("records") for n, frame in by_words.items()}}, chosen)
    about = (
        f"`python -m benchmarks.worth` on {measure.processor()}, {os.cpu_count()} cores: one configuration of each\n"
        "architecture and the best of each baseline on validation; seconds are those of training it on one core (of a\n"
        "baseline: of that grid point), texts per second and megabytes those of the exported model."
    )
    tables = [f"{words:,} words of each text:\n\n{_table(frame)}" for words, frame in by_words.items()]
    figures = {"words": {words: frame.to_dict("records") for words, frame in by_words.items()}}
    measure.keep("worth", figures, "\n\n".join([about, *tables]), chosen)


def measure_models(words: int, texts: list[str], smoke: bool) -> pd.DataFrame:
    """One row per model, the best on validation first."""
    spec = yaml.safe_load(SPEC.read_text(encoding="utf-8")) | {"max_words": words}
    if smoke:
        spec |= {"limit": 800, "epochs": 1}
    with measure.scratch() as folder:
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        usage = measure.run(measure.our_search("spec.yaml"), folder)
        measure.require_success(usage, folder)
        trials = measure.our_trials(folder)
        trials = trials[trials["outcome"] == schema.Outcome.COMPLETE].sort_values(
            "val_accuracy", ascending=False, kind="stable"
        )
        best = trials.drop_duplicates("architecture").reset_index(drop=True)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        search = next((folder / "searches").iterdir())
        rows = []
        for row in best.itertuples():
            exported = export.export(search.name, search.parent, uri, row.architecture)
            rows.append(
                {
                    "model": row.architecture,
                    "is_baseline": is_baseline(row.architecture),
                    "val_accuracy": row.val_accuracy,
                    "test_accuracy": row.test_accuracy,
                    "seconds": row.seconds,
                    "texts_per_second": len(texts) / _seconds(exported.uri, uri, texts),
                    "megabytes": exported.num_bytes / 1e6,
                }
            )
    return pd.DataFrame(rows)


def _seconds(model: str, uri: str, texts: list[str]) -> float:
    """The seconds in which an exported model predicts all texts; the median of a few rounds."""
    frame = pd.DataFrame({"text": texts})
    seconds: list[float] = []
    with mlflow_uri.mlflow_at(uri):
        loaded = mlflow.pyfunc.load_model(model)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        loaded.predict(frame)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _table(models: pd.DataFrame) -> str:
    heads = ["model", "validation accuracy", "test accuracy", "training, s", "texts per second", "MB"]
    rows: list[list[str]] = [
        [
            f"{row['model']} (baseline)" if row["is_baseline"] else row["model"],
            f"{row['val_accuracy']:.4f}",
            f"{row['test_accuracy']:.4f}",
            f"{row['seconds']:.1f}",
            f"{row['texts_per_second']:,.0f}",
            f"{row['megabytes']:.1f}",
        ]
        for row in models.to_dict("records")
    ]
    return measure.table(heads, rows)


if __name__ == "__main__":
    main()
