"""What a figure is: what it shows of a search, how it is drawn, and how the page introduces it."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from analysis.base.pictures import encode
from analysis.base.reading import no_garbage_collection
from analysis.base.runs import tidy
from analysis.base.table import Table
from analysis.boards.leaderboard import RANK_BY, by_architecture, tested
from analysis.figures.style import STYLE, Looks, looks
from analysis.verdicts.budget import Budget
from analysis.verdicts.confusion_tables import Confusions
from data.inspecting.findings import Inspection
from search.train.metrics import split_metric


@dataclass(frozen=True)
class Found:
    """What is on record of a search. trials: those of what was searched; series: see `runs.in_epochs`, of each Plot's
    `series`; mattered: `importance.what_mattered`'s; memory: `memory.read`'s; confusions: of the best
    trials, by name; baselines: trials of its baselines; inspection: of its texts; reliability:
    `runs.read_reliability`'s of the best, with their `architecture`; sizes: `data_size.read`'s; budget:
    `budget.read`'s, or None, and then `no_budget` says why; variances: `variance.variances`'; paths: `why.tables`';
    objectives: of a search for several, while its trials are ranked by its own metric."""

    trials: pd.DataFrame
    series: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["run_id", "metric", "step", "value"]))
    space: Mapping[str, Any] | None = None
    mattered: pd.DataFrame = field(default_factory=pd.DataFrame)
    rank_by: str = RANK_BY
    memory: pd.DataFrame = field(default_factory=pd.DataFrame)
    confusions: Confusions = field(default_factory=dict)
    baselines: pd.DataFrame = field(default_factory=lambda: tidy([]))
    inspection: Inspection | None = None
    reliability: pd.DataFrame = field(default_factory=pd.DataFrame)
    sizes: Table | None = None
    budget: Budget | None = None
    no_budget: str = ""
    variances: pd.DataFrame = field(default_factory=pd.DataFrame)
    paths: Mapping[str, Table] = field(default_factory=dict)
    objectives: Sequence[str] = ()

    @property
    def everything(self) -> pd.DataFrame:
        """All trials, in the order of their starts."""
        return pd.concat([self.trials, self.baselines]).sort_index() if len(self.baselines) else self.trials

    @property
    def winners(self) -> pd.DataFrame:
        """The best trial of each architecture that has one: architecture, trial, run_id, best_epoch; the best first."""
        best = by_architecture(self.trials, self.rank_by).dropna(subset="trial")[["architecture", "trial", "run_id"]]
        return best.merge(self.trials[["run_id", "best_epoch"]], on="run_id")

    @property
    def best_baseline(self) -> pd.DataFrame:
        """The best trial of all baselines, a row of the frame; empty where there is none."""
        best = by_architecture(self.baselines, self.rank_by).dropna(subset="trial")["run_id"].head(1)
        return self.baselines[self.baselines["run_id"].isin(best)]

    @property
    def on_test(self) -> str:
        """What is told first of the test set: what trials are ranked by, if it is no column of every table, else
        'test_accuracy', in a task that measures it."""
        ranking, known = split_metric(self.rank_by)[1], tested(self.trials, self.rank_by)
        own = f"test_{ranking.name}"
        return own if own in known and not ranking.column else next(iter(known), "test_loss")


def no_series(rank_by: str, recorded: Iterable[str]) -> list[str]:
    """Of a figure that shows nothing by epoch."""
    return []


@dataclass(frozen=True)
class Plot:
    """A figure of the report. caption: how to read it. nothing: why it is left out where there is nothing to show.

    data: the frame of what is drawn, empty where that is nothing. draw: the figure of that frame. series: the names of
    the series that it needs, given what trials are ranked by and the names of all that are recorded. of_winners: it
    shows only the best trial of each architecture, needs only their series, and stands beside them on the page.
    of_texts: it shows the texts, and stands with what was found out about these.
    """

    name: str
    title: str
    caption: str
    nothing: str
    data: Callable[[Found], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Looks], Figure]
    series: Callable[[str, Iterable[str]], list[str]] = no_series
    of_winners: bool = False
    of_texts: bool = False

    def render(self, found: Found) -> dict[str, bytes]:
        """The figure as svg, png, and its data as csv; empty where there is nothing to show."""
        frame = self.data(found)
        if frame.empty:
            return {}
        with matplotlib.rc_context(STYLE), warnings.catch_warnings(), no_garbage_collection():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in a script that the font lacks
            return encode(self.draw(frame, looks(found.trials["architecture"].dropna())), frame, ("svg", "png"))
