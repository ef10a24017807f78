"""The command that follows a running search: `bakeoff watch`, or `python -m analysis watch`."""

import time
from typing import Annotated

import typer

from bakeoff.explaining import app
from bakeoff.options import RankBy, SearchName, TrackingUri, uri_of
from search.base import console, schema


@app.command()
@console.command
def watch(
    search: SearchName = "latest",
    every: Annotated[float, typer.Option(min=0.5, help="seconds between updates")] = 5.0,
    rank_by: RankBy = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show the progress of a search until it ends, from any machine that reaches its MLflow. Ctrl-C stops watching.

    A search whose driver was killed still looks as if it were running: `search audit` tells. Without a terminal, the
    progress is printed once.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from analysis.base import runs, tables
    from analysis.boards import leaderboard, live

    uri, terminal = uri_of(tracking_uri, search), Console(highlight=False)
    paper = Console(highlight=False, width=terminal.width)

    def look(name: str) -> tuple[runs.Search, str]:
        found = runs.find_search(uri, name)
        table = live.live_table(uri, found, rank_by or leaderboard.common_metric([found]))
        with paper.capture() as shown:
            tables.show(table, paper)
        return found, shown.get()

    found, text = look(search)
    if not terminal.is_terminal:
        print(text, end="")
        return
    with Live(Text(text), console=terminal, auto_refresh=False) as shown:
        while found.outcome == schema.Outcome.RUNNING.value:
            time.sleep(every)
            found, text = look(found.id)
            shown.update(Text(text), refresh=True)
