"""The commands that run searches and prove what they say: `bakeoff run`, or `python -m search run`."""

import contextlib
import shlex
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from bakeoff import api, boards, finishing
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
from search.base import console, origin, record, timings
from search.base.timings import Event

app = typer.Typer(
    help="Search for the best architecture of a text-classification task.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
            help="start from what earlier searches found, by id, name or folder; one or several",
            show_default=False,
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    repeat: Annotated[
        int,
        typer.Option(
            min=1, max=api.MOST_REPEATS, help="run it so often, each time with the next seed; then `analysis budget`"
        ),
    ] = 1,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
    timed: Annotated[
        bool, typer.Option("--timings", help="end with when what of it happened, on standard error")
    ] = False,
) -> None:
    """Run a search, show its progress, end with the leaderboard and the report page."""
    from search.spec.asked import spec_for

    if more and not from_:
        raise UserError(f"one spec, file or corpus; got {more[0]!r:.80} too (earlier searches come after --from)")
    earlier = {"from": [*(from_ or ()), *(more or ())]} if from_ else {}
    validated = spec_for(spec, set_ or [], keys=columns(text, label) | earlier)
    for number, found in enumerate(
        api.repeated(validated, repeat, address, record.tracking_uri(tracking_uri), searches)
    ):
        seed, left = validated.seed + number, repeat - number - 1
        if repeat > 1:
            print(f"{found.id}: {number + 1} of {repeat}, seed {seed}", flush=True)
            if left and not found.complete:
                print(f"Of the others, from seed {seed + 1}, none was started: --set seed=... --repeat {left}")
        if left and found.complete and on_finish:  # the last one's is called below, when it has a page
            finishing.call(on_finish, found.confirmation or found, None)
    if repeat > 1:
        print(f"Budgets      {console.python()} -m analysis budget {found.id}")
    try:
        _conclude(found.confirmation or found, searches, report, on_finish)
    finally:
        timings.note(Event.END)
        if timed:
            from search.run import state

            with contextlib.suppress(UserError):  # its folder is gone
                state.note_training(found.folder)
            print("\n".join(timings.lines()), file=sys.stderr)


@app.command()
@console.command
def confirm(
    search: SearchName = "latest",
    top: Annotated[
        int | None,
        typer.Option(min=1, help="how many configurations of each architecture (default: 3; over folds 1)"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="how often each is trained (default: 5; over folds once on each)"),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=folding.LEAST,
            max=folding.MOST,
            help="for small files: on so many divisions of the texts, in which each text is tested once; and the best "
            "of each baseline, too",
            show_default=False,
        ),
    ] = None,
    architecture: Annotated[
        list[str] | None, typer.Option(help="only this one; may be given several times", show_default=False)
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="the best of each, a few seeds at a time, where they decide most, until each pair is better or equal "
            "within the margin, or texts are the limit",
        ),
    ] = False,
    margin: Annotated[
        float | None,
        typer.Option(help="with it: who differ by less, in accuracy, are equal (default: 0.01)", show_default=False),
    ] = None,
    max_seeds: Annotated[
        int | None, typer.Option(help="with it: of each architecture at most (default: 15)", show_default=False)
    ] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="with it: 20m, 1.5h, ... for all looks together", show_default=False)
    ] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Train the best of each architecture again, on fresh seeds or over folds; the leaderboard ranks their means."""
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
    if confirmation.result:  # else nothing had to be trained
        _conclude(confirmation, searches, report, on_finish)


@app.command("train-sizes")
@console.command
def train_sizes(
    search: SearchName = "latest",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="how often the best model is trained on each")] = 3,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Train the best model and the best baseline on 1/8, 1/4, 1/2 and all of the texts: would more labels help?"""
    _conclude(_find(search, address, tracking_uri, searches).train_sizes(seeds=seeds), searches, report, on_finish)


@app.command()
@console.command
def ablate(
    search: Annotated[str, typer.Argument(help="SEARCH:ARCHITECTURE")],
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="how often each configuration is trained")] = 3,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Train what lies between an architecture's default configuration and its best: which change brought how much?"""
    name, _, architecture = search.partition(":")
    found = _find(name, address, tracking_uri, searches)
    _conclude(found.ablate(architecture, seeds=seeds), searches, report, on_finish)


@app.command()
@console.command
def resume(
    search: SearchName = "latest",
    trials: Annotated[int | None, typer.Option(min=1, help="more trials for each architecture than it had")] = None,
    time_budget: Annotated[str | None, typer.Option(help="20m, 1.5h, ...: another time budget")] = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
    report: Report = True,
    on_finish: OnFinish = None,
) -> None:
    """Go on with a search that was stopped: finished trials count, running ones go on from their last checkpoint."""
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
    """Is the cluster fit for this spec? Nodes, versions, room for trials, checkpoints, corpus, MLflow: a line each."""
    from search.cluster import check, connection
    from search.spec.asked import spec_for

    validated = spec_for(spec, set_ or [])
    failed = False
    with connection.connection(address):
        for line in check.check(validated, address, searches, record.tracking_uri(tracking_uri)):
            print(line, flush=True)
            failed |= line.status == "fail"
    raise SystemExit(int(failed))


@app.command("check-architecture")
@console.command
def check_architecture(
    architecture: Annotated[str, typer.Argument(help="my_net.py:Transformer, package.module:Name, or one of ours")],
) -> None:
    """Does an architecture keep the rules that a search relies on? A line for each; what to do where it does not."""
    import torch

    from models import contract, estimator_contract
    from search.spec.code import find

    torch.set_num_threads(1)  # for so little work more would only wait for each other
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
    """What a search will take, from a few steps of each architecture: hours, disk, rows and money."""
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
    address: Annotated[str, typer.Option(help="of the cluster's dashboard")] = "http://127.0.0.1:8265",
    searches: Annotated[str, typer.Option(help="where the head keeps searches")] = "~/results/searches",
    wait: Annotated[bool, typer.Option(help="show the search's output until it ends")] = True,
) -> None:
    """Start a search on a cluster from this machine; texts and vectors that the spec names have to be there."""
    from search.cluster import submit as submits
    from search.spec.asked import spec_for

    raise SystemExit(submits.submit(spec_for(spec, set_ or [], files=False), address, searches, wait))


@app.command("list")
@console.command
def list_(searches: Root = Path("searches")) -> None:
    """The searches of this folder, newest last: trials finished and wanted, and where they are."""
    from search.run import state

    for line in state.summaries(searches):
        print(line)


@app.command()
@console.command
def audit(
    search: SearchName = "latest",
    repair: Annotated[bool, typer.Option("--repair", help="make MLflow agree with the study")] = False,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Prove that Optuna, MLflow and the checkpoints agree, trial by trial; print what differs."""
    from search.base import files
    from search.prove import audit as audits
    from search.run import folders
    from search.study.storage import JOURNAL

    folder = folders.find_search(search, searches)
    uri = origin.tracking_uri(folder, tracking_uri)
    with files.hold(folder):
        if repair:
            files.mend_journal(folder / JOURNAL)
            audits.repair(folder, uri)
        lines = audits.audit(folder, uri)
    for line in lines:
        print(line)
    if lines:
        mended = "" if repair else f"; --repair mends the runs at {record.without_password(uri)}"
        console.fail(f"{folder.name}: {len(lines)} differences{mended}", status=1)
    print(f"{folder.name}: Optuna, MLflow and the checkpoints agree")


@app.command()
@console.command
def replay(
    run: Annotated[str, typer.Argument(help="an MLflow run id, its first characters, or SEARCH:TRIAL")],
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Train a trial again from its record and say whether every epoch's numbers are equal."""
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
            help="the best of this architecture or baseline (default: of all architectures)", show_default=False
        ),
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(
            help="instead of the best, the average of at most so many models, of any architecture, as one; chosen on "
            "validation",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="of the registered model (default: that of the search and its corpus)", show_default=False),
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option(help="whether its probabilities are calibrated: logits divided by a temperature from validation"),
    ] = True,
    trial: Annotated[
        str | None, typer.Option(help="this trial, such as gru-3, instead of the best", show_default=False)
    ] = None,
    prefer: Prefer = None,
    tracking_uri: TrackingUri = None,
    searches: Root = Path("searches"),
) -> None:
    """Put the best model (the best confirmed one, if there are any) into MLflow's registry: text in, labels out."""
    found = _find(search, None, tracking_uri, searches)
    if sum(map(bool, (ensemble, trial, prefer))) > 1:
        raise UserError("one of --ensemble, --trial and --prefer")
    exported = found.export(
        architecture, ensemble=ensemble, name=name, calibrated=calibrated, trial=trial, prefer=prefer
    )
    shown = shlex.quote(record.without_password(found.tracking_uri))
    what = f"{exported.trial.name} of {exported.trial.folder.name}"
    if exported.selection:
        print("\n".join(exported.selection.lines()), end="\n\n")
        what = f"The ensemble of {' + '.join(exported.selection.ensemble.members)}"
    print(f"{what} is version {exported.version} of the registered model {exported.name}")
    if exported.stays:
        print(f"Latest, not best: {exported.stays}")
    if better := exported.better:
        print(f"Better on validation is a baseline, {better.name}; for that one: --architecture {better.architecture}")
    if found_by := exported.calibration:
        print(
            f"Calibrated at temperature {found_by.temperature:.2f}: on test, confidence and accuracy are "
            f"{found_by.after:.4f} apart (ECE), {found_by.before:.4f} without it"
        )
    if exported.threshold:
        print(f"Threshold: {exported.threshold}")
    print(f"Size     {exported.num_bytes / 1e6:.1f} MB")
    print(f"Load     mlflow.pyfunc.load_model({exported.uri!r})")
    print(f"Predict  {console.python()} -m analysis predict {exported.uri} 'this movie is great'")
    print(f"Serve    MLFLOW_TRACKING_URI={shown} mlflow models serve -m {exported.uri} --env-manager local --port 5001")


def _find(search: str, address: str | None, tracking_uri: str | None, searches: Path) -> api.Search:
    """A search of this folder, else of the tracking server's. Raises UserError when neither has it."""
    from search.run import folders

    if not folders.find_searches(search, searches):
        with contextlib.suppress(UserError):  # no MLflow either
            return api.open(search, address=address, tracking_uri=tracking_uri, searches=searches)
    folder = folders.find_search(search, searches)
    return api.Search(folder, origin.tracking_uri(folder, tracking_uri), address)


def _show_results(search: api.Search, report: bool) -> Path | None:
    """Print the leaderboard, or what fewer texts cost, and write the report page, that of the search whose models were
    trained again; log it to that search's run. The search is done and does not depend on them: what goes wrong is only
    shown."""
    try:
        from analysis.base import tables
        from search.track import registry

        if search.spec.sizes_of:
            tables.emit(boards.data_size(search.tracking_uri, search.id), "table")
        elif search.spec.path_of:
            tables.emit(boards.why(search.tracking_uri, search.id), "table")
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
    """The leaderboard and the report, where everything is and what to do next; then what the user wants done. The exit
    status says whether the search is done."""
    page = None
    try:
        page = _show_results(search, report)
        _say_what_next(search, searches, page)
    finally:  # also where the terminal is gone, or a signal ends the page
        if on_finish:
            finishing.call(on_finish, search, page)


def _say_what_next(search: api.Search, searches: Path, page: Path | None) -> None:
    result = search.result
    assert result, "it was opened only"
    root = "" if searches == Path("searches") else f" --searches {shlex.quote(str(searches))}"
    option = f" --tracking-uri {shlex.quote(record.without_password(search.tracking_uri))}"
    shown = record.without_password(search.tracking_uri)
    python = console.python()
    print(f"\nSearch       {search.id}")
    print(f"Folder       {search.folder}")
    ui = f"{python} -m {record.ui_command(search.tracking_uri)}"
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
        print(f"Still up     {result.still_up}, and billed if they are a cloud's")
        print("Shut down    ray down cluster.yaml, where it was launched (on machines of your own: ray stop, on each)")
    if result.outcome is record.Outcome.INTERRUPTED:
        console.fail(f"stopped with {result.num_owed} trials to go; the resume command above goes on", status=1)
    if result.outcome is record.Outcome.FAILED:
        console.fail("no valid trial: every one diverged or failed; the leaderboard says why", status=1)
    if not result.recorded:
        console.fail(f"MLflow lacks some of it: {python} -m search audit {search.id} --repair{root}{option}", status=1)
