"""The commands of a search: `python -m search --help`."""

import importlib
import os
import shlex
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.base import console, record

if TYPE_CHECKING:
    from rich.console import Console

    from search.run.run import SearchResult
    from search.spec.spec import Spec

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
Report = Annotated[
    bool,
    typer.Option("--report/--no-report", envvar="BAKEOFF_REPORT", help="whether to write the report page at the end"),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key of the spec: epochs=3, space.dropout=0.1"),
]


@app.command()
@console.one_line_errors
def run(
    spec: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped spec")] = "default",
    set_: Set = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
) -> None:
    """Run a search, show its progress, end with the leaderboard and the report page."""
    console.quiet_libraries()
    from search.spec import read as specs

    _start(specs.read(spec, set_ or []), address, tracking_uri, searches, report)


@app.command()
@console.one_line_errors
def confirm(
    search: SearchName = "latest",
    top: Annotated[int, typer.Option(min=1, help="how many configurations of each architecture")] = 3,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="how often each is trained")] = 5,
    architecture: Annotated[
        list[str] | None, typer.Option(help="only this one; may be given several times", show_default=False)
    ] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
) -> None:
    """Train the best of each architecture again on fresh seeds; then the leaderboard ranks them by their means."""
    console.quiet_libraries()
    from search.run import confirm as confirms
    from search.run import folders

    folder = folders.find_search(search, searches)
    _start(confirms.confirmation(folder, top, seeds, architecture or []), address, tracking_uri, searches, report)


@app.command()
@console.one_line_errors
def resume(
    search: SearchName = "latest",
    trials: Annotated[int | None, typer.Option(min=1, help="more trials for each architecture than it had")] = None,
    time_budget: Annotated[str | None, typer.Option(help="20m, 1.5h, ...: another time budget")] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
) -> None:
    """Go on with a search that was stopped: finished trials count, running ones go on from their last checkpoint."""
    console.quiet_libraries()
    from search.run import folders, run

    folder = folders.find_search(search, searches)
    uri = record.tracking_uri(tracking_uri)
    result = run.resume(folder, uri, _console(folder), address, trials, time_budget)
    _conclude(result, folder, tracking_uri, report)


@app.command()
@console.one_line_errors
def check(
    spec: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped spec")] = "default",
    set_: Set = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Is the cluster fit for this spec? Nodes, versions, room for trials, checkpoints, corpus, MLflow: a line each."""
    console.quiet_libraries()
    from search.cluster import check, connection
    from search.spec import read as specs

    validated = specs.read(spec, set_ or [])
    failed = False
    with connection.connection(address):
        for line in check.check(validated, address, searches, record.tracking_uri(tracking_uri)):
            print(line, flush=True)
            failed |= line.status == "fail"
    raise SystemExit(int(failed))


@app.command()
@console.one_line_errors
def plan(
    spec: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped spec")] = "default",
    set_: Set = None,
    address: Address = None,
) -> None:
    """What a search will take, from a few steps of each architecture: hours, disk, rows and money."""
    console.quiet_libraries()
    import tempfile
    from functools import partial

    from search.cluster import connection
    from search.run import plan as plans
    from search.run import run
    from search.spec import read as specs

    validated = specs.read(spec, set_ or [])
    corpus = specs.load_corpus(validated)
    with tempfile.TemporaryDirectory() as folder, connection.connection(address):
        solve = partial(run.solve, validated, corpus)
        prediction, costs = plans.plan(validated, address, corpus, solve, Path(folder))
    for line in plans.lines(validated, prediction, costs):
        print(line)


@app.command()
@console.one_line_errors
def submit(
    spec: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped spec")] = "default",
    set_: Set = None,
    address: Annotated[str, typer.Option(help="of the cluster's dashboard")] = "http://127.0.0.1:8265",
    searches: Annotated[str, typer.Option(help="where the head keeps searches")] = "~/results/searches",
    wait: Annotated[bool, typer.Option(help="show the search's output until it ends")] = True,
) -> None:
    """Start a search on a cluster from this machine; files that the spec names have to be on the cluster."""
    console.quiet_libraries()
    from search.cluster import submit as submits
    from search.spec import read as specs

    raise SystemExit(submits.submit(specs.read(spec, set_ or [], files=False), address, searches, wait))


@app.command("list")
@console.one_line_errors
def list_(searches: Root = Path("searches")) -> None:
    """The searches of this folder, newest last: trials finished and wanted, and where they are."""
    console.quiet_libraries()
    from search.run import state

    for line in state.summaries(searches):
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
    from search.base import files
    from search.prove import audit as audits
    from search.run import folders
    from search.study.storage import JOURNAL

    folder = folders.find_search(search, searches)
    uri = record.tracking_uri(tracking_uri)
    with files.hold(folder):
        if repair:
            files.mend_journal(folder / JOURNAL)
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
    from search.prove import replay as replays

    line = ""
    for line in replays.replay(run, searches, record.tracking_uri(tracking_uri)):
        print(line, flush=True)
    if "different" in line:
        raise SystemExit(1)


@app.command()
@console.one_line_errors
def export(
    search: SearchName = "latest",
    architecture: Annotated[
        str | None, typer.Option(help="the best of this one (default: the best of all)", show_default=False)
    ] = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Put the best model (the best confirmed one, if there are any) into MLflow's registry: text in, labels out."""
    console.quiet_libraries()
    from search.serve import export as exports

    uri = record.tracking_uri(tracking_uri)
    exported = exports.export(search, searches, uri, architecture)
    trial, shown = exported.trial, shlex.quote(record.without_password(uri))
    print(f"{trial.name} of {trial.folder.name} is version {exported.version} of the registered model {exported.name}")
    print(f"Size     {exported.num_bytes / 1e6:.1f} MB")
    print(f"Load     mlflow.pyfunc.load_model({exported.uri!r})")
    print(f"Predict  {console.python()} -m analysis predict {exported.uri} 'this movie is great'")
    print(f"Serve    MLFLOW_TRACKING_URI={shown} mlflow models serve -m {exported.uri} --env-manager local --port 5001")


def _start(spec: "Spec", address: str | None, tracking_uri: str | None, searches: Path, report: bool) -> None:
    """Run a new search to its end."""
    from search.run import folders, run

    for _ in range(5):
        folder = folders.new_search(spec, searches)
        try:
            result = run.run(folder, record.tracking_uri(tracking_uri), _console(folder), address)
        except FileExistsError:  # one of another folder has this id: the next second's is free
            folders.discard(folder)
        except BaseException:
            folders.discard(folder)
            raise
        else:
            return _conclude(result, folder, tracking_uri, report)
    console.fail("five times another search had the same id; try again", status=1)


def _console(folder: Path) -> "Console":
    from rich.console import Console

    out = Console(soft_wrap=True)
    out.print(f"Search [bold]{folder.name}[/bold]", highlight=False)
    return out


def _analyse(uri: str, *arguments: str) -> bool:
    """Run a command of the analysis; it reads runs, and the search does not depend on it.

    In this process, which has imported the same libraries: another takes three seconds to start.
    """
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        importlib.import_module("analysis.__main__").app(arguments)
    except SystemExit as done:
        return not done.code
    except Exception:
        traceback.print_exc()
    return False


def _report(result: "SearchResult", folder: Path, uri: str) -> Path | None:
    """Write the report page, that of the confirmed search after a confirmation, and log it to the search's run."""
    from search.run.folders import read_spec
    from search.track import registry as tracking

    search = read_spec(folder).confirms or result.search
    out = folder.parent / search / "report"
    if not _analyse(uri, "report", search, "--out", str(out)):
        return None
    tracking.log_report(uri, search, out)
    return out / "index.html"


def _conclude(result: "SearchResult", folder: Path, tracking_uri: str | None, report: bool) -> None:
    """The leaderboard and the report, where everything is and what to do next; the exit status says whether the search
    is done."""
    uri = record.tracking_uri(tracking_uri)
    _analyse(uri, "leaderboard", result.search)
    page = _report(result, folder, uri) if report else None
    root = "" if folder.parent == Path("searches") else f" --searches {shlex.quote(str(folder.parent))}"
    option = "" if tracking_uri is None else f" --tracking-uri {shlex.quote(record.without_password(tracking_uri))}"
    shown = record.without_password(uri)
    python = console.python()
    print(f"\nSearch       {result.search}")
    print(f"Folder       {folder.absolute()}")
    ui = f"{python} -m mlflow ui --backend-store-uri {shlex.quote(shown)}"
    print(f"MLflow UI    {shown if shown.startswith('http') else ui}")
    print(f"Leaderboard  {python} -m analysis leaderboard {result.search}{option}")
    if page:
        print(f"Report       {page.absolute()}")
    print(f"Resume       {python} -m search resume {result.search}{root}{option}")
    if result.planned:
        print(f"Plan         {result.planned}")
    if result.still_up:
        print(f"Still up     {result.still_up}, and billed if they are a cloud's")
        print("Shut down    ray down cluster.yaml, where it was launched (on machines of your own: ray stop, on each)")
    if result.outcome is record.Outcome.INTERRUPTED:
        console.fail(f"stopped with {result.num_owed} trials to go; the resume command above goes on", status=1)
    if result.outcome is record.Outcome.FAILED:
        console.fail("no valid trial: every one diverged or failed; the leaderboard says why", status=1)


if __name__ == "__main__":
    app()
