"""The commands that run, verify and export searches: `bakeoff run`, or `python -m search run`."""

import contextlib
import shlex
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from bakeoff import api, boards, finishing
from bakeoff.calls import application
from bakeoff.options import (
    Address,
    Label,
    OnFinish,
    Prefer,
    Report,
    Root,
    SearchName,
    Set,
    SpecName,
    Text,
    TrackingUri,
    columns,
)
from data.base import folding
from data.base.errors import UserError
from search.base import console, mlflow_uri, origin, schema, timings
from search.base.timings import Event

app = application("Search for the best architecture of a text-classification task.")


@app.command()
@console.command
def run(
    spec: SpecName = "default",
    set_: Set = None,
    text: Text = None,
    label: Label = None,
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="SEARCH...",
            help="start from the results of earlier searches, by id, name or folder",
            show_default=False,
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    repeat: Annotated[
        int,
        typer.Option(
            min=1, max=api.MOST_REPEATS, help="number of runs, each with the next seed; then see `analysis budget`"
        ),
    ] = 1,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
    timed: Annotated[
        bool, typer.Option("--timings", help="at the end, print when every phase began, on standard error")
    ] = False,
) -> None:
    """Run a search, show its progress, then print the leaderboard and write the report page."""
    from search.spec.asked import spec_for

    if more and not from_:
        raise UserError(f"give one spec, file or corpus; got also {more[0]!r:.80} (earlier searches come after --from)")
    earlier = {"from": [*(from_ or ()), *(more or ())]} if from_ else {}
    validated = spec_for(spec, set_ or [], keys=columns(text, label) | earlier)
    for number, found in enumerate(
        api.repeated(validated, repeat, address, mlflow_uri.tracking_uri(tracking_uri), searches)
    ):
        seed, left = validated.seed + number, repeat - number - 1
        if repeat > 1:
            print(f"{found.id}: {number + 1} of {repeat}, seed {seed}", flush=True)
            if left and not found.complete:
                print(f"The remaining runs were not started; to run them: --set seed={seed + 1} --repeat {left}")
        if left and found.complete and on_finish:  # for the last search, `_conclude` runs it
            finishing.call(on_finish, found.confirmation or found, None)
    if repeat > 1:
        print(f"Budgets      {console.python()} -m analysis budget {found.id}")
    try:
        _conclude(found.confirmation or found, searches, report, on_finish)
    finally:
        timings.note(Event.END)
        if timed:
            from search.run import state

            with contextlib.suppress(UserError):  # the folder was deleted
                state.note_training(found.folder)
            print("\n".join(timings.lines()), file=sys.stderr)


@app.command()
@console.command
def confirm(
    search: SearchName = "latest",
    top: Annotated[
        int | None,
        typer.Option(min=1, help="number of configurations per architecture (default: 3; with --folds 1)"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="seeds per configuration (default: 5; with --folds 1 per fold)"),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=folding.LEAST,
            max=folding.MOST,
            help="cross-validation, for small corpora: every text is in the test set of one fold; the best of every "
            "baseline is trained, too",
            show_default=False,
        ),
    ] = None,
    architecture: Annotated[
        list[str] | None, typer.Option(help="only this architecture; repeat it for several", show_default=False)
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="add a few seeds at a time, where they help most, until every pair of architectures is better or "
            "equal within the margin, or limited by the number of test texts",
        ),
    ] = False,
    margin: Annotated[
        float | None,
        typer.Option(
            help="with --until-decided: architectures that differ by less are equal, in accuracy (default: 0.01)",
            show_default=False,
        ),
    ] = None,
    max_seeds: Annotated[
        int | None,
        typer.Option(help="with --until-decided: most seeds per architecture (default: 15)", show_default=False),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(help="with --until-decided: the total time, such as 20m or 1.5h", show_default=False),
    ] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Train the best configurations again, on fresh seeds or over folds, and rank them by their means."""
    found = _find(search, address, tracking_uri, searches)
    confirmation = found.confirm(
        top=top,
        seeds=seeds,
        folds=folds,
        architectures=architecture or [],
        until_decided=until_decided,
        margin=margin,
        max_seeds=max_seeds,
        time_budget=time_budget,
    )
    if confirmation.result:  # None where nothing had to be trained
        _conclude(confirmation, searches, report, on_finish)


@app.command("train-sizes")
@console.command
def train_sizes(
    search: SearchName = "latest",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="seeds of the best model per number of texts")] = 3,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Train the best model and the best baseline on 1/8, 1/4, 1/2 and all texts, to see if more labels would help."""
    _conclude(_find(search, address, tracking_uri, searches).train_sizes(seeds=seeds), searches, report, on_finish)


@app.command()
@console.command
def ablate(
    search: Annotated[str, typer.Argument(help="SEARCH:ARCHITECTURE")],
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="seeds per configuration")] = 3,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Train the steps from an architecture's default configuration to its best, to see what every change gained."""
    name, _, architecture = search.partition(":")
    found = _find(name, address, tracking_uri, searches)
    _conclude(found.ablate(architecture, seeds=seeds), searches, report, on_finish)


@app.command()
@console.command
def resume(
    search: SearchName = "latest",
    trials: Annotated[int | None, typer.Option(min=1, help="new number of trials per architecture, not fewer")] = None,
    time_budget: Annotated[str | None, typer.Option(help="new time budget, such as 20m or 1.5h")] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Resume a search: finished trials are kept, interrupted ones continue from their last checkpoint."""
    found = _find(search, address, tracking_uri, searches).resume(trials=trials, time_budget=time_budget)
    _conclude(found.confirmation or found, searches, report, on_finish)


@app.command()
@console.command
def check(
    spec: SpecName = "default",
    set_: Set = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Check a cluster for a spec, one line per check: nodes, versions, resources, checkpoints, corpus, MLflow."""
    from search.cluster import check, connection
    from search.spec.asked import spec_for

    validated = spec_for(spec, set_ or [])
    failed = False
    with connection.connection(address):
        for line in check.check(validated, address, searches, mlflow_uri.tracking_uri(tracking_uri)):
            print(line, flush=True)
            failed |= line.status == "fail"
    raise SystemExit(int(failed))


@app.command("check-architecture")
@console.command
def check_architecture(
    architecture: Annotated[str, typer.Argument(help="my_net.py:Transformer, package.module:Name, or one of ours")],
) -> None:
    """Check that an architecture keeps the rules a search relies on, one line per rule, with remedies."""
    import torch

    from models import contract, estimator_contract
    from search.spec.code import find

    torch.set_num_threads(1)  # the models are too small to gain from more
    found, failed = find(architecture), False
    checks = {"network": contract.check, "estimator": estimator_contract.check}
    for rule, problem in checks[found.learner](found):
        print(f"fail  {rule}: {problem}" if problem else f"ok    {rule}", flush=True)
        failed |= problem is not None
    raise SystemExit(int(failed))


@app.command()
@console.command
def plan(
    spec: SpecName = "default",
    set_: Set = None,
    address: Address = None,
) -> None:
    """Estimate the cost of a search from a few steps of every architecture: hours, disk, database rows and money."""
    from functools import partial

    from search.cluster import connection
    from search.run import plan as plans
    from search.run import plan_folds, run
    from search.spec import read as specs
    from search.spec.asked import spec_for

    validated = spec_for(spec, set_ or [])
    corpus = specs.load_corpus(validated, to_train=True)
    validated = specs.fitted(validated, corpus)
    specs.require_folds(validated)
    with tempfile.TemporaryDirectory() as folder, connection.connection(address):
        solve = partial(run.solve, validated, corpus)
        prediction, costs = plans.plan(validated, address, corpus, solve, Path(folder))
    for line in plans.lines(validated, prediction, costs):
        print(line)
    at_once, start = prediction.concurrency, prediction.start_seconds
    if more := plan_folds.predict(validated, corpus, costs, at_once, start):
        for line in plan_folds.lines(more, prediction):
            print(line)


@app.command()
@console.command
def submit(
    spec: SpecName = "default",
    set_: Set = None,
    address: Annotated[str, typer.Option(help="address of the cluster's dashboard")] = "http://127.0.0.1:8265",
    searches: Annotated[str, typer.Option(help="folder for searches on the head node")] = "~/results/searches",
    wait: Annotated[bool, typer.Option(help="show the search's output until it ends")] = True,
) -> None:
    """Submit a search to a cluster. Files that the spec names (texts, vectors) must exist on the cluster."""
    from search.cluster import submit as submits
    from search.spec.asked import spec_for

    raise SystemExit(submits.submit(spec_for(spec, set_ or [], files=False), address, searches, wait))


@app.command("list")
@console.command
def list_(searches: Root = Path("searches")) -> None:
    """List the searches of a folder, newest last: trials finished and wanted, and the folder of every search."""
    from search.run import state

    for line in state.summaries(searches):
        print(line)


@app.command()
@console.command
def audit(
    search: SearchName = "latest",
    repair: Annotated[bool, typer.Option("--repair", help="correct MLflow from the Optuna studies")] = False,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Check trial by trial that Optuna, MLflow and the checkpoints agree; print every difference."""
    from search.base import locking
    from search.prove import audit as audits
    from search.run import folders
    from search.study.storage import JOURNAL

    folder = folders.find_search(search, searches)
    uri = origin.tracking_uri(folder, tracking_uri)
    with locking.hold(folder):
        if repair:
            locking.mend_journal(folder / JOURNAL)
            audits.repair(folder, uri)
        lines = audits.audit(folder, uri)
    for line in lines:
        print(line)
    if lines:
        mended = "" if repair else f"; --repair mends the runs at {mlflow_uri.without_password(uri)}"
        console.fail(f"{folder.name}: {len(lines)} differences{mended}", status=1)
    print(f"{folder.name}: Optuna, MLflow and the checkpoints agree")


@app.command()
@console.command
def replay(
    run: Annotated[str, typer.Argument(help="an MLflow run id, its first characters, or SEARCH:TRIAL")],
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Train a trial again from its record and compare the numbers of every epoch."""
    from search.prove import replay as replays

    line = ""
    folder, _ = replays.find_trial(run, searches)
    for line in replays.replay(run, searches, origin.tracking_uri(folder, tracking_uri)):
        print(line, flush=True)
    if "different" in line:
        raise SystemExit(1)


@app.command()
@console.command
def export(
    search: SearchName = "latest",
    architecture: Annotated[
        str | None,
        typer.Option(
            help="the best model of this architecture or baseline (default: of all architectures)", show_default=False
        ),
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(
            help="instead of one model, the average of at most this many models of any architecture, chosen on "
            "validation",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="name of the registered model (default: from the search and its corpus)", show_default=False),
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option(help="calibrate the probabilities: divide logits by a temperature fitted on validation"),
    ] = True,
    trial: Annotated[
        str | None, typer.Option(help="this trial, such as gru-3, instead of the best", show_default=False)
    ] = None,
    prefer: Prefer = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Register the best model in MLflow (the best confirmed one, if any): text in, labels out."""
    found = _find(search, None, tracking_uri, searches)
    if sum(map(bool, (ensemble, trial, prefer))) > 1:
        raise UserError("give only one of --ensemble, --trial and --prefer")
    exported = found.export(
        architecture, ensemble=ensemble, name=name, calibrated=calibrated, trial=trial, prefer=prefer
    )
    shown = shlex.quote(mlflow_uri.without_password(found.tracking_uri))
    what = f"{exported.trial.name} of {exported.trial.folder.name}"
    if exported.selection:
        print("\n".join(exported.selection.lines()), end="\n\n")
        what = f"The ensemble of {' + '.join(exported.selection.ensemble.members)}"
    print(f"{what} is version {exported.version} of the registered model {exported.name}")
    if exported.stays:
        print(f"The alias latest points to it, best does not: {exported.stays}")
    if better := exported.better:
        print(f"The baseline {better.name} is better on validation; to export it: --architecture {better.architecture}")
    if found_by := exported.calibration:
        print(
            f"Calibrated at temperature {found_by.temperature:.2f}: expected calibration error on test "
            f"{found_by.after:.4f}, {found_by.before:.4f} before"
        )
    if exported.threshold:
        print(f"Threshold: {exported.threshold}")
    print(f"Size     {exported.num_bytes / 1e6:.1f} MB")
    print(f"Load     mlflow.pyfunc.load_model({exported.uri!r})")
    print(f"Predict  {console.python()} -m analysis predict {exported.uri} 'this movie is great'")
    print(f"Serve    MLFLOW_TRACKING_URI={shown} mlflow models serve -m {exported.uri} --env-manager local --port 5001")


def _find(search: str, address: str | None, tracking_uri: str | None, searches: Path) -> api.Search:
    """A search in this folder, else one on the tracking server. Raises UserError when neither has it."""
    from search.run import folders

    if not folders.find_searches(search, searches):
        with contextlib.suppress(UserError):  # not in MLflow either: the error below names the folder
            return api.open(search, address=address, tracking_uri=tracking_uri, searches=searches)
    folder = folders.find_search(search, searches)
    return api.Search(folder, origin.tracking_uri(folder, tracking_uri), address)


def _show_results(search: api.Search, report: bool) -> Path | None:
    """Print the search's main table, write the report page and log it to MLflow. Returns the page, None without one.

    For a confirmation and the like, the page is that of the search it repeats. The search has ended and does not depend
    on any of this: errors are printed, not raised.
    """
    try:
        from analysis.base import tables
        from search.track import registry

        if search.spec.sizes_of:
            tables.emit(boards.data_size(search.tracking_uri, search.id), "table")
        elif search.spec.path_of:
            tables.emit([*boards.why(search.tracking_uri, search.id).values()], "table")
        else:
            tables.emit(boards.leaderboard(search.tracking_uri, search.id), "table")
        timings.note(Event.LEADERBOARD)
        if not report:
            return None
        shown = api.Search(search.folder.parent / (search.spec.repeats or search.id), search.tracking_uri)
        with tempfile.TemporaryDirectory() as scratch:
            page = shown.report(shared=scratch)
            print(f"wrote {page}")
            registry.log_report(search.tracking_uri, shown.id, Path(scratch))
            timings.note(Event.PAGE)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    else:
        return page
    return None


def _conclude(search: api.Search, searches: Path, report: bool, on_finish: str | None) -> None:
    """Print the results, where everything is and what to run next; then run the user's command.

    Ctrl-C skips the rest of the results, not what to run next. Exits with 1 unless the search is complete and recorded.
    """
    page, skipped = None, False
    try:
        try:
            page = _show_results(search, report)
        except KeyboardInterrupt:  # possibly the second one, if all trials ended soon after the first
            skipped = True
        _say_what_next(search, searches, page)
        if skipped:
            console.fail(
                "interrupted: the rest of the leaderboard or the page was left out; the search is kept", status=130
            )
    finally:  # also when the terminal was closed
        if on_finish:
            finishing.call(on_finish, search, page)


def _say_what_next(search: api.Search, searches: Path, page: Path | None) -> None:
    result = search.result
    assert result, "this search was opened, not run"
    root = "" if searches == Path("searches") else f" --searches {shlex.quote(str(searches))}"
    option = f" --tracking-uri {shlex.quote(mlflow_uri.without_password(search.tracking_uri))}"
    shown = mlflow_uri.without_password(search.tracking_uri)
    python = console.python()
    print(f"\nSearch       {search.id}")
    print(f"Folder       {search.folder}")
    ui = f"{python} -m {mlflow_uri.ui_command(search.tracking_uri)}"
    print(f"MLflow UI    {shown if shown.startswith('http') else ui}")
    print(f"Leaderboard  {python} -m analysis leaderboard {search.id}{option}")
    if page:
        print(f"Report       {page}")
    again = search.decided.command if search.decided else f"{python} -m search resume {search.id}{root}{option}"
    if again:
        print(f"Resume       {again}")
    if result.planned:
        print(f"Plan         {result.planned}")
    if result.still_up:
        print(f"Still up     {result.still_up}; cloud machines cost money until they are shut down")
        print("Shut down    ray down cluster.yaml, where it was launched (on your own machines: ray stop, on each)")
    if result.outcome is schema.Outcome.INTERRUPTED:
        console.fail(f"stopped with {result.num_owed} trials to go; continue with the resume command above", status=1)
    if result.outcome is schema.Outcome.FAILED:
        console.fail("no valid trial: every one diverged or failed; the leaderboard says why", status=1)
    if not result.recorded:
        audit = f"{python} -m search audit {search.id} --repair{root}{option}"
        console.fail(f"not everything could be recorded in MLflow; repair it with: {audit}", status=1)
