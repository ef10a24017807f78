"""Would more labels help? What the best model and the best baseline reach by how many texts they learned from."""

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
from search.base import record
from search.base.record import Outcome
from search.train.metrics import split_metric

#: From how many points of a score, out of 100, on more labels are said to help.
WORTH = 0.5

NOTES = (
    "Shares of the training texts, of each class the first; vocabulary, validation and test are whole.",
    "A trial on fewer texts makes as many epochs, and so fewer iterations: part of what it lacks may be these.",
    "Low to high: the 95 % interval of the mean over seeds (Student's t), not of which texts were labelled. A baseline "
    "is trained once.",
)


def read(uri: str, search: Search) -> Table:
    """The table of the newest `train-sizes` of a search on the same data, or of that search itself.

    Raises UserError when there is none.
    """
    found = find(runs.searches(uri), search)
    if found is None:
        raise UserError(
            f"no model of {search.id} was trained on fewer texts yet; run: python -m search train-sizes {search.id}"
        )
    return data_size_table(found, runs.read_trials(uri, found.id))


def find(known: Sequence[Search], search: Search) -> Search | None:
    """That search, where it is one; else the newest that trains its best models on fewer of the same texts."""
    if record.SIZES_OF in search.tags:
        return search
    of = search.confirms or search.id
    sized = [each for each in known if each.tags.get(record.SIZES_OF) == of and same_data(search, each)]
    return sized[-1] if sized else None


def curves(trials: pd.DataFrame, num_train: float, metric: str) -> pd.DataFrame:
    """A row for each share of the training texts that a model learned from, by architecture and share.

    metric: of test, in the best report on validation. `texts` are as many as were learned from, to the nearest;
    `mean`, with its 95 % interval `low` to `high` and `sd` over `seeds`, NaN of one; `lost` diverged or failed.
    """
    rows = []
    if record.TRAIN_SHARE in trials:
        groups: Any = trials.groupby(["architecture", record.ROLE, record.TRAIN_SHARE], sort=False)
        for (architecture, role, share), own in groups:
            scores = own[metric][own["outcome"] == Outcome.COMPLETE.value].dropna()
            interval = stats.mean_interval(scores) if len(scores) else stats.Estimate(math.nan, math.nan, math.nan)
            rows.append(
                {"architecture": architecture, record.ROLE: role, "share": share}
                | {"texts": round(share * num_train), f"{metric}_mean": interval.value}
                | {f"{metric}_low": interval.low, f"{metric}_high": interval.high, f"{metric}_sd": scores.std()}
                | {"seeds": len(scores), "lost": int(own["outcome"].isin(["diverged", "failed"]).sum())}
            )
    measured = [f"{metric}_{of}" for of in ("mean", "low", "high", "sd")]
    columns = ["architecture", record.ROLE, "share", "texts", *measured, "seeds", "lost"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values([record.ROLE, "share"], ascending=[False, True], kind="stable", ignore_index=True)


def data_size_table(search: Search, trials: pd.DataFrame) -> Table:
    metric = metric_of(search)
    frame = curves(trials, search.metrics.get("num_train", math.nan), metric)
    measured = [f"{metric}_{of}" for of in ("mean", "low", "high")]
    return Table(
        frame,
        groups=[["architecture", record.ROLE, "texts"], [*measured, "seeds", "lost"]],
        key=["architecture", "texts"],
        title=f"{search.id}: {heading(metric)} by the number of texts that were learned from",
        notes=[*outlook(frame, metric), *NOTES],
    )


def metric_of(search: Search) -> str:
    """What the search ranks by, as it is on test."""
    return f"test_{split_metric(search.metric or runs.RANK_BY)[1].name}"


def outlook(frame: pd.DataFrame, metric: str) -> Iterable[str]:
    """What twice the labels would bring to each model, in a line each, and what that is based on."""
    models = frame.groupby("architecture", sort=False)
    said = [line for name, own in models if (line := _outlook(str(name), own, metric))]
    yield from said
    if said:
        yield (
            "Fitted: an inverse power law (Cortes et al. 1994). It is not drawn further than twice the texts, and "
            "supposes labels of the same kind, and models with the same hyperparameters."
        )
    elif len(frame):
        yield "Too few numbers of texts are done to say what more labels would bring."


def _outlook(name: str, own: pd.DataFrame, metric: str) -> str | None:
    known = own.dropna(subset=f"{metric}_mean")
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
    value, low, high = (scale * each for each in gain)
    number = ".1f" if measure.percent else ".3g"
    interval = f" (95 % interval {low:{number}} to {high:{number}})" if not math.isnan(low) else ""
    texts = 2 * int(known["texts"].max())
    verdict = f"{_verdict(Gain(value, low, high))}: " if measure.percent else ""
    better = f"{'more' if measure.maximize else 'less'} {heading(metric)}"
    doubled = f"twice the labels ({texts:,} texts) would bring {value:{number}}{unit} {better}"
    return f"{name}: {verdict}{doubled}{interval}."


def _verdict(points: Gain) -> str:
    low, high = (points.value, points.value) if math.isnan(points.low) else (points.low, points.high)
    if low >= WORTH:
        return "more labels would help"
    if high < WORTH:
        return f"more labels would hardly help (less than {WORTH} points)"
    return "more labels may help"
