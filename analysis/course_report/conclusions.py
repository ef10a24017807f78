"""Which of the report's conclusions hold in our repetition: the comparisons behind each, and the verdict.

The published numbers are from single runs, chosen on the test set. Ours are means over seeds of test numbers by which
nothing was chosen.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import stats
from analysis.base.table import Table, cell, heading
from analysis.boards.leaderboard import RANK_BY
from analysis.course_report.studies import DID_NOT_TRAIN, GUESSING, KEYS
from search.base.schema import Outcome

#: A run is unstable if its spread (mean absolute deviation from the median of test accuracy) is larger by this much.
UNSTABLE = 0.02
MIN_SPREAD = 5  # the fewest runs for a spread
#: Gradients vanish if their norm is below this share of the norm with sigmoid gates.
VANISHED = 0.1

HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "cannot be told", "not run"


def comparisons(trials: pd.DataFrame, published: pd.DataFrame, norms: pd.DataFrame) -> pd.DataFrame:
    """The comparisons behind each conclusion: `first` should exceed `second` in `measure` by more than `threshold`.

    Columns: the difference with its 95 % interval (`low`, `high`), p, and p corrected within the conclusion (Holm);
    `published` is the same difference in the report; `over` names what else varies, and is matched between both sides.
    norms: see `gradients.norms`.
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
    table.insert(len(table.columns) - 1, "holm_p", corrected.where(table["p"].notna()))
    return table


def _best_activation(trials: pd.DataFrame, study: str) -> str | None:
    """The activation with the best mean validation score over seeds: nothing is chosen on the test set."""
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
    """Compare the test accuracy of trials that match `first` and `second`, at every value of `over`."""
    ours = _matched(_ended(trials, studies), "test_accuracy", first, second, over)
    printed = _printed(published, studies)
    theirs = _matched(printed[printed["note"] != DID_NOT_TRAIN], "test", first, second, over)
    return _comparison("test accuracy", _named(first), _named(second), ours, theirs, over=over)


def _ended(trials: pd.DataFrame, studies: Sequence[str]) -> pd.DataFrame:
    """The ended runs of studies, without duplicates between studies. Diverged runs get the accuracy of guessing."""
    ended = trials[trials["study"].isin(studies) & trials["outcome"].isin([Outcome.COMPLETE, Outcome.DIVERGED])]
    ended = ended.drop_duplicates([*KEYS, "seed"])
    complete = ended["outcome"] == Outcome.COMPLETE.value
    return ended.assign(**{name: ended[name].where(complete, GUESSING) for name in (RANK_BY, "test_accuracy")})


def _printed(published: pd.DataFrame, studies: Sequence[str]) -> pd.DataFrame:
    return published[published["study"].isin(studies) & (published["metric"] == "accuracy")]


Sides = tuple[list[np.ndarray], list[np.ndarray]]  # both sides of a comparison: the values by stratum


def _matched(
    rows: pd.DataFrame, value: str, first: Mapping[str, Any], second: Mapping[str, Any], over: Sequence[str] = ()
) -> Sides:
    """The values of both sides by stratum: the combinations of `over` that both sides have."""
    sides = []
    for condition in (first, second):
        side = rows[np.isfinite(rows[value])]
        for name, wanted in condition.items():
            side = side[side[name].eq(wanted).fillna(False).astype(bool)]
        strata = side.groupby(list(over), sort=False) if over else [((), side)]
        sides.append({key: group[value].to_numpy(dtype=float) for key, group in strata if len(group)})
    shared = [key for key in sides[0] if key in sides[1]]
    return [sides[0][key] for key in shared], [sides[1][key] for key in shared]


def _comparison(
    measure: str,
    first: str,
    second: str,
    ours: Sides,
    theirs: Sides = ([], []),
    *,
    over: Sequence[str] = (),
    threshold: float = 0.0,
) -> dict[str, Any]:
    """A row of `comparisons`."""
    found = stats.mean_difference(*ours, null=threshold) if ours[0] else stats.Difference(*[np.nan] * 4)
    return {
        "measure": measure,
        "first": first,
        "second": second,
        "over": ", ".join(over),
        "first_runs": sum(map(len, ours[0])),
        "second_runs": sum(map(len, ours[1])),
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "threshold": threshold,
        "p": found.p,
        "published": float(np.mean([a.mean() - b.mean() for a, b in zip(*theirs, strict=True)] or [np.nan])),
    }


def _named(condition: Mapping[str, Any]) -> str:
    """'gru relu', 'dropout 0.1'"""
    return " ".join(
        str(value) if isinstance(value, str | None) else f"{heading(name)} {cell(name, value)}"
        for name, value in condition.items()
    )


def _stability(
    trials: pd.DataFrame, published: pd.DataFrame, studies: Sequence[str], first: str, second: str
) -> dict[str, Any]:
    """Compare the spreads of test accuracy over seeds and sizes: mean deviation from the median (Brown and Forsythe
    1974)."""

    def deviations(rows: pd.DataFrame, value: str) -> Sides:
        sides = _matched(rows, value, {"activation": first}, {"activation": second})
        a, b = ([abs(numbers - np.median(numbers)) for numbers in side] for side in sides)
        return a, b

    ours = deviations(_ended(trials, studies), "test_accuracy")
    if any(len(numbers) < MIN_SPREAD for side in ours for numbers in side):
        ours = [], []
    theirs = deviations(_printed(published, studies), "test")
    return _comparison("spread of test accuracy", first, second, ours, theirs, threshold=UNSTABLE)


def _vanishing(norms: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """For every layer below the output, the powers of ten by which gradients with relu gates are smaller."""
    for layer in [name for name in norms["layer"].unique() if not name.startswith("output")] or [""]:
        # Clipped, since the logarithm of a zero gradient is infinite.
        powers = np.log10(norms[norms["layer"] == layer].set_index(["gate_activation", "run_id"])["value"].clip(1e-12))
        means = powers.groupby(level=[0, 1]).mean().reset_index()
        measure = f"log10 gradient norm of {layer}" if layer else "log10 gradient norm"
        sides = _matched(means, "value", {"gate_activation": "sigmoid"}, {"gate_activation": "relu"})
        yield _comparison(measure, "sigmoid", "relu", sides, threshold=-np.log10(VANISHED))


def conclusions(compared: pd.DataFrame) -> pd.DataFrame:
    """Whether each conclusion holds, by its comparisons (see RULE), and which comparison decides."""
    rows = []
    for (no, text), group in compared.groupby(["no", "conclusion"]):
        shown = group["low"] > group["threshold"]
        reversed_ = (group["difference"] < group["threshold"]) & (group["holm_p"] < 1 - stats.CONFIDENCE)
        if group["difference"].isna().all():
            verdict, deciding = NOT_RUN, group.head(1)
        elif reversed_.any():
            verdict, deciding = FAILS, group[reversed_].sort_values("holm_p").head(1)
        elif shown.all():
            verdict, deciding = HOLDS, group.sort_values("low").head(1)
        else:
            verdict, deciding = OPEN, group[~shown].sort_values("low", na_position="first").head(1)
        rows.append([no, text, verdict, *map(_in_words, deciding.to_dict("records"))])
    return pd.DataFrame(rows, columns=["no", "conclusion", "here", "decided_by"])


RULE = (
    "A conclusion holds if all of its comparisons do: if the 95 % interval of the difference is above the "
    "threshold. It does not hold if a difference is shown to be below it (p < 0.05, Holm-corrected within the "
    "conclusion). Otherwise it cannot be told. Intervals: Welch's over seeds, averaged over what both sides share; "
    "for single runs, Student's over the differences, one per size."
)


def _in_words(row: Mapping[Any, Any]) -> str:
    """'relu - tanh: +0.012 (-0.004 to +0.028)'"""
    if np.isnan(row["difference"]):
        return f"{row['first']} - {row['second']}: not run"
    between = "" if np.isnan(row["low"]) else f" ({row['low']:+.3f} to {row['high']:+.3f})"
    return f"{row['first']} - {row['second']}: {row['difference']:+.3f}{between}"


# --- As tables


def conclusion_table(compared: pd.DataFrame) -> Table:
    return Table(
        conclusions(compared),
        groups=[["no", "conclusion", "here", "decided_by"]],
        key="no",
        title="The report's conclusions",
        notes=[RULE],
    )


def comparison_table(compared: pd.DataFrame) -> Table:
    return Table(
        compared.assign(comparison=compared["first"] + " - " + compared["second"]),
        groups=[
            ["no", "comparison", "first_runs", "second_runs", "difference", "low", "high", "threshold", "holm_p"],
            ["published"],
            ["measure", "over"],
        ],
        key=["no", "comparison"],
        title="The comparisons behind the conclusions",
        notes=[
            "The difference is first minus second, matched by whatever else varies; published is the "
            "same difference in the report, without runs that did not train.",
            f"Spread: the mean absolute deviation from the median over seeds and sizes (Brown and Forsythe), with runs "
            f"that did not train; more than {UNSTABLE} above another's is instability.",
            f"Gradients vanish if their norm, as a geometric mean over epochs, is less than {VANISHED:g} of the norm "
            f"with sigmoid gates.",
        ],
    )
