"""The compute that a search spent on each architecture, and whether the shares were fair."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.base.baselines import ROLE, searched, shown
from analysis.base.runs import Search, epochs
from analysis.base.table import Table
from analysis.boards.leaderboard import RANK_BY, by_architecture, notes_on_ranking
from data.inspecting.findings import counted
from search.base import schema
from search.base.schema import Outcome
from search.spec.inherited import lines
from search.study.stopping import NO_ROOM

#: Columns of what earlier searches, from which this one started, had spent on an architecture.
_INHERITED = {name: f"inherited_{name}" for name in ("trials", "epochs", "seconds")}
_SHARES = {outcome: f"{outcome.value}_share" for outcome in Outcome}
_TO_BEST = ["trials_to_best", "epochs_to_best", "seconds_to_best"]

#: An architecture was searched less if it got less than this share of the most searched one. Compute is measured in
#: epochs, not seconds: seconds depend on the architecture and on the load of the machine. The bound for epochs is
#: lower, since the number of epochs that a pruner allows varies by luck.
SEARCHED_LESS = {"trials": 0.8, "epochs": 0.5}
_SEARCHED = [Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED]  # other outcomes say nothing about an architecture


def ledger(trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """One row per architecture or baseline, the best first: the compute spent, outcomes, and the compute to its best.

    `<outcome>_share` is a share of its trials. `trials_to_best`, `epochs_to_best` and `seconds_to_best` are the total
    of all trials up to the end of the best one, inclusive.
    """
    best = by_architecture(trials, rank_by)[["architecture", ROLE, "trial", rank_by, "run_id"]]
    rows = []
    for architecture, run_id in zip(best["architecture"], best["run_id"], strict=True):
        group = trials[trials["architecture"] == architecture].sort_values(["end", "number"], kind="stable")
        spent = _spent(group)
        reached = (group["run_id"] == run_id).to_numpy().nonzero()[0]
        to_best = spent.iloc[: reached[0] + 1].sum().tolist() if len(reached) else [None] * len(_TO_BEST)
        shares = {name: (group["outcome"] == outcome.value).mean() for outcome, name in _SHARES.items()}
        rows.append({**spent.sum(), **shares, **dict(zip(_TO_BEST, to_best, strict=True))})
    columns = ["trials", "epochs", "seconds", *_SHARES.values(), *_TO_BEST]
    whole = dict.fromkeys(["trials", "trials_to_best"], "Int64")
    spent = pd.DataFrame(rows, columns=columns, index=best.index).astype(dict.fromkeys(columns, "float64") | whole)
    spent = spent.assign(**{name: epochs(spent[name]) for name in ("epochs", "epochs_to_best")})
    given = [name for name in columns if name not in _TO_BEST]
    return pd.concat([best[["architecture", ROLE]], spent[given], best[["trial", rank_by]], spent[_TO_BEST]], axis=1)


def _spent(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials, epochs and seconds of each trial; zero for a trial that ended before its first report."""
    return pd.DataFrame({"trials": 1, "epochs": trials["epochs_run"], "seconds": trials["seconds"]}).fillna(0)


def stopped(search: Search, trials: pd.DataFrame) -> list[str]:
    """Sentences on the trials that `stop: decided` skipped, and the epochs saved."""
    found: dict[str, dict[str, Any]] = json.loads(search.tags.get(schema.STOPPED, "{}"))
    if not found:
        return []
    parts, saved = [], 0.0
    for name, stop in found.items():
        group = trials[trials["architecture"] == name]
        if stop["why"] == NO_ROOM:
            continue
        saved += (stop["of"] - stop["trials"]) * (
            group["epochs_run"].mean() if group["epochs_run"].notna().any() else 0.0
        )
        parts.append(
            f"{name} {stop['trials']} of {stop['of']} trials ({stop['why']}: a chance of {stop['chance']:.1%})"
        )
    left_out = sum(stop["of"] - stop["trials"] for stop in found.values() if stop["why"] != NO_ROOM)
    if not parts:
        return []
    return [
        f"Budgets are unequal by rule (stop: decided): {', '.join(parts)}. "
        f"{counted(left_out, 'trial was', 'trials were')} skipped, about {counted(round(saved), 'epoch')} at the mean "
        "of the trials that ran."
    ]


def refused(search: Search, trials: pd.DataFrame) -> list[str]:
    """Sentences on the configurations refused by the limits of a search, and architectures short of trials for it."""
    found: dict[str, dict[str, int]] = json.loads(search.tags.get(schema.REFUSED, "{}"))
    sentences = []
    if found:
        parts = [f"{name} {_counted(counts)}" for name, counts in found.items()]
        sentences.append(f"Configurations over a size limit, which were replaced by others: {', '.join(parts)}.")
    if over := int((trials["outcome"] == Outcome.REFUSED.value).sum()):
        sentences.append(f"Over a limit at the first report, and not ranked: {over} trial{'s' * (over > 1)}.")
    for name, stop in json.loads(search.tags.get(schema.STOPPED, "{}")).items():
        if stop["why"] == NO_ROOM:
            sentences.append(
                f"{name} got {stop['trials']} of {stop['of']} trials: no other configuration is within the limits."
            )
    return sentences


def _counted(counts: dict[str, int]) -> str:
    """'12 (num_parameters)', or '12 (num_parameters 10, model_mb 2)'."""
    parts = [f"{name} {count:,}" if len(counts) > 1 else name for name, count in counts.items()]
    return f"{sum(counts.values()):,} ({', '.join(parts)})"


def inherited(search: Search) -> pd.DataFrame:
    """What the searches from which this one started (`from:`) had spent, by architecture: `inherited_trials`,
    `inherited_epochs` and `inherited_seconds`. Empty if it started from none."""
    rows = [
        {"architecture": each.architecture, **{column: getattr(each, name) for name, column in _INHERITED.items()}}
        for each in (search.spec.inherited if search.spec else ())
    ]
    return pd.DataFrame(rows, columns=["architecture", *_INHERITED.values()]).groupby("architecture").sum()


def on_inherited(search: Search) -> list[str]:
    """Sentences on the searches from which this one started."""
    found = lines(search.spec.inherited) if search.spec else []
    return [*found, "The compute of these searches counts as budget of this one."] if found else []


def searched_less(trials: pd.DataFrame, search: Search | None = None) -> list[str]:
    """A sentence for each architecture that got clearly fewer trials or epochs than another (see SEARCHED_LESS).

    Only complete, pruned and diverged trials count: they say something about the architecture. Epochs are compared in
    units of whole trials, since some learners make only one epoch per trial. Baselines are left out. search: if given,
    its inherited trials count, too.
    """
    trials = searched(trials)
    counts = trials["outcome"].isin(_SEARCHED)
    spent = _spent(trials).where(counts, 0).groupby(trials["architecture"]).sum()
    if search is not None:
        before = inherited(search).rename(columns={column: name for name, column in _INHERITED.items()})
        spent = spent.add(before.reindex(spent.index), fill_value=0)
    complete = trials["outcome"] == Outcome.COMPLETE.value
    whole = trials["epochs_run"].where(complete).groupby(trials["architecture"]).max()
    compared = spent.assign(epochs=spent["epochs"] / whole.fillna(whole.max()).fillna(1))
    sentences: list[str] = []
    if compared.empty:
        return sentences
    for measure, bound in SEARCHED_LESS.items():
        amounts, most = spent[measure], str(compared[measure].idxmax())
        for name in compared.index[compared[measure] < bound * compared[measure].max()]:
            sentences.append(
                f"Warning: {name} was searched less: {amounts[name]:.0f} {measure}, {amounts[most]:.0f} for "
                f"{most} (less than {bound:.0%})."
            )
    return sentences


def ledger_table(search: Search, trials: pd.DataFrame, rank_by: str = RANK_BY) -> Table:
    """The table of `ledger`, with its notes."""
    table = ledger(trials, rank_by)
    occurring = [name for name in _SHARES.values() if table[name].any()]
    before = inherited(search).reindex(table["architecture"]).reset_index(drop=True)
    earlier = list(_INHERITED.values()) if before.notna().any(axis=None) else []
    table = table.join(before.fillna(0)[earlier])
    return Table(
        table,
        groups=[
            ["architecture", *shown(table), "trials", "epochs", "seconds", *earlier, *occurring],
            ["trial", rank_by, *_TO_BEST],
        ],
        key=["architecture", *shown(table)],
        title=f"{search.id}: the compute spent on each architecture{' and baseline' * bool(shown(table))}"
        if len(trials)
        else f"{search.id} has no trials yet.",
        notes=[
            *on_inherited(search),
            *stopped(search, trials),
            *refused(search, trials),
            *_notes(trials, search),
            *predicted(search),
            *notes_on_ranking([search], rank_by),
        ],
    )


def predicted(search: Search) -> list[str]:
    """A sentence that compares a search with its plan, if it had one and has ended."""
    names = {"wall_seconds": "seconds of wall time", "trial_seconds": "seconds of its trials"}
    parts = []
    for key, name in names.items():
        planned, took = (search.tags.get(prefix + key) for prefix in (schema.PLANNED_PREFIX, schema.TOOK_PREFIX))
        if planned and took:
            off = float(took) / float(planned) - 1
            parts.append(f"{float(planned):,.0f} {name} predicted, {float(took):,.0f} taken ({off:+.0%})")
    return [f"The plan: {'; '.join(parts)}."] if parts else []


def _notes(trials: pd.DataFrame, search: Search) -> Iterable[str]:
    rule = " or ".join(f"less than {bound:.0%} of the {measure}" for measure, bound in SEARCHED_LESS.items())
    if searched(trials)["architecture"].nunique() > 1:
        yield from searched_less(trials, search) or [f"No architecture had {rule} of the most searched one."]
    yield "To best: the total of all trials up to the end of the best one. Seconds are those of the epochs."
