"""The scores of trials by hyperparameter."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution

from analysis.base.runs import hyperparameters, present
from analysis.base.table import heading
from analysis.boards.comparison import grouped
from analysis.boards.leaderboard import varying
from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, architecture_keys, label, legend, outcome_keys, scaled_axis, scatter, wrapped
from analysis.verdicts.importance import MAX_VALUES
from analysis.verdicts.ranges import distributions
from search.base.schema import Outcome


def data(found: PlotData) -> pd.DataFrame:
    """The scores of trials by the varying hyperparameters of their architecture; missing for diverged trials.

    `scale` is 'linear' or 'log', with the value as `position`, or 'choices', with its place among the choices.
    """
    trials, rank_by = found.trials, found.rank_by
    shown = trials[trials["outcome"].isin([Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED])]
    columns = ["architecture", "trial", "run_id", "outcome", "hyperparameter", "value", "position", "scale"]
    parts = [pd.DataFrame(columns=columns)]
    varying_of = {str(architecture): varying(group) for architecture, group in shown.groupby("architecture")}
    for name in hyperparameters(shown):
        varied = [architecture for architecture, names in varying_of.items() if name in names]
        group = shown[shown["architecture"].isin(varied) & shown[name].map(present).astype(bool)]
        if group.empty:
            continue
        known = (distributions(found.space, architecture) for architecture in varied)
        ranges = [of_architecture[name] for of_architecture in known if name in of_architecture]
        numbers = pd.api.types.is_numeric_dtype(group[name]) and not pd.api.types.is_bool_dtype(group[name])
        if numbers and not (ranges and all(isinstance(one, CategoricalDistribution) for one in ranges)):
            log = any(getattr(one, "log", False) for one in ranges) and group[name].min() > 0
            scale, positions = "log" if log else "linear", group[name].astype("float64").to_list()
        else:
            places = {key: float(place) for place, (key,) in enumerate(grouped(group, [name]))}
            scale, positions = "choices", [places[value] for value in group[name]]
        parts.append(
            group.assign(hyperparameter=name, value=group[name].astype(object), position=positions, scale=scale)[
                columns
            ]
        )
    frame = pd.concat(parts if len(parts) == 1 else parts[1:])
    scores = trials[rank_by].where(np.isfinite(trials[rank_by]) & (trials["outcome"] != Outcome.DIVERGED.value))
    frame = frame.assign(metric=rank_by, score=scores.reindex(frame.index))
    return frame[frame["score"].notna() | (frame["outcome"] == Outcome.DIVERGED.value)].reset_index(drop=True)


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    names = frame["hyperparameter"].unique()
    figure, panels = wrapped(len(names), columns=3, height=2.5, sharey=True)
    architectures = sorted(frame["architecture"].unique())
    for axes, name in zip(panels, names, strict=True):
        points = frame[frame["hyperparameter"] == name]
        # With only a few positions, architectures stand side by side at each.
        places = np.unique(points["position"].astype("float64"))
        few = len(places) <= MAX_VALUES and points["scale"].iloc[0] != "log"
        step = 0.12 * np.diff(places).min() if few and len(places) > 1 else 0.0
        varied = sorted(points["architecture"].unique())
        for place, architecture in enumerate(varied):
            group = points[points["architecture"] == architecture]
            aside = step * (place - (len(varied) - 1) / 2)
            scatter(axes, group["position"] + aside, group["score"], group["outcome"], looks[architecture])
        scaled_axis(axes.xaxis, points)
        axes.set_xlabel(heading(name))
    figure.supylabel(label(frame["metric"].iloc[0]), fontsize="medium")
    legend(figure, [*architecture_keys(architectures, looks), *outcome_keys(frame["outcome"])])
    return figure


PLOT = Plot(
    "score_by_hyperparameter",
    title="Score by hyperparameter",
    caption="One point per trial. Pruned trials were stopped early, so they score lower than they would have. A "
    "sampler tries good values together: correlation with the score need not be causation.",
    nothing="no hyperparameter had more than one value in trials with a result",
    data=data,
    draw=draw,
)
