"""The predictions of a configuration's models for all test texts; over folds, those of all folds together."""

from collections.abc import Mapping

import pandas as pd

from data.base.errors import UserError
from data.base.folding import Fold


def models(repeats: pd.DataFrame) -> list[pd.DataFrame]:
    """The trials of a configuration in groups that cover every test text: a single trial, or one trial per fold of a
    search (and repetition), in the order of the folds. Raises UserError when a fold has no complete trial."""
    alone = repeats["fold"].isna()
    found = [repeats.loc[[index]] for index in repeats.index[alone]]
    for (search, _), trials in repeats[~alone].groupby(["search", "repetition"], dropna=False, sort=False):
        by_fold = {Fold.of(written): index for index, written in trials["fold"].items()}
        for fold in Fold.all(next(iter(by_fold)).count):
            if fold not in by_fold:
                raise UserError(
                    f"{trials['configuration'].iloc[0]} has no result on fold {fold} in {search}: its texts were not "
                    "tested"
                )
        found.append(repeats.loc[[by_fold[fold] for fold in sorted(by_fold)]])
    return found


def said(model: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The predictions of one of the `models` for every test text. predictions: by run id."""
    return pd.concat([predictions[run_id] for run_id in model["run_id"]], ignore_index=True)


def name_of(model: pd.DataFrame) -> str:
    """The name of one of the `models` in messages."""
    first = model.iloc[0]
    return f"{first['trial'] if len(model) == 1 else first['configuration'] + ' over folds'} of {first['search']}"
