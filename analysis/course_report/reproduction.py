"""The published report's studies, repeated: ours beside the published figures, and which of its conclusions hold here.

A study is a search named `report-<study>`; here all of their trials are one frame, with a column `study`. Published is
one number from one run, chosen on the test set; ours are means over seeds, of test numbers on which nothing was chosen.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import stats
from analysis.base.runs import Search, present
from analysis.base.table import Table, cell, heading
from analysis.boards.comparison import grouped, spread
from analysis.boards.leaderboard import RANK_BY
from data.base.errors import UserError
from search.base import record
from search.base.record import Outcome

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
#: What every study has in common, as MLflow keeps the keys of a spec.
SETTINGS = {"corpus": "imdb", "limit": "None", "max_words": "100", "epochs": "10", "batch_size": "32"}

#: What tells a study's configurations apart, and the measures that are published of each.
KEYS = ["architecture", "activation", "gate_activation", "hidden_size", "num_layers", "dropout", "learning_rate"]
MEASURES = ["accuracy", "f1", "roc_auc"]
SPLITS = ["train", "test"]

#: A run did not train if it diverged or its test accuracy stayed below this. Of two equally frequent classes.
TRAINED, GUESSING = 0.6, 0.5
DID_NOT_TRAIN = "did not train"  # a note in the published figures
#: A spread (mean absolute deviation from the median) of so much more test accuracy is instability.
UNSTABLE = 0.02
MIN_SPREAD = 5  # runs; of fewer a spread says little
#: Gradients vanish where their norm is less than this share of what it is with sigmoid gates.
VANISHED = 0.1

GRADIENTS = "gru-gate: norms of the gradient by layer and epoch"
HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "cannot be told", "not run"


# --- What was run, and what was published


def find_studies(known: Iterable[Search], chosen: Iterable[Search] = ()) -> dict[str, Search]:
    """The search of each study that has one: the one chosen, else the newest. `known` are all, oldest first.

    Raises UserError when one that was chosen is of no study.
    """
    chosen = list(chosen)
    for search in chosen:
        if search.name.removeprefix(PREFIX) not in STUDIES or not search.name.startswith(PREFIX):
            studies = ", ".join(PREFIX + study for study in STUDIES)
            raise UserError(f"{search.id} is no search of one of the report's studies: {studies}")
    by_name = {search.name: search for searches in (known, chosen) for search in searches}
    return {study: by_name[PREFIX + study] for study in STUDIES if PREFIX + study in by_name}


def with_study(trials: pd.DataFrame, studies: Mapping[str, Search]) -> pd.DataFrame:
    """The trials with a column `study`, and with each of KEYS even where no architecture has such a hyperparameter."""
    names = {search.id: study for study, search in studies.items()}
    lacking = {name: pd.Series(np.nan, trials.index, dtype=object) for name in KEYS if name not in trials}
    return trials.assign(study=trials["search"].map(names), **lacking)


def read_published() -> pd.DataFrame:
    """The published figures: study, the KEYS that are printed, metric, train, test, note."""
    with resources.files("analysis.course_report").joinpath("published_results.csv").open(encoding="utf-8") as file:
        published = pd.read_csv(file, keep_default_na=False, na_values=[""])
    # Three dropouts were compared, and this row's is the one that is not printed.
    published.loc[published["note"].fillna("").str.startswith("dropout not printed"), "dropout"] = 0.3
    return published.assign(learning_rate=np.nan)


# --- Figure for figure


def figures(trials: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the published: a row for each study that was run, configuration (see KEYS) and measure.

    `complete` of the `trials` count; `untrained` did not train (see TRAINED). For train and test: `_published`, `_mean`
    and `_sd` of ours, and `_difference`, ours less the published. A configuration that is printed but was not run has
    no trials.
    """
    rows = []
    for study in [name for name in STUDIES if name in set(trials["study"])]:
        printed = published[published["study"] == study]
        for configuration, own, said in _configurations(trials[trials["study"] == study], printed):
            complete = own[own["outcome"] == Outcome.COMPLETE.value]
            counts = {"trials": len(own), "complete": len(complete), "untrained": int((~_trained(own)).sum())}
            for measure in MEASURES:
                ours, theirs = complete, said[said["metric"] == measure]
                row = {"study": study, **configuration, "metric": measure, **counts}
                for split in SPLITS:
                    mean, sd, _ = spread(ours[f"{split}_{measure}"])
                    figure = theirs[split].mean()  # printed once, or not at all
                    row |= {f"{split}_published": figure, f"{split}_mean": mean, f"{split}_sd": sd}
                    row[f"{split}_difference"] = mean - figure
                rows.append(row | {"note": next(iter(theirs["note"].dropna()), np.nan)})
    compared = [f"{split}_{of}" for split in SPLITS for of in ("published", "mean", "sd", "difference")]
    counted = ["trials", "complete", "untrained"]
    return pd.DataFrame(rows, columns=["study", *KEYS, "metric", *counted, *compared, "note"])


def _configurations(
    own: pd.DataFrame, printed: pd.DataFrame
) -> Iterable[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """The configurations of a study, with the trials and the printed rows of each."""
    left = printed
    for key, group in _by_keys(own).items():
        configuration = dict(zip(KEYS, key, strict=True))
        # What is not printed, such as the rnn's dropout, was not varied; nor was what an old run does not say.
        said = printed
        for name, value in configuration.items():
            if present(value):
                said = said[said[name].isna() | (said[name] == value)]
        left = left.drop(said.index, errors="ignore")
        yield configuration, group, said
    for key, group in _by_keys(left).items():
        yield dict(zip(KEYS, key, strict=True)), own.head(0), group


def _by_keys(rows: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Rows with the same KEYS; NaN, where there is no such hyperparameter, is equal to itself here."""
    keys = rows[KEYS].astype(object)
    groups = grouped(keys.where(keys.notna(), None), KEYS)
    return {tuple(np.nan if each is None else each for each in key): rows.loc[g.index] for key, g in groups.items()}


def _trained(trials: pd.DataFrame) -> pd.Series:
    """Whether each trial trained at all; one that is still running is not said to have failed."""
    ended = trials["outcome"].isin([Outcome.COMPLETE.value, Outcome.DIVERGED.value])
    learned = (trials["outcome"] == Outcome.COMPLETE.value) & (trials["test_accuracy"] >= TRAINED)
    return learned | ~ended


# --- The report's conclusions


def comparisons(trials: pd.DataFrame, published: pd.DataFrame, norms: pd.DataFrame) -> pd.DataFrame:
    """What each conclusion rests on: `first` should exceed `second` in `measure`, by more than `threshold`.

    With its 95 % interval (`low`, `high`), p, and p corrected within the conclusion (Holm); `published` is the same
    difference in the report. `over`: what else differs, and is equal in both of each pair of means that is compared.
    norms: see `gradient_norms`.
    """

    def compare(
        studies: Sequence[str], first: Mapping[str, Any], second: Mapping[str, Any], over: Sequence[str] = ()
    ) -> dict[str, Any]:
        return _compare(trials, published, studies, first, second, over)

    rnn, gru, sizes = "rnn-activation", "gru-activation", "gru-hidden-size"
    gru_over_rnn = ({"architecture": "gru"}, {"architecture": "rnn"})
    best_gru, best_rnn = (
        {**side, "activation": _best_activation(trials, f"{side['architecture']}-activation")} for side in gru_over_rnn
    )
    attention_over_mlp = ({"architecture": "attention"}, {"architecture": "mlp"})
    rows = {
        "rnn: no activation > relu > tanh > sigmoid": [
            compare([rnn], {"activation": first}, {"activation": second})
            for first, second in combinations(("none", "relu", "tanh", "sigmoid"), 2)
        ],
        "gru beats rnn": [
            compare([rnn, "rnn-hidden-size", gru, sizes], *gru_over_rnn, over=["activation", "hidden_size"]),
            compare([rnn, gru], best_gru, best_rnn),
        ],
        "gru beats rnn at equal parameters": [compare(["parameter-match"], *gru_over_rnn)],
        "gru: relu is best": [
            compare([gru, sizes], {"activation": "relu"}, {"activation": other}, over=["hidden_size"])
            for other in ("none", "tanh", "sigmoid")
        ],
        "gru: relu is least stable": [
            _stability(trials, published, [gru, sizes], "relu", other) for other in ("none", "tanh")
        ],
        "gru: gradients vanish with relu gates": _vanishing(norms),
        "mlp: dropout 0.1 is best": [
            compare(["mlp-depth"], {"dropout": 0.1}, {"dropout": other}, over=["num_layers"]) for other in (0.3, 0.5)
        ],
        "mlp: four layers are best": [
            compare(["mlp-depth"], {"num_layers": 4}, {"num_layers": other}, over=["dropout"]) for other in (2, 3, 5)
        ],
        "attention beats the mlp": [
            compare(["attention-depth", "mlp-depth"], *attention_over_mlp, over=["num_layers", "dropout"])
        ],
        "attention beats the mlp at equal parameters": [compare(["parameter-match"], *attention_over_mlp)],
        "rnn: learning rate 1e-4 beats 4e-4": [
            compare(["learning-rate"], {"learning_rate": 1e-4}, {"learning_rate": 4e-4}, over=["activation"])
        ],
    }
    numbered = enumerate(rows.items(), start=1)
    table = pd.DataFrame([{"no": no, "conclusion": text, **row} for no, (text, made) in numbered for row in made])
    corrected = table.groupby("no")["p"].transform(lambda p: stats.holm(p.fillna(1)))
    return table.assign(holm_p=corrected.where(table["p"].notna()))[_COMPARISON]


_COMPARISON = ["no", "conclusion", "measure", "first", "second", "over", "first_runs", "second_runs", "difference"]
_COMPARISON += ["low", "high", "threshold", "p", "holm_p", "published"]


def _best_activation(trials: pd.DataFrame, study: str) -> str | None:
    """The activation with the best validation score over seeds, so that none is chosen on the test set."""
    means = _ended(trials, [study]).groupby("activation")[RANK_BY].mean()
    return str(means.idxmax()) if len(means) else None


def _compare(
    trials: pd.DataFrame,
    published: pd.DataFrame,
    studies: Sequence[str],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    over: Sequence[str],
) -> dict[str, Any]:
    """Test accuracy where the trial fulfils `first` against where it fulfils `second`, for each value of `over`."""
    ours = _matched(_ended(trials, studies), "test_accuracy", first, second, over)
    printed = published[published["study"].isin(studies) & (published["metric"] == "accuracy")]
    theirs = _matched(printed[printed["note"] != DID_NOT_TRAIN], "test", first, second, over)
    return {
        "measure": "test accuracy",
        "first": _named(first),
        "second": _named(second),
        "over": ", ".join(over),
        **_difference(*ours),
        "published": _gap(*theirs),
    }


def _ended(trials: pd.DataFrame, studies: Sequence[str]) -> pd.DataFrame:
    """The runs of some studies that ended, the same run in two of them once; one that diverged can only guess."""
    ended = trials[trials["study"].isin(studies) & trials["outcome"].isin([Outcome.COMPLETE, Outcome.DIVERGED])]
    ended = ended.drop_duplicates([*KEYS, "seed"])
    complete = ended["outcome"] == Outcome.COMPLETE.value
    return ended.assign(**{name: ended[name].where(complete, GUESSING) for name in (RANK_BY, "test_accuracy")})


def _matched(
    rows: pd.DataFrame, value: str, first: Mapping[str, Any], second: Mapping[str, Any], over: Sequence[str]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The values of both sides in each stratum: each combination of `over` that both have."""
    sides = []
    for condition in (first, second):
        side = rows
        for name, wanted in condition.items():
            side = side[side[name].eq(wanted).fillna(False).astype(bool)]
        strata: dict[tuple[Any, ...], list[float]] = {}
        for key, number in zip(_keys(side, over), side[value], strict=True):
            if np.isfinite(number):
                strata.setdefault(key, []).append(float(number))
        sides.append(strata)
    shared = [key for key in sides[0] if key in sides[1]]
    return [np.array(sides[0][key]) for key in shared], [np.array(sides[1][key]) for key in shared]


def _keys(rows: pd.DataFrame, over: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(rows[name] for name in over), strict=True)) if over else [()] * len(rows)


def _difference(first: Sequence[np.ndarray], second: Sequence[np.ndarray], threshold: float = 0.0) -> dict[str, Any]:
    found = stats.mean_difference(first, second, null=threshold) if first else stats.Difference(*[np.nan] * 4)
    return {
        "first_runs": sum(map(len, first)),
        "second_runs": sum(map(len, second)),
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "threshold": threshold,
        "p": found.p,
    }


def _gap(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    return float(np.mean([a.mean() - b.mean() for a, b in zip(first, second, strict=True)] or [np.nan]))


def _named(condition: Mapping[str, Any]) -> str:
    """'gru relu', 'dropout 0.1'"""
    return " ".join(
        str(value) if isinstance(value, str | None) else f"{heading(name)} {cell(name, value)}"
        for name, value in condition.items()
    )


def _stability(
    trials: pd.DataFrame, published: pd.DataFrame, studies: Sequence[str], first: str, second: str
) -> dict[str, Any]:
    """The spread of test accuracy over seeds and sizes (Brown and Forsythe 1974): mean deviation from the median."""
    ended = _ended(trials, studies)
    printed = published[published["study"].isin(studies) & (published["metric"] == "accuracy")]
    conditions = {"activation": first}, {"activation": second}
    ours, theirs = (
        [
            [abs(numbers - np.median(numbers)) for numbers in side]
            for side in _matched(rows, value, *conditions, over=())
        ]
        for rows, value in ((ended, "test_accuracy"), (printed, "test"))
    )
    if any(len(side) < MIN_SPREAD for strata in ours for side in strata):
        ours = [[], []]
    return {
        "measure": "spread of test accuracy",
        "first": first,
        "second": second,
        "over": "",
        **_difference(ours[0], ours[1], UNSTABLE),
        "published": _gap(theirs[0], theirs[1]),
    }


def _vanishing(norms: pd.DataFrame) -> list[dict[str, Any]]:
    """For each layer below the output: by how many powers of ten the gradients of relu gates are smaller."""
    rows = []
    for layer in [name for name in norms["layer"].unique() if not name.startswith("output")] or [""]:
        # A gradient that is gone altogether has no logarithm.
        powers = np.log10(norms[norms["layer"] == layer].set_index(["gate_activation", "run_id"])["value"].clip(1e-12))
        means = powers.groupby(level=[0, 1]).mean().reset_index()
        sides = [means[means["gate_activation"] == gate]["value"].to_numpy() for gate in ("sigmoid", "relu")]
        sigmoid, relu = ([side] for side in sides) if all(map(len, sides)) else ([], [])
        rows.append(
            {
                "measure": f"log10 gradient norm of {layer}" if layer else "log10 gradient norm",
                "first": "sigmoid",
                "second": "relu",
                "over": "",
                **_difference(sigmoid, relu, -np.log10(VANISHED)),
                "published": np.nan,
            }
        )
    return rows


def conclusions(compared: pd.DataFrame) -> pd.DataFrame:
    """Whether each conclusion holds here, from its comparisons (see RULE), and which of them decides that."""
    rows = []
    for (no, text), own in compared.groupby(["no", "conclusion"]):
        shown = own["low"] > own["threshold"]
        reversed_ = (own["difference"] < own["threshold"]) & (own["holm_p"] < 1 - stats.CONFIDENCE)
        if own["difference"].isna().all():
            verdict, deciding = NOT_RUN, own.head(1)
        elif reversed_.any():
            verdict, deciding = FAILS, own[reversed_].sort_values("holm_p").head(1)
        elif shown.all():
            verdict, deciding = HOLDS, own.sort_values("low").head(1)
        else:
            verdict, deciding = OPEN, own[~shown].sort_values("low", na_position="first").head(1)
        rows.append([no, text, verdict, *map(_in_words, _records(deciding))])
    return pd.DataFrame(rows, columns=["no", "conclusion", "here", "decided_by"])


RULE = (
    "A conclusion holds where each of its comparisons does: where the 95 % interval of the difference lies above the "
    "threshold. It does not hold where one of them is shown to lie below it (p < 0.05, Holm-corrected within the "
    "conclusion), and cannot be told otherwise. Intervals: Welch's over seeds, averaged over what both sides share; "
    "where single runs are compared, Student's over the differences, one for each size."
)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _in_words(row: Mapping[str, Any]) -> str:
    """'relu - tanh: +0.012 (-0.004 to +0.028)'"""
    if np.isnan(row["difference"]):
        return f"{row['first']} - {row['second']}: not run"
    between = "" if np.isnan(row["low"]) else f" ({row['low']:+.3f} to {row['high']:+.3f})"
    return f"{row['first']} - {row['second']}: {row['difference']:+.3f}{between}"


# --- Gradients


def gradient_norms(trials: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """Of each complete run of gru-gate: gate_activation, run_id, layer, epoch, value, from `runs.read_series`."""
    own = trials[(trials["study"] == "gru-gate") & (trials["outcome"] == Outcome.COMPLETE.value)]
    layers = series.assign(layer=series["metric"].str.removeprefix(record.GRAD_NORM_OF)).rename(
        columns={"step": "epoch"}
    )
    merged = own[["run_id", "gate_activation"]].merge(layers, on="run_id")
    return merged[["gate_activation", "run_id", "layer", "epoch", "value"]]


def gradients(norms: pd.DataFrame) -> pd.DataFrame:
    """By layer, epoch and gate: the geometric mean over runs of the gradient's norm, the lowest and the highest."""
    powers = np.log(norms["value"].clip(1e-12)).groupby([norms["layer"], norms["epoch"], norms["gate_activation"]])
    table = np.exp(powers.agg(["mean", "min", "max"])).assign(runs=powers.size())
    return table.rename(columns={"mean": "grad_norm", "min": "lowest", "max": "highest"}).reset_index()


# --- As tables


def tables(
    studies: Mapping[str, Search],
    trials: pd.DataFrame,
    norms: pd.DataFrame,
    published: pd.DataFrame,
    *,
    long: bool = False,
) -> dict[str, list[Table]]:
    """All of it, by what it shows: conclusions, comparisons, figures (a table for each study), gradients, searches.

    trials: of all studies, see `with_study`. norms: see `gradient_norms`. long: one row a number, for programs.
    """
    found = figures(trials, published)
    compared = comparisons(trials, published, norms)
    return {
        "conclusions": [_conclusion_table(compared)],
        "comparisons": [_comparison_table(compared)],
        "figures": [_long_table(found, "Figure for figure")] if long else _study_tables(found),
        "gradients": [_long_table(gradients(norms), GRADIENTS) if long else _gradient_table(gradients(norms))],
        "searches": [_search_table(studies, trials)],
    }


def _conclusion_table(compared: pd.DataFrame) -> Table:
    return Table(
        conclusions(compared),
        groups=[["no", "conclusion", "here", "decided_by"]],
        key="no",
        title="The report's conclusions",
        notes=[RULE],
    )


def _comparison_table(compared: pd.DataFrame) -> Table:
    comparison = [f"{row['first']} - {row['second']}" for row in _records(compared)]
    return Table(
        compared.assign(comparison=comparison),
        groups=[
            ["no", "comparison", "first_runs", "second_runs", "difference", "low", "high", "threshold", "holm_p"],
            ["published"],
            ["measure", "over"],
        ],
        key=["no", "comparison"],
        title="What they rest on",
        notes=[
            "The difference is first less second, over what else differs and is equal on both sides; published is the "
            "same difference in the report, without its runs that did not train.",
            f"Spread: the mean absolute deviation from the median over seeds and sizes (Brown and Forsythe), with runs "
            f"that did not train; more than {UNSTABLE} above another's is instability.",
            f"Gradients vanish where their norm, as a geometric mean over epochs, is less than {VANISHED:g} of what it "
            f"is with sigmoid gates.",
        ],
    )


def _gradient_table(table: pd.DataFrame) -> Table:
    """For readers: the gates side by side."""
    gates = list(table["gate_activation"].unique())
    written = [f"{row['grad_norm']:.3g} ({row['lowest']:.3g} to {row['highest']:.3g})" for row in _records(table)]
    wide = table.assign(written=written).pivot(index=["layer", "epoch"], columns="gate_activation", values="written")
    wide = wide.rename(columns={gate: f"{gate} gates" for gate in gates}).rename_axis(columns=None).reset_index()
    return Table(
        wide,
        groups=[list(wide.columns)],
        key=["layer", "epoch"],
        title=GRADIENTS,
        notes=["Geometric means over runs (lowest to highest)."],
    )


def _search_table(studies: Mapping[str, Search], trials: pd.DataFrame) -> Table:
    """The searches behind it all, and what to know of them."""
    rows = [
        {
            "study": study,
            "search": search.id,
            "outcome": search.outcome,
            "trials": len(own),
            "complete": int((own["outcome"] == Outcome.COMPLETE.value).sum()),
            "seconds": own["seconds"].sum(),
        }
        for study, search in studies.items()
        for own in [trials[trials["study"] == study]]
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
        others = [f"{key} {search.spec.get(key)}" for key, value in SETTINGS.items() if search.spec.get(key) != value]
        if others:
            yield f"Warning: {study} was not run with the report's settings, but with {', '.join(others)}."
    digests = list(dict.fromkeys(search.tags.get(record.DATA_DIGEST, "unknown") for search in studies.values()))
    if len(digests) > 1:
        yield "Warning: the studies were not run on the same data."
    yield f"Data digest: {', '.join(digests)}."
    for what, prefix in (("Versions", record.VERSION_PREFIX), ("Commit", record.GIT_COMMIT), ("Processor", record.CPU)):
        found = dict.fromkeys(
            f"{name.removeprefix(record.VERSION_PREFIX)} {value}" if name != prefix else value
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


def _long_table(frame: pd.DataFrame, title: str) -> Table:
    """For programs."""
    return Table(frame, groups=[list(frame.columns)], key=list(frame.columns), title=title)


def _study_tables(found: pd.DataFrame) -> list[Table]:
    """For readers: a table for each study."""
    tables = []
    for study, own in found.groupby("study", sort=False):
        varied = [name for name in KEYS if own[name].nunique() > 1] or ["architecture"]
        shown: dict[str, Any] = {name: own[name] for name in [*varied, "metric"]}
        shown["metric"] = own["metric"].map(lambda name: heading(f" {name}").strip())
        shown["runs"] = own["complete"]
        for split in SPLITS:
            shown[f"{split} report"] = [cell("test_accuracy", each) for each in own[f"{split}_published"]]
            shown[f"{split} ours"] = [
                cell("test_accuracy", mean) + ("" if np.isnan(sd) else f" ± {cell('test_accuracy', sd)}")
                for mean, sd in zip(own[f"{split}_mean"], own[f"{split}_sd"], strict=True)
            ]
            shown[f"{split} difference"] = [
                "" if np.isnan(each) else f"{each:+.4f}" for each in own[f"{split}_difference"]
            ]
        notes = [_note(row, varied) for row in _records(own[own["metric"] == MEASURES[0]])]
        table = Table(
            pd.DataFrame(shown),
            groups=[list(shown)],
            key=[*varied, "metric"],
            title=f"{study}: {STUDIES[str(study)]}",
            notes=[note for note in notes if note],
        )
        tables.append(table)
    return tables


def _note(row: Mapping[str, Any], varied: Sequence[str]) -> str:
    """What is remarkable of it: 'hidden size 80: in the report did not train, here 0 of 1 did not train.'"""
    said = [] if pd.isna(row["note"]) else [f"in the report {row['note']}"]
    if not row["trials"]:
        said.append("not run here")
    elif row["untrained"] or row["note"] == DID_NOT_TRAIN:
        said.append(f"here {row['untrained']} of {row['trials']} {DID_NOT_TRAIN}")
    elif row["complete"] < row["trials"]:
        said.append(f"here {row['trials'] - row['complete']} of {row['trials']} not complete")
    having = {name: row[name] for name in varied if not pd.isna(row[name])}
    return f"{', '.join(f'{heading(n)} {cell(n, v)}' for n, v in having.items())}: {', '.join(said)}." if said else ""
