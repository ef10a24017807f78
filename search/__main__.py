"""The commands of a search: `python -m search run | resume | list | audit | replay`."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search import console, record

if TYPE_CHECKING:
    from rich.console import Console

    from search.run import SearchResult

app = typer.Typer(
    help="Search for the best architecture of a text-classification task.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, else mlflow.db in the working directory)",
        show_default=False,
    ),
]
SearchName = Annotated[str, typer.Argument(help="an id, a name (its newest search), or latest")]
Root = Annotated[Path, typer.Option("--searches", help="where searches keep their files")]
Address = Annotated[
    str | None,
    typer.Option(help="a running Ray cluster: auto, or its address (default: this machine)", show_default=False),
]


@app.command()
@console.one_line_errors
def run(
    spec: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped spec")] = "default",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="override a key of the spec: epochs=3, space.dropout=0.1"),
    ] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Run a search, show its progress, end with the leaderboard."""
    console.quiet_libraries()
    from search import run as runs
    from search import spec as specs

    validated = specs.read(spec, set_ or [])
    for _ in range(5):
        folder = runs.new_search(validated, searches)
        try:
            result = runs.run(folder, record.tracking_uri(tracking_uri), _console(folder), address)
        except FileExistsError:  # one of another folder has this id: the next second's is free
            runs.discard(folder)
        except BaseException:
            runs.discard(folder)
            raise
        else:
            return _conclude(result, folder, tracking_uri)
    console.fail("five times another search had the same id; try again", status=1)


@app.command()
@console.one_line_errors
def resume(
    search: SearchName = "latest",
    trials: Annotated[int | None, typer.Option(min=1, help="more trials for each architecture than it had")] = None,
    time_budget: Annotated[str | None, typer.Option(help="20m, 1.5h, ...: another time budget")] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Go on with a search that was stopped: finished trials count, running ones go on from their last checkpoint."""
    console.quiet_libraries()
    from search import run as runs

    folder = runs.find_search(search, searches)
    uri = record.tracking_uri(tracking_uri)
    result = runs.resume(folder, uri, _console(folder), address, trials, time_budget)
    _conclude(result, folder, tracking_uri)


@app.command("list")
@console.one_line_errors
def list_(searches: Root = Path("searches")) -> None:
    """The searches of this folder, newest last: trials finished and wanted, and where they are."""
    console.quiet_libraries()
    from search import run as runs

    for line in runs.summaries(searches):
        print(line)


@app.command()
@console.one_line_errors
def audit(
    search: SearchName = "latest",
    repair: Annotated[bool, typer.Option("--repair", help="make MLflow agree with the study")] = False,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Prove that Optuna, MLflow and the checkpoints agree, trial by trial; print what differs."""
    console.quiet_libraries()
    from search import audit as audits
    from search import files
    from search import run as runs

    folder = runs.find_search(search, searches)
    uri = record.tracking_uri(tracking_uri)
    with files.hold(folder):
        if repair:
            files.mend_journal(folder / runs.JOURNAL)
            audits.repair(folder, uri)
        lines = audits.audit(folder, uri)
    for line in lines:
        print(line)
    if lines:
        console.fail(f"{folder.name}: {len(lines)} differences" + ("" if repair else "; --repair mends runs"), status=1)
    print(f"{folder.name}: Optuna, MLflow and the checkpoints agree")


@app.command()
@console.one_line_errors
def replay(
    run: Annotated[str, typer.Argument(help="an MLflow run id, its first characters, or SEARCH:TRIAL")],
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Train a trial again from its record and say whether every epoch's numbers are equal."""
    console.quiet_libraries()
    from search import replay as replays

    line = ""
    for line in replays.replay(run, searches, record.tracking_uri(tracking_uri)):
        print(line, flush=True)
    if "different" in line:
        raise SystemExit(1)


def _console(folder: Path) -> "Console":
    from rich.console import Console

    out = Console(soft_wrap=True)
    out.print(f"Search [bold]{folder.name}[/bold]", highlight=False)
    return out


def _conclude(result: "SearchResult", folder: Path, tracking_uri: str | None) -> None:
    """The leaderboard, where everything is and what to do next; the exit status says whether the search is done."""
    uri = record.tracking_uri(tracking_uri)
    # A process of its own: the analysis reads runs, and the search does not depend on it.
    sys.stdout.flush()
    subprocess.run(
        [sys.executable, "-m", "analysis", "leaderboard", result.search],
        env=os.environ | {"MLFLOW_TRACKING_URI": uri},  # not an argument, which every user of the machine could read
        check=False,
    )
    root = "" if folder.parent == Path("searches") else f" --searches {shlex.quote(str(folder.parent))}"
    option = "" if tracking_uri is None else f" --tracking-uri {shlex.quote(record.without_password(tracking_uri))}"
    shown = record.without_password(uri)
    python = console.python()
    print(f"\nSearch       {result.search}")
    print(f"Folder       {folder.absolute()}")
    ui = f"{python} -m mlflow ui --backend-store-uri {shlex.quote(shown)}"
    print(f"MLflow UI    {shown if shown.startswith('http') else ui}")
    print(f"Leaderboard  {python} -m analysis leaderboard {result.search}{option}")
    print(f"Resume       {python} -m search resume {result.search}{root}{option}")
    if result.outcome is record.Outcome.INTERRUPTED:
        console.fail(f"stopped with {result.num_owed} trials to go; the resume command above goes on", status=1)
    if result.outcome is record.Outcome.FAILED:
        console.fail("no valid trial: every one diverged or failed; the leaderboard says why", status=1)


if __name__ == "__main__":
    app()
