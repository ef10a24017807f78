"""Would more labels help? The test scores of the best model and baseline by number of training texts."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import runs, stats
from analysis.base.power_law import Gain, gain_of_doubling
from analysis.base.runs import Search
from analysis.base.table import Table, heading
from analysis.boards.confirmation import same_data
from data.base.errors import UserError
from search.base import schema
from search.base.schema import Outcome
from search.train.metrics import split_metric

#: The gain, in points of 100, from which more labels are said to help.
WORTH = 0.5

NOTES = (
    "The texts are the first of each class; vocabulary, validation set and test set are always whole.",
    "Fewer texts with the same number of epochs mean fewer iterations, which may explain part of a lower score.",
    "Low to high: the 95 % interval of the mean over seeds (Student's t); it does not cover the choice of the labelled "
    "texts. A baseline is trained once.",
)


def read(uri: str, search: Search) -> Table:
    """The table of the newest `train-sizes` search for a search, or of the search itself if it is one.

    Raises UserError when there is none.
    """
    found = find(runs.searches(uri), search)
    if found is None:
        raise UserError(
            f"no model of {search.id} was trained on fewer texts yet; run: python -m search train-sizes {search.id}"
        )
    return data_size_table(found, runs.read_trials(uri, found.id))


def find(known: Sequence[Search], search: Search) -> Search | None:
    """The search itself if it is a `train-sizes` search, else the newest such search for it on the same data."""
    if schema.SIZES_OF in search.tags:
        return search
    of = search.confirms or search.id
    sized = [other for other in known if other.tags.get(schema.SIZES_OF) == of and same_data(search, other)]
    return sized[-1] if sized else None


def curves(trials: pd.DataFrame, num_train: float, metric: str) -> pd.DataFrame:
    """One row per architecture and share of the training texts.

    metric: a test metric, at the best report on validation. `texts` is the rounded number of training texts;
    `<metric>_mean` has the 95 % interval `_low` to `_high` and the deviation `_sd` over `seeds`, NaN for a single seed;
    `lost` models diverged or failed.
    """
    rows = []
    if schema.TRAIN_SHARE in trials:
        groups: Any = trials.groupby(["architecture", schema.ROLE, schema.TRAIN_SHARE], sort=False)
        for (architecture, role, share), group in groups:
            scores = group[metric][group["outcome"] == Outcome.COMPLETE.value].dropna()
            interval = stats.mean_interval(scores) if len(scores) else stats.Estimate(math.nan, math.nan, math.nan)
            rows.append(
                {"architecture": architecture, schema.ROLE: role, "share": share}
                | {"texts": round(share * num_train), f"{metric}_mean": interval.value}
                | {f"{metric}_low": interval.low, f"{metric}_high": interval.high, f"{metric}_sd": scores.std()}
                | {"seeds": len(scores), "lost": int(group["outcome"].isin(["diverged", "failed"]).sum())}
            )
    measured = [f"{metric}_{of}" for of in ("mean", "low", "high", "sd")]
    columns = ["architecture", schema.ROLE, "share", "texts", *measured, "seeds", "lost"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values([schema.ROLE, "share"], ascending=[False, True], kind="stable", ignore_index=True)


def data_size_table(search: Search, trials: pd.DataFrame) -> Table:
    metric = metric_of(search)
    frame = curves(trials, search.metrics.get("num_train", math.nan), metric)
    measured = [f"{metric}_{of}" for of in ("mean", "low", "high")]
    return Table(
        frame,
        groups=[["architecture", schema.ROLE, "texts"], [*measured, "seeds", "lost"]],
        key=["architecture", "texts"],
        title=f"{search.id}: {heading(metric)} by number of training texts",
        notes=[*outlook(frame, metric), *NOTES],
    )


def metric_of(search: Search) -> str:
    """The test version of the search's ranking metric."""
    return f"test_{split_metric(search.metric or runs.RANK_BY)[1].name}"


def outlook(frame: pd.DataFrame, metric: str) -> Iterable[str]:
    """The expected gain from doubling the labels, one line per model, and the basis of the estimate."""
    models = frame.groupby("architecture", sort=False)
    lines = [line for name, group in models if (line := _outlook(str(name), group, metric))]
    yield from lines
    if lines:
        yield (
            "Extrapolated by an inverse power law (Cortes et al. 1994), to at most twice the texts. It assumes labels "
            "of the same kind and models with the same hyperparameters."
        )
    elif len(frame):
        yield "There are too few numbers of texts yet to estimate the gain from more labels."


def _outlook(name: str, group: pd.DataFrame, metric: str) -> str | None:
    known = group.dropna(subset=f"{metric}_mean")
    measure = split_metric(metric)[1]
    sign = 1 if measure.maximize else -1
    best = 0.0 if not measure.maximize else 1.0 if measure.percent else math.inf
    if known.empty or known["share"].max() < 1:
        return None
    means = sign * known[f"{metric}_mean"]
    counts, sds = known["seeds"], known[f"{metric}_sd"].fillna(0.0)
    gain = gain_of_doubling(known["texts"], means, sds, counts, np.random.default_rng(0), best)
    if gain is None:
        return None
    scale, unit = (100, " points") if measure.percent else (1, "")
    value, low, high = (scale * number for number in gain)
    form = ".1f" if measure.percent else ".3g"
    interval = f" (95 % interval {low:{form}} to {high:{form}})" if not math.isnan(low) else ""
    texts = 2 * int(known["texts"].max())
    verdict = f"{_verdict(Gain(value, low, high))}: " if measure.percent else ""
    better = f"{'more' if measure.maximize else 'less'} {heading(metric)}"
    doubled = f"twice the labels ({texts:,} texts) would bring {value:{form}}{unit} {better}"
    return f"{name}: {verdict}{doubled}{interval}."


def _verdict(points: Gain) -> str:
    low, high = (points.value, points.value) if math.isnan(points.low) else (points.low, points.high)
    if low >= WORTH:
        return "more labels would help"
    if high < WORTH:
        return f"more labels would hardly help (less than {WORTH} points)"
    return "more labels may help"
