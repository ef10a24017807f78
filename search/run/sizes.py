"""Would more labels help? The best model and the best baseline are trained on fractions of the training texts.

Every trial trains for the same number of epochs, so fewer texts mean fewer iterations. The vocabulary and the
validation and test splits are those of the whole corpus.
"""

import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from data.base.errors import UserError
from search.base import schema
from search.run.confirm import trials_of
from search.spec import read as specs
from search.spec.code import require_unchanged
from search.spec.read import read_spec
from search.spec.spec import Spec
from search.study import ranking
from search.study.study import derive_seed
from search.study.trial import Trial

SUFFIX = "-sizes"
SHARES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1))


def of_sizes(folder: Path, seeds: int) -> tuple[Spec, list[str]]:
    """The spec of a search that trains the best model (on `seeds` fresh seeds) and the best baseline of a search on
    each of SHARES, and lines that say what this will cost.

    Confirmed configurations take precedence. Raises UserError when there is nothing to train again.
    """
    spec, search = read_spec(folder), folder.name
    require_unchanged(spec.code)
    if spec.repeats:
        raise UserError(f"{search} repeats trials of {spec.repeats}; give that search")
    trials = [trial for trial in trials_of(folder, folder.parent) if ranking.is_ranked(trial)]
    spec = read_spec(folder)  # read last, so that custom names are registered as in this spec
    searched = [trial for trial in trials if trial.architecture in spec.architectures]
    baselines = [trial for trial in trials if trial.architecture in spec.baselines]
    if not searched:
        raise UserError(f"{search} has no complete trial to train again; resume it first")
    models = [ranking.best(each, spec.metric, search) for each in (searched, baselines) if each]
    changes = {
        "name": spec.name[: 64 - len(SUFFIX)] + SUFFIX,
        "confirms": None,
        "folds": None,
        "sizes_of": search,
        "architectures": [models[0].architecture],
        "baselines": [trial.architecture for trial in models[1:]],
        "configurations": {
            trial.architecture: {
                f"{_called(trial)} on {share if share < 1 else 'all'}": trial.hyperparameters
                | {schema.TRAIN_SHARE: float(share)}
                for share in SHARES
            }
            for trial in models
        },
        "seeds": seeds,
        "seed": derive_seed(spec.seed, search, time.time_ns()),
        "sampler": "grid",
        "pruner": "none",
        "stop": "none",
        "space": {},
        "match_parameters": None,  # hidden sizes are already solved
        "limits": {},
        "objectives": [],
        "trials": None,
        "time_budget": None,
        "keep_checkpoints": "best",
    }
    return specs.validate(spec.model_dump() | changes, files=False), [*_budget(models, seeds)]


def _called(trial: Trial) -> str:
    """The name of a trial's configuration: a confirmed one is named after the trial that it repeats."""
    return trial.configuration or trial.name


def _budget(models: Sequence[Trial], seeds: int) -> list[str]:
    shares = ", ".join(map(str, SHARES[:-1])) + " and all"
    lines, seconds = [], 0.0
    for trial, each in zip(models, (seeds, 1), strict=False):
        seconds += each * float(sum(SHARES)) * trial.seconds
        lines.append(f"{_called(trial)} on {shares} of the training texts, {each} seed{'s' * (each > 1)} each")
    lines.append(f"About {seconds:,.0f} s of training, if trials are as fast as before")
    return lines
