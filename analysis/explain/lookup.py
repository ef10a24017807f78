"""Finds the trial that a user names, and the best trials of a search."""

import re

from analysis.base import runs
from analysis.base.runs import Search
from data.base.errors import UserError, choose, did_you_mean
from search.study import fronts
from search.study.ranking import best, candidates
from search.study.trial import Trial

MIN_RUN_ID = 6  # the fewest characters of a run id


def find(uri: str, name: str) -> Trial:
    """The trial with this MLflow run id (or the beginning of it), or SEARCH:TRIAL, or the best of SEARCH:ARCHITECTURE
    or SEARCH; for SEARCH, baselines are left out. Raises UserError when there is none, or several."""
    if re.fullmatch(rf"[0-9a-f]{{{MIN_RUN_ID},32}}", name):
        found = _by_run(uri, name)
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{len(found)} runs begin with {name}; give more characters")
    search_name, colon, wanted = name.partition(":")
    search = runs.find_search(uri, search_name)
    if not colon:
        return best(read(uri, search, baselines=False), metric(search), search.id)
    trials = read(uri, search)
    of_architecture = [trial for trial in trials if trial.architecture == wanted]
    if of_architecture:
        return best(of_architecture, metric(search), search.id)
    by_name = {trial.name: trial for trial in trials if trial.search == search.id}
    if wanted not in by_name:
        known = dict.fromkeys(trial.architecture for trial in trials)
        raise UserError(f"{search.id} has no trial or architecture {wanted!r}{did_you_mean(wanted, known)}")
    return by_name[wanted]


def preferred(uri: str, name: str, how: str) -> Trial:
    """The preferred point (see `fronts.prefer`) of the front of SEARCH or SEARCH:ARCHITECTURE, without baselines and
    confirmations. Raises UserError when there is none."""
    search_name, _, architecture = name.partition(":")
    search = runs.find_search(uri, search_name)
    trials = [trial for trial in read(uri, search, baselines=False) if trial.search == search.id]
    if architecture:
        choose("architecture", architecture, dict.fromkeys(trial.architecture for trial in trials))
        trials = [trial for trial in trials if trial.architecture == architecture]
    goals = search.objectives
    return fronts.prefer(how, trials, goals, metric(search), lambda trial: fronts.values(trial, goals))


def best_of_each(uri: str, search: Search) -> list[Trial]:
    """The best trial of every searched architecture, the best first."""
    found: dict[str, Trial] = {}
    for trial in candidates(read(uri, search, baselines=False), metric(search), search.id):
        found.setdefault(trial.architecture, trial)
    return list(found.values())


def metric(search: Search) -> str:
    """The metric that ranks a search's trials."""
    return search.metric or runs.RANK_BY


def read(uri: str, search: Search, *, baselines: bool = True) -> list[Trial]:
    """The trials of a search and its confirmations, with or without baselines."""
    these = [found for found in runs.searches(uri) if search.id in (found.id, found.confirms)]
    return runs.read_records(uri, these, baselines=baselines)


def _by_run(uri: str, start: str) -> list[Trial]:
    return [trial for trial in runs.read_records(uri, runs.searches(uri)) if (trial.run_id or "").startswith(start)]
