"""Which trial a user means, and the best of a search: as trials whose models can be read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.base import runs
from analysis.base.runs import Search
from analysis.boards import leaderboard
from data.base.errors import UserError, did_you_mean
from search.base import record
from search.serve.trained import TrainedTrial, best

MIN_RUN_ID = 6  # of its first characters


def find(uri: str, name: str) -> TrainedTrial:
    """The trial of an MLflow run id or its first characters, of SEARCH:TRIAL, the best of SEARCH:ARCHITECTURE or of
    SEARCH. Raises UserError when there is none, or several."""
    if re.fullmatch(rf"[0-9a-f]{{{MIN_RUN_ID},32}}", name):
        found = _by_run(uri, name)
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{name} is the beginning of {len(found)} runs: give more of it")
    search_name, colon, wanted = name.partition(":")
    search = runs.find_search(uri, search_name)
    trials = read(uri, search)
    if not colon:
        return best(trials, metric(search))
    of_architecture = [trial for trial in trials if trial.architecture == wanted]
    if of_architecture:
        return best(of_architecture, metric(search))
    own = {trial.name: trial for trial in trials if trial.search == search.id}
    if wanted not in own:
        known = dict.fromkeys(trial.architecture for trial in trials)
        raise UserError(f"{search.id} has no trial or architecture {wanted!r}{did_you_mean(wanted, known)}")
    return own[wanted]


def best_of_each(uri: str, search: Search) -> list[TrainedTrial]:
    """The best trial of each architecture, those in front that would be chosen first."""
    left = read(uri, search)
    found: list[TrainedTrial] = []
    while any(trial.is_ranked for trial in left):
        found.append(best(left, metric(search)))
        left = [trial for trial in left if trial.architecture != found[-1].architecture]
    return found


def metric(search: Search) -> str:
    """What its trials are ranked by."""
    return search.metric or leaderboard.RANK_BY


def read(uri: str, search: Search) -> list[TrainedTrial]:
    """The trials of a search and of those that confirm it."""
    return _trained(uri, [each for each in runs.searches(uri) if search.id in (each.id, each.confirms)])


def _by_run(uri: str, start: str) -> list[TrainedTrial]:
    return [trial for trial in _trained(uri, runs.searches(uri)) if (trial.run_id or "").startswith(start)]


def _trained(uri: str, searches: Sequence[Search]) -> list[TrainedTrial]:
    by_id = {search.id: search for search in searches}
    trials = runs.read_trials(uri, *by_id)
    names = runs.hyperparameters(trials)
    whole = trials[trials["trial"].notna() & trials["architecture"].notna()]
    found = []
    for row in whole.to_dict("records"):
        search = by_id[row["search"]]
        found.append(
            TrainedTrial(
                folder=Path(search.tags.get(record.FOLDER, search.id)),
                name=row["trial"],
                architecture=row["architecture"],
                configuration=_given(row["configuration"]),
                hyperparameters={name: _plain(row[name]) for name in names if runs.present(row[name])},
                outcome=row["outcome"],
                score=_given(row[metric(search)]),
                num_parameters=_given(row["num_parameters"]),
                data_digest=search.tags.get(record.DATA_DIGEST),
                run_id=row["run_id"],
            )
        )
    return found


def _given(value: Any) -> Any:
    return None if pd.isna(value) else value


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
