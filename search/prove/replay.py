"""Trains a trial again from its recorded config, seed and data, and compares the numbers of every report."""

from collections.abc import Iterator
from pathlib import Path

from data.base.errors import UserError
from data.base.folding import Fold
from search.base import schema
from search.run.folders import find_searches
from search.run.setting import make_setting
from search.spec.read import load_again, read_spec
from search.spec.spec import Spec
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.provenance import of_worker
from search.track.registry import add_tags
from search.train.config import length_of
from search.train.costs import COSTS
from search.train.device import device_of
from search.train.running import run_trial
from search.train.training import Result

#: Maximum difference between numbers if processor or versions differ.
TOLERANCE = 0.02


def find_trial(run: str, root: Path) -> tuple[Path, Trial]:
    """The trial of an MLflow run id, its first characters (at least six), or SEARCH:TRIAL. Raises UserError."""
    search, colon, name = run.partition(":")
    for folder in reversed(find_searches(search if colon else "", root)):
        try:
            trials = Studies(folder.name, read_spec(folder), folder).trials()
        except UserError:  # not a search; `list` reports such folders
            continue
        for trial in trials:
            if trial.name == name if colon else len(run) >= 6 and (trial.run_id or "").startswith(run):
                return folder, trial
    raise UserError(
        f"no run {run!r} in {root}: give an MLflow run id, at least six of its first characters, or SEARCH:TRIAL "
        "(default-20260101-120000:gru-3)"
    )


def replay(run: str, root: Path, uri: str) -> Iterator[str]:
    """Trains a trial again. Yields a line per report, and finally the verdict, which also becomes a tag of the run.

    The numbers must be equal if processor and versions are equal, and otherwise agree within TOLERANCE; those of a pack
    on a GPU are compared within TOLERANCE, too.
    """
    folder, trial = find_trial(run, root)
    spec = read_spec(folder)
    if not trial.results:
        raise UserError(f"{trial.name} has no report to compare with: its outcome is {trial.outcome}")
    corpus, setting = load_again(spec, "replay"), make_setting(spec, folder)
    if corpus.digest != trial.provenance[schema.DATA_DIGEST]:
        raise UserError(
            f"the texts have changed: {spec.corpus} has the digest {corpus.digest[:12]}, "
            f"{trial.name} was trained on {trial.provenance[schema.DATA_DIGEST][:12]}"
        )
    if trial.fold:
        corpus = load_again(spec, "replay", fold=Fold.of(trial.fold))
    reasons = _reasons_to_differ(spec, trial, of_worker(device_of(setting.gpu)))
    tolerance = TOLERANCE if reasons else 0.0
    if reasons:
        yield f"Equal numbers cannot be expected ({', '.join(reasons)}); compared within {TOLERANCE}."
    worst = 0.0
    different = ""
    per_epoch = length_of(trial.architecture, spec.length).reports_per_epoch
    repeated = run_trial(trial.config, corpus, setting)
    for before, result in zip(trial.results, repeated, strict=False):  # this order stops training in time
        difference, what = _furthest(result, before)
        worst = max(worst, difference)
        epoch = f"{result.step / per_epoch:.4g}"
        yield f"epoch {epoch}/{trial.epochs:.4g}  {'equal' if difference == 0 else f'{what} is {difference:.3g} apart'}"
        if difference > tolerance and not different:
            different = f"different: {what} of epoch {epoch} is {difference:.3g} apart"
    verdict = different or ("equal" if worst == 0 else f"within {tolerance}: {worst:.3g} apart at most")
    yield f"{trial.name}: {verdict}"
    if trial.run_id is not None:
        add_tags(uri, trial.run_id, {schema.REPLAY: verdict})


def _reasons_to_differ(spec: Spec, trial: Trial, now: dict[str, str]) -> list[str]:
    """now: the tags of provenance here. Ignores tags that an older search did not record."""
    before = list(trial.attempts.values()) or [trial.provenance]
    differing = {(key, then[key], now[key]) for then in before for key in now if then.get(key, now[key]) != now[key]}
    reasons = [f"{key} {then} then, {here} now" for key, then, here in sorted(differing)]
    on_a_card = any(then.get(schema.DEVICE, "cpu") != "cpu" for then in before)
    if on_a_card and spec.pack_size(trial.architecture) > 1:  # see `search.train.lockstep`
        reasons.append("trained in a pack then, alone now")
    return reasons


def _furthest(result: Result, before: Result) -> tuple[float, str]:
    """The largest difference between the numbers of two reports, and the name of the number; infinite if only one of
    them diverged."""
    if result.diverged != before.diverged:
        return float("inf"), "divergence"
    pairs = {name: (result.metrics.get(name), value) for name, value in before.metrics.items()}
    pairs |= {f"best {name}": (result.best.get(name), value) for name, value in before.best.items()}
    for name in (schema.EPOCH_SECONDS, *(cost.name for cost in COSTS.values() if cost.timed)):
        pairs.pop(name, None)
    apart = {name: abs(a - b) if a is not None else float("inf") for name, (a, b) in pairs.items()}
    what = max(apart, key=apart.__getitem__)
    return apart[what], what
