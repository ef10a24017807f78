"""Our numbers beside the published ones: tables, and one figure per study."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.base.runs import present
from analysis.base.table import Table, cell, heading
from analysis.boards.comparison import grouped, spread
from analysis.course_report.studies import DID_NOT_TRAIN, KEYS, MEASURES, SPLITS, STUDIES, TRAINED
from search.base.schema import Outcome

OURS, REPORT = "ours", "report"
COLORS = {OURS: "tab:blue", REPORT: "tab:red"}
LOWEST = 0.45  # lower end of the accuracy axis; the report's zeros are drawn at this edge


def figures(trials: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our numbers beside the published ones: one row per study that was run, configuration (see KEYS) and measure.

    Of the `trials`, those `complete` count; `untrained` ones did not train (see TRAINED). For train and test:
    `_published`, our `_mean` and `_sd`, and `_difference`, ours minus the published. A published configuration that was
    not run has no trials.
    """
    rows = []
    for study in [name for name in STUDIES if name in set(trials["study"])]:
        printed = published[published["study"] == study]
        for configuration, subset, in_report in _configurations(trials[trials["study"] == study], printed):
            complete = subset[subset["outcome"] == Outcome.COMPLETE.value]
            counts = {"trials": len(subset), "complete": len(complete), "untrained": int((~_trained(subset)).sum())}
            for measure in MEASURES:
                ours, theirs = complete, in_report[in_report["metric"] == measure]
                row = {"study": study, **configuration, "metric": measure, **counts}
                for split in SPLITS:
                    mean, sd, _ = spread(ours[f"{split}_{measure}"])
                    figure = theirs[split].mean()  # there is at most one published number
                    row |= {f"{split}_published": figure, f"{split}_mean": mean, f"{split}_sd": sd}
                    row[f"{split}_difference"] = mean - figure
                rows.append(row | {"note": next(iter(theirs["note"].dropna()), np.nan)})
    compared = [f"{split}_{of}" for split in SPLITS for of in ("published", "mean", "sd", "difference")]
    counted = ["trials", "complete", "untrained"]
    return pd.DataFrame(rows, columns=["study", *KEYS, "metric", *counted, *compared, "note"])


def _configurations(
    subset: pd.DataFrame, printed: pd.DataFrame
) -> Iterable[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """The configurations of a study, each with its trials and its published rows."""
    left = printed
    for key, group in _by_keys(subset).items():
        configuration = dict(zip(KEYS, key, strict=True))
        # Missing keys match anything: values that are not published were not varied, nor were those an old run lacks.
        in_report = printed
        for name, value in configuration.items():
            if present(value):
                in_report = in_report[in_report[name].isna() | (in_report[name] == value)]
        left = left.drop(in_report.index, errors="ignore")
        yield configuration, group, in_report
    for key, group in _by_keys(left).items():
        yield dict(zip(KEYS, key, strict=True)), subset.head(0), group


def _by_keys(rows: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Rows grouped by KEYS; NaN (no such hyperparameter) equals NaN."""
    keys = rows[KEYS].astype(object)
    groups = grouped(keys.where(keys.notna(), None), KEYS)
    return {tuple(np.nan if value is None else value for value in key): rows.loc[g.index] for key, g in groups.items()}


def _trained(trials: pd.DataFrame) -> pd.Series:
    """Whether each trial trained at all; True for trials that are still running."""
    ended = trials["outcome"].isin([Outcome.COMPLETE.value, Outcome.DIVERGED.value])
    learned = (trials["outcome"] == Outcome.COMPLETE.value) & (trials["test_accuracy"] >= TRAINED)
    return learned | ~ended


# --- As tables


def titled(study: str) -> str:
    """The title of a study's table."""
    return f"{study}: {STUDIES[study]}"


def study_tables(found: pd.DataFrame) -> list[Table]:
    """One table per study, for readers."""
    tables = []
    for study, subset in found.groupby("study", sort=False):
        varied = [name for name in KEYS if subset[name].nunique() > 1] or ["architecture"]
        shown: dict[str, Any] = {name: subset[name] for name in [*varied, "metric"]}
        shown["metric"] = subset["metric"].map(lambda name: heading(f" {name}").strip())
        shown["runs"] = subset["complete"]
        for split in SPLITS:
            shown[f"{split} report"] = [cell("test_accuracy", each) for each in subset[f"{split}_published"]]
            shown[f"{split} ours"] = [
                cell("test_accuracy", mean) + ("" if np.isnan(sd) else f" ± {cell('test_accuracy', sd)}")
                for mean, sd in zip(subset[f"{split}_mean"], subset[f"{split}_sd"], strict=True)
            ]
            shown[f"{split} difference"] = [
                "" if np.isnan(each) else f"{each:+.4f}" for each in subset[f"{split}_difference"]
            ]
        notes = [_note(row, varied) for row in subset[subset["metric"] == MEASURES[0]].to_dict("records")]
        notes = [note for note in notes if note]
        tables.append(Table(pd.DataFrame(shown), [list(shown)], [*varied, "metric"], titled(str(study)), notes))
    return tables


def _note(row: Mapping[Any, Any], varied: Sequence[str]) -> str:
    """A note on a row: 'hidden size 80: in the report did not train, here 0 of 1 did not train.'; '' for most rows."""
    remarks = [] if pd.isna(row["note"]) else [f"in the report {row['note']}"]
    if not row["trials"]:
        remarks.append("not run here")
    elif row["untrained"] or row["note"] == DID_NOT_TRAIN:
        remarks.append(f"here {row['untrained']} of {row['trials']} {DID_NOT_TRAIN}")
    elif row["complete"] < row["trials"]:
        remarks.append(f"here {row['trials'] - row['complete']} of {row['trials']} not complete")
    having = {name: row[name] for name in varied if not pd.isna(row[name])}
    return (
        f"{', '.join(f'{heading(n)} {cell(n, v)}' for n, v in having.items())}: {', '.join(remarks)}."
        if remarks
        else ""
    )


# --- As pictures


def study_points(trials: pd.DataFrame, published: pd.DataFrame, study: str) -> pd.DataFrame:
    """The points of a study's figure: KEYS, `of` (ours or report) and test_accuracy."""
    subset = trials[(trials["study"] == study) & (trials["outcome"] == Outcome.COMPLETE.value)]
    printed = published[(published["study"] == study) & (published["metric"] == "accuracy")]
    parts = [
        subset[[*KEYS, "test_accuracy"]].assign(of=OURS),
        printed.rename(columns={"test": "test_accuracy"})[[*KEYS, "test_accuracy"]].assign(of=REPORT),
    ]
    points = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return points[[*KEYS, "of", "test_accuracy"]].astype({"test_accuracy": "float64"})


def panels(count: int, title: str, **more: Any) -> tuple[Figure, np.ndarray]:
    """A figure of the page with `count` panels side by side."""
    figure = Figure(figsize=(max(4.5, 3.6 * count), 3.4), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(1, count, squeeze=False, **more)[0]


def draw_study(points: pd.DataFrame, title: str) -> Figure:
    """Our runs, their mean with its standard deviation, and the report's numbers. The hyperparameter with the most
    values is on the x axis; there is one panel per value of the others."""
    ours = points[points["of"] == OURS]
    counts = {name: ours[name].nunique() for name in KEYS}
    along = max(counts, key=lambda name: counts[name])
    # At a fixed number of parameters, the hidden size follows from the architecture.
    apart = [n for n in KEYS if counts[n] > 1 and n != along and along != "architecture"]
    groups = list(ours.groupby(apart)) if apart else [((), ours)]
    figure, axes = panels(len(groups), title, sharey=True)
    places = {value: place for place, value in enumerate(sorted(ours[along].dropna().unique()))}
    for ax, (key, group) in zip(axes, groups, strict=True):
        printed = points[points["of"] == REPORT]
        for name, value in zip(apart, key, strict=True):
            printed = printed[printed[name] == value]
        _draw_panel(ax, group, printed, along, places)
        ax.set_title(", ".join(f"{heading(n)} {cell(n, v)}" for n, v in zip(apart, key, strict=True)), fontsize=9)
    axes[0].set_ylabel("test accuracy")
    axes[-1].legend(fontsize=8, frameon=False)
    return figure


def _draw_panel(ax: Axes, ours: pd.DataFrame, printed: pd.DataFrame, along: str, places: Mapping[Any, int]) -> None:
    x = ours[along].map(places).astype(float)
    by_place = ours["test_accuracy"].groupby(x)
    mean, sd = by_place.mean(), by_place.std().fillna(0)
    ax.plot(x, ours["test_accuracy"], ".", color=COLORS[OURS], alpha=0.4, label="ours, each run")
    ax.errorbar(mean.index, mean, sd, fmt="_", color=COLORS[OURS], markersize=12, capsize=3, label="ours, mean ± sd")
    printed = printed[printed[along].isin(list(places))]
    ax.plot(
        printed[along].map(places).astype(float),
        printed["test_accuracy"].clip(LOWEST),
        "D",
        color=COLORS[REPORT],
        fillstyle="none",
        label="the report, one run",
        clip_on=False,
    )
    ax.axhline(0.5, color="grey", linewidth=0.5)
    ax.set_xticks(list(places.values()), [cell(along, value) for value in places])
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_ylim(bottom=LOWEST)
    ax.set_xlabel(heading(along))
    ax.grid(axis="y", alpha=0.3)
