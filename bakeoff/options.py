"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from search.base import mlflow_uri, origin

TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, else mlflow.db in the working directory)",
        show_default=False,
    ),
]
SearchName = Annotated[str, typer.Argument(help="an id, a name (its newest search), or latest")]
SearchNames = Annotated[list[str] | None, typer.Argument(help="ids, names (the newest search of each), or latest")]
Root = Annotated[Path, typer.Option("--searches", help="the folder that holds the folders of all searches")]
Address = Annotated[
    str | None,
    typer.Option(help="a running Ray cluster: auto, or its address (default: this machine)", show_default=False),
]
Figure = Annotated[
    Path | None, typer.Option(help="also draw the curves into this PNG, with csv and svg beside", show_default=False)
]
Report = Annotated[
    bool,
    typer.Option("--report/--no-report", envvar="BAKEOFF_REPORT", help="write the report page at the end"),
]
OnFinish = Annotated[
    str | None,
    typer.Option(
        "--on-finish",
        metavar="COMMAND",
        help="shell command to run once when the search has ended, for any outcome, with the result as JSON on its "
        "standard input",
        show_default=False,
    ),
]
SpecName = Annotated[
    str,
    typer.Argument(help="a YAML file, the name of a shipped spec, a file of texts and labels, or the name of a corpus"),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key of the spec: epochs=3, space.dropout=0.1"),
]
Text = Annotated[
    str | None, typer.Option("--text", help="the column of the texts, by name or number", show_default=False)
]
Label = Annotated[
    str | None, typer.Option("--label", help="the column of the labels, by name or number", show_default=False)
]


def columns(text: str | None, label: str | None) -> dict[str, str | int]:
    """The keys of a spec that these options set."""
    given = {"text_column": text, "label_column": label}
    return {key: int(each) if each.isdecimal() else each for key, each in given.items() if each is not None}


def uri_of(given: str | None, *searches: str) -> str:
    """The tracking URI: the given one, else the one that recorded the first of these searches (ids or names) if its
    folder is on this machine, else the default. Raises UserError."""
    folders = origin.folders(searches[0], Path("searches")) if searches else []
    return origin.tracking_uri(folders[-1], given) if folders else mlflow_uri.tracking_uri(given)


RankBy = Annotated[
    str | None, typer.Option(help="a validation metric (default: the metric of the search)", show_default=False)
]
Architecture = Annotated[
    str | None, typer.Option(help="only trials of this architecture or baseline", show_default=False)
]
Prefer = Annotated[
    str | None,
    typer.Option(
        help="with several objectives, the point of the front to take: accuracy (the most accurate), small (the "
        "smallest) or knee (the best compromise)",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="table, csv, json, markdown or latex (default: from the ending of --out, else table)",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="write to this file instead of the terminal", show_default=False)]
