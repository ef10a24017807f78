"""The definition of a figure: its data, its drawing, and its texts on the report page."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
class PlotData:
    """Everything that figures show of a search.

    trials: the searched trials. baselines: the trials of baselines. series: the histories that plots need, from
    `runs.in_epochs`. mattered: from `importance.what_mattered`. memory: from `memory_curves.read`. confusions: of the
    best trials, by name. inspection: of the texts. reliability: from `runs.read_reliability` of the best trials, with
    their `architecture`. sizes: from `data_size.read`. budget: from `budget.read`, None if unknown; then `no_budget`
    says why. variances: from `variance.variances`. paths: from `why.tables`. objectives: of a multi-objective search,
    if its trials are ranked by its metric.
    """

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

    @cached_property
    def everything(self) -> pd.DataFrame:
        """All trials, in the order of their starts."""
        return pd.concat([self.trials, self.baselines]).sort_index() if len(self.baselines) else self.trials

    @cached_property
    def winners(self) -> pd.DataFrame:
        """The best trial of each architecture, the best first: architecture, trial, run_id, best_epoch."""
        best = by_architecture(self.trials, self.rank_by).dropna(subset="trial")[["architecture", "trial", "run_id"]]
        return best.merge(self.trials[["run_id", "best_epoch"]], on="run_id")

    @cached_property
    def best_baseline(self) -> pd.DataFrame:
        """The best trial of all baselines, as a frame of one row; empty without baselines."""
        best = by_architecture(self.baselines, self.rank_by).dropna(subset="trial")["run_id"].head(1)
        return self.baselines[self.baselines["run_id"].isin(best)]

    @property
    def on_test(self) -> str:
        """The main test metric: the ranking metric if it is not a column of every table, else 'test_accuracy' if the
        task measures it."""
        ranking, known = split_metric(self.rank_by)[1], tested(self.trials, self.rank_by)
        test_name = f"test_{ranking.name}"
        return test_name if test_name in known and not ranking.column else next(iter(known), "test_loss")


def no_series(rank_by: str, recorded: Iterable[str]) -> list[str]:
    """The series of a figure that needs none."""
    return []


@dataclass(frozen=True)
class Plot:
    """A figure of the report.

    caption: how to read it. nothing: why it is left out if there is nothing to show. data: the frame to draw, empty if
    there is nothing to show. draw: draws that frame. series: the names of the series that it needs, given the ranking
    metric and the names of all recorded metrics. of_winners: whether it shows only the best trial of each architecture;
    the page places it beside them. of_texts: whether it shows the texts; the page places it in their section.
    """

    name: str
    title: str
    caption: str
    nothing: str
    data: Callable[[PlotData], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Looks], Figure]
    series: Callable[[str, Iterable[str]], list[str]] = no_series
    of_winners: bool = False
    of_texts: bool = False

    def render(self, found: PlotData) -> dict[str, bytes]:
        """The figure as svg and png, and its data as csv; empty if there is nothing to show."""
        frame = self.data(found)
        if frame.empty:
            return {}
        with matplotlib.rc_context(STYLE), warnings.catch_warnings(), no_garbage_collection():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # names in a script that the font lacks
            return encode(self.draw(frame, looks(found.trials["architecture"].dropna())), frame, ("svg", "png"))
