"""The studies of the published report, the searches that repeat them, and the published numbers.

A study is a search named `report-<study>`. The trials of all studies form one frame with a column `study`.
"""

from collections.abc import Iterable, Mapping
from importlib import resources

import numpy as np
import pandas as pd

from analysis.base.runs import Search
from analysis.base.table import Table
from data.base.errors import UserError
from search.base import schema
from search.base.schema import Outcome

PREFIX = "report-"
STUDIES = {
    "rnn-activation": "the activation of the rnn",
    "rnn-hidden-size": "the hidden size of the rnn, without an activation",
    "gru-activation": "the activation of the gru's candidate state",
    "gru-gate": "the activation of the gru's gates",
    "gru-hidden-size": "the hidden size of the gru, by activation",
    "learning-rate": "the learning rate of the rnn",
    "mlp-depth": "depth and dropout of the mlp",
    "attention-depth": "the depth of attention",
    "parameter-match": "all four at equal numbers of parameters",
}
#: The settings that all studies share.
SETTINGS = {"corpus": "imdb", "limit": None, "split_seed": 0, "max_words": 100, "epochs": 10, "batch_size": 32}

#: The hyperparameters that identify a configuration, and the measures published for each.
KEYS = ["architecture", "activation", "gate_activation", "hidden_size", "num_layers", "dropout", "learning_rate"]
MEASURES = ["accuracy", "f1", "roc_auc"]
SPLITS = ["train", "test"]

#: A run did not train if it diverged or its test accuracy stayed below TRAINED. GUESSING: two equally frequent classes.
TRAINED, GUESSING = 0.6, 0.5
DID_NOT_TRAIN = "did not train"  # a note in the published figures


def find_studies(known: Iterable[Search], chosen: Iterable[Search] = ()) -> dict[str, Search]:
    """The searches by study: the chosen one, else the newest. known: all searches, oldest first.

    Raises UserError when a chosen search is of no study.
    """
    chosen = list(chosen)
    for search in chosen:
        if search.name.removeprefix(PREFIX) not in STUDIES or not search.name.startswith(PREFIX):
            studies = ", ".join(PREFIX + study for study in STUDIES)
            raise UserError(f"{search.id} is not a search of the report's studies; choose from {studies}")
    by_name = {search.name: search for searches in (known, chosen) for search in searches}
    return {study: by_name[PREFIX + study] for study in STUDIES if PREFIX + study in by_name}


def with_study(trials: pd.DataFrame, studies: Mapping[str, Search]) -> pd.DataFrame:
    """The trials with a column `study` and all of KEYS, which are NaN if no architecture has the hyperparameter."""
    names = {search.id: study for study, search in studies.items()}
    lacking = {name: pd.Series(np.nan, trials.index, dtype=object) for name in KEYS if name not in trials}
    return trials.assign(study=trials["search"].map(names), **lacking)


def read_published() -> pd.DataFrame:
    """The published numbers: study, the published KEYS, metric, train, test, note."""
    with resources.files("analysis.course_report").joinpath("published_results.csv").open(encoding="utf-8") as file:
        published = pd.read_csv(file, keep_default_na=False, na_values=[""])
    # Three dropouts were compared; these rows are of the one that was not printed.
    published.loc[published["note"].fillna("").str.startswith("dropout not printed"), "dropout"] = 0.3
    return published.assign(learning_rate=np.nan)


def search_table(studies: Mapping[str, Search], trials: pd.DataFrame) -> Table:
    """The searches of the studies, with warnings in notes."""
    rows = [
        {
            "study": study,
            "search": search.id,
            "outcome": search.outcome,
            "trials": len(group),
            "complete": int((group["outcome"] == Outcome.COMPLETE.value).sum()),
            "seconds": group["seconds"].sum(),
        }
        for study, search in studies.items()
        for group in [trials[trials["study"] == study]]
    ]
    columns = ["study", "search", "outcome", "trials", "complete", "seconds"]
    frame = pd.DataFrame(rows, columns=columns)
    return Table(frame, groups=[columns], key="study", title="The searches", notes=list(_notes(studies)))


def _notes(studies: Mapping[str, Search]) -> Iterable[str]:
    missing = [study for study in STUDIES if study not in studies]
    if missing:
        yield f"Not run, and left out: {', '.join(missing)}."
    for study, search in studies.items():
        if search.outcome != Outcome.COMPLETE.value:
            yield f"Warning: {study} is not complete, but {search.outcome}."
        run_with = {key: getattr(search.spec, key, "unknown") for key in SETTINGS}
        others = [f"{key} {run_with[key]}" for key, value in SETTINGS.items() if run_with[key] != value]
        if others:
            yield f"Warning: {study} was not run with the report's settings, but with {', '.join(others)}."
    digests = list(dict.fromkeys(search.tags.get(schema.DATA_DIGEST, "unknown") for search in studies.values()))
    if len(digests) > 1:
        yield "Warning: the studies were not run on the same data."
    yield f"Data digest: {', '.join(digests)}."
    for what, prefix in (("Versions", schema.VERSION_PREFIX), ("Commit", schema.GIT_COMMIT), ("Processor", schema.CPU)):
        found = dict.fromkeys(
            f"{name.removeprefix(schema.VERSION_PREFIX)} {value}" if name != prefix else value
            for search in studies.values()
            for name, value in search.tags.items()
            if name.startswith(prefix)
        )
        if found:
            yield f"{what}: {', '.join(found)}."
    yield (
        "The report's numbers are of single runs, chosen on the test set. Ours are means ± standard deviations over "
        "seeds, each of the weights of the best validation epoch; nothing was chosen on the test set. Training numbers "
        "are those of the batches as they were trained on, with dropout."
    )
