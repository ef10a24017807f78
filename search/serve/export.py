"""Exports the best model of a search as a self-contained MLflow model, in the model registry."""

import dataclasses
import hashlib
import importlib.metadata
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import mlflow.pyfunc
import pandas as pd
from mlflow.models import infer_signature

from data.base.errors import UserError, did_you_mean
from data.base.imports import inside
from models import is_baseline
from search.base import schema
from search.run.confirm import trials_of
from search.run.folders import find_search
from search.serve.calibration import of_trial, with_threshold
from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble
from search.serve.loading import load
from search.serve.selection import Selection, select
from search.spec.read import read_spec
from search.spec.spec import Spec
from search.study import fronts
from search.study.ranking import best, is_ranked, order
from search.study.trial import Trial
from search.track import registry as tracking
from search.track.registry import Standing
from search.train.metrics import split_metric

ROOT = Path(__file__).parents[2]
#: The code of an exported model: packages and single files.
PACKAGES = ("data", "models", "search/train/tasks")
FILES = tuple(f"search/serve/{name}.py" for name in ("classifier", "ensemble", "served"))
REQUIREMENTS = ("mlflow", "torch", "safetensors", "torchtext", "numpy", "pandas")

EXAMPLE = pd.DataFrame({"text": ["this movie is great", "this movie is very very bad the worst movie"]})
BEST, ENSEMBLE = "best", "ensemble"  # aliases: of the best of all models, and of an ensemble

Model = TypeVar("Model", TextModel, Ensemble)


@dataclass(frozen=True)
class Calibration:
    """The temperature, and the expected calibration error on test before and after calibration."""

    temperature: float
    before: float
    after: float


@dataclass(frozen=True)
class Threshold:
    """The probability from which the positive class is predicted.

    metric: the metric by which the threshold was selected on validation. val, test: the metric on both splits, with
    this threshold and with one half.
    """

    probability: float
    positive_class: str
    metric: str
    val: tuple[float, float]
    test: tuple[float, float]

    def __str__(self) -> str:
        (val, val_half), (test, test_half) = self.val, self.test
        return (
            f"{self.positive_class[:40]!r} is predicted from a probability of {self.probability:.3f} (by validation): "
            f"{self.metric} {val:.4f} ({val_half:.4f} at one half); on test {test:.4f} ({test_half:.4f})"
        )


@dataclass(frozen=True)
class Exported:
    """A version of a registered model.

    trial: the trial of the model, or of the first member of an ensemble. selection: how an ensemble was selected.
    better: the best baseline, if it is better on validation. stays: why the alias was not moved to this version, a
    sentence, or ''. calibration, threshold: None if the model has none.
    """

    name: str
    version: str
    alias: str
    trial: Trial
    num_bytes: int
    selection: Selection | None = None
    better: Trial | None = None
    stays: str = ""
    calibration: Calibration | None = None
    threshold: Threshold | None = None

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}" if self.stays else f"models:/{self.name}@{self.alias}"


def export(
    search: str,
    root: Path,
    uri: str,
    architecture: str | None = None,
    ensemble: int | None = None,
    name: str | None = None,
    calibrated: bool = True,
    trial: str | None = None,
    prefer: str | None = None,
) -> Exported:
    """Registers the best model of a search, as the newest version of a registered model.

    search: id or name; a confirmation stands for the search that it confirms. name: of the registered model; by default
    made from search and corpus (see `registered_name`). calibrated: whether to calibrate probabilities on validation.
    Instead of the best model of all: architecture: the best of this architecture or baseline; ensemble: an ensemble of
    at most this many models (see `selection.select`), which gets an MLflow run; trial: the model of this trial; prefer:
    this point of the Pareto front (see `fronts.prefer`).

    The version gets the alias `ensemble`, or the name of the trial, point or architecture; the best of all gets `best`,
    unless the version with that alias was at least as good on the same data by the same metric. Raises UserError if
    there is no such search or model, or if MLflow cannot be used.
    """
    if name is not None and not re.fullmatch(r"[^/:]*[^/:.\s][^/:]*", name):
        raise UserError(f"--name: should have a letter or digit, and neither '/' nor ':'; got {name!r:.80}")
    if architecture and ensemble is not None:
        raise UserError(
            f"--ensemble chooses among all architectures: leave out --architecture {architecture}, or --ensemble"
        )
    if ensemble is not None and ensemble < 2:
        raise UserError(f"--ensemble: the number of models to average, should be at least 2; got {ensemble}")
    folder = find_search(search, root)
    if confirmed := read_spec(folder).confirms:
        folder = find_search(confirmed, root)
    trials = list(trials_of(folder, root))
    spec = read_spec(folder)  # read last, since reading a spec registers its architectures
    if architecture and architecture not in spec.studied:
        raise UserError(
            f"{folder.name} has no architecture or baseline {architecture!r}; choose from {', '.join(spec.studied)}"
        )
    name = name or registered_name(spec)
    if ensemble is not None:
        selection = select(trials, folder, ensemble)
        run_id = _record(selection, folder.name, uri)
        members = ", ".join(selection.ensemble.members)
        averaged, calibration = _calibrated(selection.ensemble, selection.metrics if calibrated else {})
        averaged, threshold = _with_threshold(averaged, selection.metrics, spec.metric)
        tags = {schema.SEARCH: folder.name, schema.MEMBERS: members}
        version, _, num_bytes = _register(uri, name, ENSEMBLE, averaged, run_id, tags)
        first = selection.best.members[0]
        return Exported(
            name, version, ENSEMBLE, first, num_bytes, selection, calibration=calibration, threshold=threshold
        )
    if trial or prefer:
        chosen, better, architecture = _point(trials, spec, folder.name, architecture, trial, prefer), None, None
    else:
        chosen, better = choose(trials, spec.metric, folder.name, architecture)
    if chosen.run_id is None:
        raise UserError(
            f"{chosen.name} is not in MLflow yet; run: python -m search audit {chosen.folder.name} --repair"
        )
    tags, alias = {schema.SEARCH: folder.name, schema.TRIAL: chosen.name}, trial or prefer or architecture or BEST
    standing = _standing(chosen) if alias == BEST else None
    model = load(chosen)
    metrics = {**chosen.best, **(of_trial(chosen, model) if calibrated else {})}
    model, calibration = _calibrated(model, metrics if calibrated else {})
    model, threshold = _with_threshold(model, metrics, chosen.metric)
    version, stays, num_bytes = _register(uri, name, alias, model, chosen.run_id, tags, standing)
    return Exported(
        name,
        version,
        alias,
        chosen,
        num_bytes,
        better=better,
        stays=stays,
        calibration=calibration,
        threshold=threshold,
    )


def _calibrated(model: Model, metrics: Mapping[str, float]) -> tuple[Model, Calibration | None]:
    """The model with the temperature in its metrics, if there is one."""
    if schema.TEMPERATURE not in metrics:
        return model, None
    calibration = Calibration(metrics[schema.TEMPERATURE], metrics["test_ece"], metrics[schema.CALIBRATED_ECE])
    return dataclasses.replace(model, temperature=calibration.temperature), calibration


def _with_threshold(model: Model, metrics: Mapping[str, float], metric: str) -> tuple[Model, Threshold | None]:
    """The model with its threshold (see `calibration.with_threshold`), and the scores with it."""
    model = with_threshold(model, metrics)
    if model.threshold is None:
        return model, None
    name = split_metric(metric)[1].name
    scores = [(metrics[schema.WITH_THRESHOLD.format(split)], metrics[f"{split}_{name}"]) for split in ("val", "test")]
    return model, Threshold(model.threshold, model.classes[1], name, *scores)


def registered_name(spec: Spec) -> str:
    """The default name of a registered model: 'default-imdb', or 'default-reviews' for reviews.csv.

    It contains the corpus, so that models for different texts are not versions of each other.
    """
    prefix, _, path = spec.corpus.partition(":")
    corpus = re.sub(r"(?<=.)\..*", "", Path(path).name) if path and prefix not in spec.code.corpus else prefix
    return re.sub(r"[^\w.-]+", "-", f"{spec.name}-{corpus}").strip("-")


def _standing(trial: Trial) -> Standing | None:
    digest, score = trial.provenance.get(schema.DATA_DIGEST), trial.score
    return None if digest is None or score is None else Standing(digest, trial.metric, score)


def choose(
    trials: Sequence[Trial], metric: str, origin: str, architecture: str | None = None
) -> tuple[Trial, Trial | None]:
    """The best trial of the searched architectures, and the best baseline if its score is better; or the best trial of
    the given architecture or baseline, and None. origin: see `ranking.best`, whose errors are raised."""
    if architecture:
        return best([trial for trial in trials if trial.architecture == architecture], metric, origin), None
    chosen = best([trial for trial in trials if not is_baseline(trial.architecture)], metric, origin)
    first = min([chosen, *(trial for trial in trials if is_baseline(trial.architecture))], key=order(metric, trials))
    return chosen, None if first is chosen else first


def _point(
    trials: Sequence[Trial], spec: Spec, search: str, architecture: str | None, name: str | None, how: str | None
) -> Trial:
    """A trial of the search by its name, or the preferred point of its Pareto front. Raises UserError."""
    of_search = [trial for trial in trials if trial.search == search]
    if name:
        known = {trial.name: trial for trial in of_search}
        if name not in known:
            raise UserError(f"{search} has no trial {name!r}{did_you_mean(name, known)}")
        if not is_ranked(known[name]):
            raise UserError(f"{name} cannot be exported: {known[name].error or known[name].outcome}")
        return known[name]
    searched = [
        trial for trial in of_search if trial.architecture in ([architecture] if architecture else spec.architectures)
    ]
    goals = spec.objectives
    return fronts.prefer(str(how), searched, goals, spec.metric, lambda trial: fronts.values(trial, goals))


def _record(selection: Selection, search: str, uri: str) -> str:
    """Logs an ensemble as a child run of the search. Returns the run's id."""
    members = selection.best.members
    sizes = [trial.num_parameters for trial in members if trial.num_parameters is not None]
    metrics = {schema.best(name): value for name, value in selection.metrics.items()}
    metrics |= {schema.TRIAL_SECONDS: sum(trial.seconds for trial in members)}
    metrics |= {schema.NUM_PARAMETERS: sum(sizes)} if len(sizes) == len(members) else {}
    params = {schema.MEMBERS: ", ".join(selection.ensemble.members)}
    return tracking.log_ensemble(uri, search, params, metrics, members[0].provenance, selection.predictions)


def _register(
    uri: str,
    name: str,
    alias: str,
    model: TextModel | Ensemble,
    run_id: str,
    tags: dict[str, str],
    standing: Standing | None = None,
) -> tuple[str, str, int]:
    """Writes a model and registers it under a run (see `registry.register`). Also returns its size in bytes."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        write(model, folder)
        version, stays = tracking.register(uri, name, alias, folder, run_id, tags, standing)
        return version, stays, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write(model: TextModel | Ensemble, folder: Path) -> None:
    """Writes the model into a new folder, as plain files and source code; nothing is pickled.

    The code is in one package, named after the digest of all files, so that it does not conflict with packages `data`
    and `models` of an application, or with other exported models.
    """
    with TemporaryDirectory() as scratch:
        model.save(Path(scratch, "model"))
        package = f"bakeoff_model_{_digest(Path(scratch, 'model'))[:12]}"
        for path in _code():
            copy = Path(scratch, package, path.relative_to(ROOT))
            copy.parent.mkdir(parents=True, exist_ok=True)
            for inner in path.relative_to(ROOT).parents:
                Path(scratch, package, inner, "__init__.py").touch()
            if path.suffix == ".py":
                copy.write_text(inside(path.read_text(encoding="utf-8"), package), encoding="utf-8")
            else:
                shutil.copy(path, copy)
        needed = (*REQUIREMENTS, *model.task.requirements, *model.requirements)
        mlflow.pyfunc.save_model(
            folder,
            loader_module=f"{package}.search.serve.served",
            data_path=str(Path(scratch, "model")),
            code_paths=[str(Path(scratch, package))],
            signature=infer_signature(EXAMPLE, pd.DataFrame(model.answer(EXAMPLE["text"].tolist()))),
            input_example=EXAMPLE,
            pip_requirements=[f"{name}=={_version(name)}" for name in dict.fromkeys(needed)],
        )


def _code() -> list[Path]:
    """The source files of an exported model."""
    within = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    return sorted([*(path for path in within if "__pycache__" not in path.parts), *(ROOT / file for file in FILES)])


def _digest(model: Path) -> str:
    """The SHA-256 of a model's files and code, in hex."""
    digest = hashlib.sha256()
    files = [(path, model) for path in sorted(model.rglob("*")) if path.is_file()]
    for path, root in [*((path, ROOT) for path in _code()), *files]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _version(package: str) -> str:
    """The installed version, in the form that package indexes use: '2.13.0', not '2.13.0+cpu'."""
    return importlib.metadata.version(package).partition("+")[0]
