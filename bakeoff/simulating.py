"""The command that simulates searches: `bakeoff simulate`, or `python -m search simulate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.inspecting import app
from bakeoff.options import Format, Out, Set, SpecName
from data.base.errors import UserError
from search.base import console

if TYPE_CHECKING:
    import pandas as pd

    from analysis.base.table import Table

STOPPING = ["epochs_saved", "stop_regret", "stop_within_0.2", "mean_regret", "mean_within_0.2"]
OF_STOPPING = (
    "Compared with the same searches under stop: none: the share of epochs saved, and how much worse the chosen trial "
    "is on validation (stop regret) and by the mean of validation and test over the table's seeds (mean regret), each "
    "with the share of searches in which the regret is at most 0.2 points."
)


@app.command()
@console.command
def simulate(
    table: Annotated[Path, typer.Argument(help="a table of recorded runs, such as benchmarks/table/imdb-5000.parquet")],
    spec: SpecName = "default",
    set_: Set = None,
    vary: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=V1,V2", help="compare values of a key: pruner=asha,hyperband,median", show_default=False
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=2, help="number of simulated searches")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="number of concurrent trials")] = 2,
    format_: Format = None,
    out: Out = None,
) -> None:
    """Simulate searches on a table of recorded runs: what pruners, stopping rules and samplers would find and cost.

    Read from the spec: architectures, trials, sampler, pruner, patience, metric and seed. The space, the texts and the
    number of epochs are those of the table. sampler: random draws recorded runs; other samplers propose to a surrogate
    model fitted to them.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    from search.simulate import table as recorded
    from search.spec.asked import spec_for

    key, _, values = (vary or "").partition("=")
    if vary and not (key and values):
        raise UserError(f"--vary takes KEY=V1,V2; got {vary!r}")
    found = recorded.read(table)
    specs = {
        f"{key}: {value}" if vary else spec: spec_for(spec, [*(set_ or []), *([f"{key}={value}"] if vary else [])])
        for value in (values.split(",") if vary else [""])
    }
    from search.simulate import simulate as simulations

    ran, labels = {}, {}
    for name, variant in specs.items():
        ran[name], labels[name] = simulations.searches(variant, found, repeats, workers)
    tables.emit([simulated_table(ran, [found.summary, *dict.fromkeys(labels.values())])], form, out)


def simulated_table(ran: "dict[str, pd.DataFrame]", notes: list[str]) -> "Table":
    """One row per spec. ran: the simulated searches of each spec (see `simulate.outcome`)."""
    import pandas as pd

    from analysis.base.table import Table

    rows, stopped = [], any("stop_regret" in searches for searches in ran.values())
    for name, searches in ran.items():
        lost = 100 * searches["regret"]
        means = searches[["trials", "epochs_share", "core_seconds", "wall_seconds"]].mean()
        scores = searches[[name for name in map(str, searches) if name.startswith(("val_", "test_"))]].mean()
        rows.append(
            {"searched": name, **means, **scores.drop("test_regret")}
            | {
                "regret": lost.mean() / 100,
                "regret_95": lost.quantile(0.95) / 100,
                "within_0.2_points": (lost <= 0.2 + 1e-4).mean(),
                "test_regret": searches["test_regret"].mean(),
                "same_architecture": (searches["chosen"] == searches["full"]).mean(),
            }
            | (_of_stopping(searches) if "stop_regret" in searches else {})
        )
    frame = pd.DataFrame(rows)
    repeats = len(next(iter(ran.values())))
    return Table(
        frame,
        groups=[
            [*frame.columns[:5]],
            [*frame.columns[:1], *(name for name in frame.columns[5:] if name not in STOPPING)],
            *([[frame.columns[0], *STOPPING]] if stopped else []),
        ],
        key="searched",
        title=f"{repeats} simulated searches each",
        notes=[
            *notes,
            "Means over searches. Regret: how much worse the chosen trial is on validation than the best of all trials "
            "when each is trained to its end; regret 95: its 95 % quantile over searches.",
            *([OF_STOPPING] if stopped else []),
            "The simulated searches share the rows of the table, so they vary less than real searches do.",
        ],
    )


def _of_stopping(searches: "pd.DataFrame") -> dict[str, float]:
    """The columns of `STOPPING`."""
    lost = {name: 100 * searches[name].astype("float64") for name in ("stop_regret", "stop_regret_mean")}
    shares = [(points.dropna() <= 0.2 + 1e-4).mean() for points in lost.values()]
    means = [points.mean() / 100 for points in lost.values()]
    values = [searches["epochs_saved"].mean(), means[0], shares[0], means[1], shares[1]]
    return dict(zip(STOPPING, values, strict=True))
