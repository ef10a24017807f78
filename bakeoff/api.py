"""The Python API: `run` and `open`, and the class `Search` that they return."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from data.base.errors import UserError, choose
from search.base import console, mlflow_uri, origin, schema, timings

if TYPE_CHECKING:
    import pandas as pd

    from analysis.base.runs import Search as Recorded
    from analysis.verdicts.gain import Gain
    from bakeoff.deciding import Decided
    from search.run.run import SearchResult
    from search.serve.export import Exported
    from search.spec.spec import Spec
    from search.study.trial import Trial


#: The largest `repeat` of `run`.
MOST_REPEATS = 100


@dataclass(frozen=True)
class Picture:
    """A figure that a notebook displays, with its data.

    frame: one row per point or word. png: the bytes of the image file.
    """

    frame: "pd.DataFrame"
    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


class Search:
    """A search: one run of one spec, recorded in a folder and in MLflow.

    folder: holds the spec, the Optuna studies and the checkpoints. tracking_uri: of MLflow. address: of the Ray cluster
    for a resume; None for this machine. result: how the search ended, if this object ran or resumed it. confirmation:
    the search over folds that followed, if the spec has `folds`. decided: how `confirm(until_decided=True)` ended.
    """

    confirmation: "Search | None" = None
    decided: "Decided | None" = None

    def __init__(
        self, folder: Path, tracking_uri: str, address: str | None = None, result: "SearchResult | None" = None
    ) -> None:
        self.folder, self.tracking_uri, self.address, self.result = folder.absolute(), tracking_uri, address, result

    def __repr__(self) -> str:
        return f"<Search {self.id}>"

    @property
    def id(self) -> str:
        """The name of the spec and the time of the start: 'smoke-20260101-120000'."""
        return self.folder.name

    @property
    @console.quiet()
    def spec(self) -> "Spec":
        """The spec, with the value of every key. Raises UserError when the folder is not on this machine."""
        from search.run import folders
        from search.spec import read

        return read.read_spec(folders.find_search(self.id, self.folder.parent))

    @property
    def complete(self) -> bool:
        """Whether this object ran or resumed the search to its end."""
        return self.result is not None and self.result.outcome is schema.Outcome.COMPLETE

    @property
    @console.quiet()
    def outcome(self) -> str:
        """'complete', 'interrupted' (`resume` runs the missing trials) or 'failed' (no trial is valid)."""
        from search.run.state import outcome_of
        from search.study.studies import Studies

        return str(outcome_of(Studies(self.id, self.spec, self.folder)))

    @console.quiet()
    def resume(
        self, *, trials: int | None = None, time_budget: str | float | None = None, progress: bool = True
    ) -> "Search":
        """Resume the search: finished trials are kept, interrupted ones continue from their last checkpoint.

        trials: the new number of trials per architecture, no fewer than before. time_budget: seconds, or '20m', '1.5h'.
        Returns the search itself. Raises UserError when another process runs the search, or its data or spec changed.

        >>> search.resume(progress=False).outcome  # there was nothing left to run
        'complete'
        """
        from search.run import progress as progresses
        from search.run import run

        shown = progresses.console(progress)
        shown.print(f"Search [bold]{self.id}[/bold]", highlight=False)
        budget = None if time_budget is None else str(time_budget)
        self.result = run.resume(self.folder, self.tracking_uri, shown, self.address, trials, budget)
        return self._then_over_folds(progress)

    def _then_over_folds(self, progress: bool) -> "Search":
        """Confirm a complete search over folds if its spec has `folds`, resuming a confirmation that was begun.

        Returns the search itself.
        """
        from search.run import confirm

        spec = self.spec
        if spec.folds and not spec.repeats and self.outcome == schema.Outcome.COMPLETE:
            wanted = confirm.confirmation(self.folder, None, None, [], spec.folds)
            if begun := confirm.begun(self.folder, wanted):
                found = Search(begun, self.tracking_uri, self.address)
                self.confirmation = found.resume(progress=progress)
            else:
                self.confirmation = start(wanted, self.address, self.tracking_uri, self.folder.parent, progress)
        return self

    @console.quiet()
    def confirm(
        self,
        *,
        top: int | None = None,
        seeds: int | None = None,
        folds: int | None = None,
        architectures: Sequence[str] = (),
        until_decided: bool = False,
        margin: float | None = None,
        max_seeds: int | None = None,
        time_budget: str | float | None = None,
        progress: bool = True,
    ) -> "Search":
        """Train the best `top` (3) configurations of every architecture again, on `seeds` (5) fresh seeds, as a new
        search.

        folds: instead, cross-validate the best configuration of every architecture and baseline: every text is in the
        test set of one fold. architectures: only these. Afterwards, the leaderboard of this search ranks the confirmed
        configurations by their means. Returns the new search. Raises UserError when there is nothing to confirm.

        until_decided: instead, add a few seeds at a time to the best configurations, where they help most, until every
        pair is better or equal within `margin` (0.01 of accuracy), or `max_seeds` (15 per architecture), `time_budget`
        (seconds, or '20m') or the resolution of the test texts is exhausted. Returns the last confirmation, or this
        search if none was needed; the attribute `decided` says how it ended.

        >>> search.confirm(top=1, seeds=2, architectures=["mlp"], progress=False).spec.confirms == search.id
        True
        """
        from bakeoff import deciding
        from search.run import confirm
        from search.run import progress as progresses

        deciding.require_one_way(
            until_decided,
            {"top": top, "seeds": seeds, "folds": folds},
            {"margin": margin, "max_seeds": max_seeds, "time_budget": time_budget},
        )
        if until_decided:
            plan = deciding.planned(self.folder, self.tracking_uri, margin, max_seeds, time_budget, architectures)
            decided = deciding.until_decided(plan, progresses.console(progress), self.address)
            last = decided.last
            folder = self.folder.parent / last.search if last else self.folder
            found = Search(folder, self.tracking_uri, self.address, last)
            found.decided = decided
            return found
        spec = confirm.confirmation(self.folder, top, seeds, list(architectures), folds)
        return start(spec, self.address, self.tracking_uri, self.folder.parent, progress)

    @console.quiet()
    def train_sizes(self, *, seeds: int = 3, progress: bool = True) -> "Search":
        """Train the best model and the best baseline on 1/8, 1/4, 1/2 and all of the training texts, as a new search.

        seeds: fresh seeds of the model per number of texts. Afterwards, `data_size` shows whether more labels would
        help. Returns the new search. Raises UserError when there is nothing to train again.

        >>> search.train_sizes(seeds=1, progress=False).spec.sizes_of == search.id
        True
        """
        from search.run import progress as progresses
        from search.run import sizes

        spec, budget = sizes.of_sizes(self.folder, seeds)
        for line in budget:
            progresses.console(progress).print(line, highlight=False, markup=False)
        return start(spec, self.address, self.tracking_uri, self.folder.parent, progress)

    @console.quiet()
    def ablate(self, architecture: str, *, seeds: int = 3, progress: bool = True) -> "Search":
        """Train the steps from an architecture's default configuration to its best, as a new search.

        Every step adds one changed value and is trained on the same `seeds` fresh seeds. Afterwards, `analysis why`
        shows what every change gained. Returns the new search. Raises UserError when there are no steps.

        >>> search.ablate("gru", seeds=2, progress=False).spec.path_of == search.id
        True
        """
        from search.run import path
        from search.run import progress as progresses

        spec, budget = path.of_path(self.folder, architecture, seeds)
        progresses.console(progress).print(budget, highlight=False, markup=False)
        return start(spec, self.address, self.tracking_uri, self.folder.parent, progress)

    @console.quiet()
    def data_size(self) -> "pd.DataFrame":
        """The test scores of the best model and the best baseline by number of training texts, one row each.

        Raises UserError unless `train_sizes` was run.

        >>> len(search.data_size()) >= 4
        True
        """
        from analysis.verdicts import data_size

        return data_size.read(self.tracking_uri, self.recorded()).frame

    @console.quiet()
    def trials(self) -> "pd.DataFrame":
        """One row per trial, in the order of their starts: hyperparameters, metrics of the best report, outcome.

        Shares are in [0, 1], times in seconds; values that do not apply or were not measured are missing. Raises
        UserError when MLflow cannot be read or does not hold the search.

        >>> search.trials()[["trial", "outcome"]].iloc[-1].tolist()[1]
        'complete'
        """
        from analysis.base import runs

        return runs.read_trials(self.tracking_uri, self.recorded().id)  # `recorded` registers custom metrics

    @console.quiet()
    def leaderboard(
        self,
        *,
        rank_by: str | None = None,
        architecture: str | None = None,
        by_architecture: bool = False,
        confirmed: bool | None = None,
    ) -> "pd.DataFrame":
        """The trials, best first; unranked ones (diverged, failed, ...) last. After a confirmation, the confirmed
        configurations by their means. The first row whose `role` is `searched` is the configuration of `best()`.

        rank_by: a validation metric (default: the metric of the search). architecture: only its trials.
        by_architecture: only the best trial of every architecture. confirmed: True for confirmed configurations only,
        False for trials even after a confirmation. Raises UserError for an unknown metric or architecture, or when
        `confirmed` is True and nothing was confirmed.

        >>> search.leaderboard(by_architecture=True).shape[0]
        4
        """
        from bakeoff import boards

        (table, *_) = boards.leaderboard(
            self.tracking_uri, self.id, rank_by, architecture, by_architecture, confirmed, "frame"
        )
        return table.frame[[name for name in table.frame if name in ("architecture", *table.columns)]]

    @console.quiet()
    def gain(self, *, rank_by: str | None = None) -> "Gain":
        """The best model of all, and the gain of the best searched model over the best baseline: as numbers, and as the
        `sentence` that stands above a leaderboard. Raises UserError when MLflow cannot be read.

        >>> search.gain().sentence.startswith("Best of all by validation accuracy is ")
        True
        """
        from analysis.boards import confirmation
        from analysis.boards.leaderboard import common_metric
        from analysis.verdicts import gain

        recorded = self.recorded()
        found = confirmation.read(self.tracking_uri, recorded)
        return gain.read(self.tracking_uri, found, rank_by or common_metric([recorded]))

    @console.quiet()
    def best(self, architecture: str | None = None, *, prefer: str | None = None) -> "Trial":
        """The best searched trial, or the best of one architecture or baseline: its name, hyperparameters, validation
        score and MLflow run. `gain` tells whether a baseline is better.

        After a confirmation, the configuration with the best mean. prefer: with several objectives, the point of the
        front to take: 'accuracy', 'small' or 'knee'. Raises UserError when no trial is ranked.

        >>> search.best("mlp").hyperparameters["activation"]
        'relu'
        """
        from analysis.explain import lookup

        name = f"{self.id}:{architecture}" if architecture else self.id
        if prefer:
            return lookup.preferred(self.tracking_uri, name, prefer)
        return lookup.find(self.tracking_uri, name)

    @console.quiet()
    def predict(self, texts: str | Sequence[str], architecture: str | None = None) -> "pd.DataFrame":
        """Predict with the best model. One row per text: `predicted`, the calibrated probability of every class (as in
        the exported model), and `unknown_share`, the share of words outside the vocabulary.

        Raises UserError when the model's checkpoint was not kept.

        >>> search.predict(["a wonderful film"], "mlp").shape
        (1, 5)
        """
        import pandas as pd

        from search.serve import calibration, loading

        texts, trial = list_of(texts), self.best(architecture)
        model = calibration.as_exported(trial, loading.load(trial))
        return pd.DataFrame({"text": texts, **model.answer(texts)})

    @console.quiet()
    def explain(
        self, texts: str | Sequence[str] | None = None, architecture: str | None = None, *, labels: Sequence[str] = ()
    ) -> Picture:
        """Explain the best model's predictions of texts (by default, of some hard ones) word by word.

        labels: the true labels of the texts, in their order. Raises UserError when the model cannot be explained.

        >>> search.explain(["a wonderful film"], "mlp").frame["word"].tolist()
        ['a', 'wonderful', 'film']
        """
        from analysis.base.pictures import encode
        from analysis.explain import explainers

        trial = self.best(architecture)
        explainer = explainers.of(trial)
        explanations = explainer.explain_all(trial, None if texts is None else list_of(texts), list(labels))
        frame = explainer.word_frame(explanations)
        return Picture(frame, encode(explainer.draw(explanations, trial.name), frame)["png"])

    @console.quiet()
    def figure(self, name: str, *, rank_by: str | None = None) -> Picture:
        """A figure of the report page: learning_curves, gradient_norms, best_so_far, ...

        Raises UserError for an unknown figure, or one that has nothing to show.

        >>> list(search.figure("learning_curves").frame)[:3]
        ['architecture', 'trial', 'run_id']
        """
        from analysis.boards.leaderboard import common_metric
        from analysis.figures.plots import PLOTS
        from analysis.report import report

        plot = PLOTS[choose("figure", name, PLOTS)]
        recorded = self.recorded()
        found, _ = report.read(self.tracking_uri, recorded, rank_by or common_metric([recorded]))
        files = plot.render(found)
        if not files:
            raise UserError(f"{name} of {self.id} has nothing to show: {plot.nothing}")
        return Picture(plot.data(found), files["png"])

    @console.quiet()
    def report(
        self, out: str | Path | None = None, *, rank_by: str | None = None, shared: str | Path | None = None
    ) -> Path:
        """Write the report page to a folder (default: `report` in the folder of the search) and return its index.html.

        shared: a second folder that gets the page without words of the texts, unless the spec has `texts: all`. Raises
        UserError when a folder cannot be written.

        >>> search.report().name
        'index.html'
        """
        from analysis.report import report

        out = Path(out or self.folder / "report")
        return report.make(self.tracking_uri, self.recorded(), out, rank_by, Path(shared) if shared else None)

    @console.quiet()
    def export(
        self,
        architecture: str | None = None,
        *,
        ensemble: int | None = None,
        name: str | None = None,
        calibrated: bool = True,
        trial: str | None = None,
        prefer: str | None = None,
    ) -> "Exported":
        """Register the best model in MLflow: of all architectures, or of one architecture or baseline. `mlflow.pyfunc`
        loads the `uri` of the result.

        ensemble: instead, the average of at most this many models, chosen on validation. name: of the registered model
        (default: from the search and its corpus). Its alias `best` moves only to a better model of the same data by the
        same metric; otherwise `stays` of the result says why not. calibrated: divide logits by a temperature fitted on
        validation. trial: this trial, such as 'gru-3'. prefer: as in `best`. Raises UserError when there is no such
        model, or it breaks a limit.

        >>> search.export("mlp").uri
        'models:/smoke-imdb@mlp'
        """
        from search.serve import export

        root = self.folder.parent
        return export.export(self.id, root, self.tracking_uri, architecture, ensemble, name, calibrated, trial, prefer)

    @console.quiet()
    def recorded(self) -> "Recorded":
        """The search's run in MLflow, as the analysis reads it."""
        from analysis.base import runs

        return runs.find_search(self.tracking_uri, self.id)


@overload
def run(
    spec: "str | Path | Mapping[str, Any] | Spec" = "default",
    *,
    repeat: None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
    searches: str | Path = "searches",
    progress: bool = True,
    **overrides: Any,
) -> Search: ...


@overload
def run(
    spec: "str | Path | Mapping[str, Any] | Spec" = "default",
    *,
    repeat: int,
    address: str | None = None,
    tracking_uri: str | None = None,
    searches: str | Path = "searches",
    progress: bool = True,
    **overrides: Any,
) -> list[Search]: ...


@console.quiet()
def run(
    spec: "str | Path | Mapping[str, Any] | Spec" = "default",
    *,
    repeat: int | None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
    searches: str | Path = "searches",
    progress: bool = True,
    **overrides: Any,
) -> Search | list[Search]:
    """Run a search to its end. On Ctrl-C, or a notebook's interrupt, running trials report once more.

    spec: the name of a shipped spec, a YAML file, a dict or a Spec; or a file of texts and labels or the name of a
    corpus, which a shipped spec searches. overrides: keys of the spec that replace its values: `epochs=3`,
    `corpus="csv:mine.csv"`, `space={"dropout": [0, 0.5]}`. repeat: run 1 to 100 searches, each with the next seed, and
    return a list of them; the last one is incomplete if it was stopped. `analysis budget` and `analysis variance` read
    them together. address: of a running Ray cluster, 'auto' for the one on this machine; by default the Ray of this
    process is used, or one is started and shut down. tracking_uri: of MLflow (default: MLFLOW_TRACKING_URI, else
    mlflow.db in the working directory). searches: the folder in which the search's folder is made. progress: whether
    to show progress.

    Raises UserError, one line per mistake, for an invalid spec.

    >>> bakeoff.run("smoke", epoch=3)
    Traceback (most recent call last):
    data.base.errors.UserError: .../smoke.yaml: unknown key 'epoch' (did you mean 'epochs'?)
    """
    times = 1 if repeat is None else repeat
    if not isinstance(times, int) or not 1 <= times <= MOST_REPEATS:
        raise UserError(f"repeat: a whole number from 1 to {MOST_REPEATS}; got {repeat!r:.80}")
    validated, uri = spec_of(spec, overrides), mlflow_uri.tracking_uri(tracking_uri)
    found = list(repeated(validated, times, address, uri, Path(searches), progress))
    return found[0] if repeat is None else found


@console.quiet()
def open(
    search: str = "latest",
    *,
    address: str | None = None,
    tracking_uri: str | None = None,
    searches: str | Path = "searches",
) -> Search:
    """Open an earlier search: by its id, its name (the newest of that name), or 'latest'.

    For a search that ran elsewhere and is only in MLflow, everything works that does not need its files. The other
    parameters are those of `run`. Raises UserError when there is no such search.

    >>> bakeoff.open("latest").id.startswith("smoke-")
    True
    """
    from search.run import folders

    if folders.find_searches(search, Path(searches)):
        folder = folders.find_search(search, Path(searches))
        return Search(folder, origin.tracking_uri(folder, tracking_uri), address)
    from analysis.base import runs

    uri = mlflow_uri.tracking_uri(tracking_uri)
    found = runs.find_search(uri, search)
    return Search(Path(found.tags.get(schema.FOLDER, Path(searches, found.id))), uri, address)


def list_of(texts: str | Sequence[str]) -> list[str]:
    """One text or several as a list. Raises UserError for an empty list, or anything that is not a string."""
    found = [texts] if isinstance(texts, str) else list(texts)
    wrong = [text for text in found if not isinstance(text, str)]
    if wrong or not found:
        raise UserError(f"should be a text or a list of texts; got {wrong[0]!r:.80}" if wrong else "no text is given")
    return found


def spec_of(spec: "str | Path | Mapping[str, Any] | Spec", overrides: Mapping[str, Any]) -> "Spec":
    """The validated spec, from any form that `run` accepts, with keys overridden. Raises UserError."""
    from search.spec.asked import spec_for
    from search.spec.read import validate
    from search.spec.spec import Spec

    if isinstance(spec, str | Path):
        return spec_for(str(spec), keys=overrides)
    return validate({**(spec.model_dump() if isinstance(spec, Spec) else spec), **overrides})


def start(spec: "Spec", address: str | None, uri: str, searches: Path, progress: bool = True) -> Search:
    """Run a new search of a valid spec to its end."""
    from search.cluster import connection

    with connection.ahead(address, spec.resources):  # Ray starts while the other libraries are imported
        from search.run import progress as progresses
        from search.run import run

        timings.note(timings.Event.LOADED)
        result = run.start(spec, searches, uri, progresses.console(progress), address)
    return Search(searches / result.search, uri, address, result)._then_over_folds(progress)


def repeated(
    spec: "Spec", times: int, address: str | None, uri: str, searches: Path, progress: bool = True
) -> Iterator[Search]:
    """Run a valid spec this many times, each with the next seed. Ends after a search that is not complete."""
    for number in range(times):
        found = start(spec.model_copy(update={"seed": spec.seed + number}), address, uri, searches, progress)
        yield found
        if not found.complete:
            return
