"""The MLflow run of a search, the parent of its trials' runs: its spec, its data and its outcome."""

import contextlib
import json
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import DatasetInput, LifecycleStage, Metric

from data.encoded import EncodedCorpus
from data.inspecting.findings import Inspection
from search.base import inspected, origin, schema
from search.base.origin import now_ms
from search.base.schema import Outcome
from search.spec.read import EXTENDABLE, SPEC_FILE, dump
from search.spec.spec import Spec
from search.study.studies import Studies
from search.track.entities import STATUS, dataset, log
from search.track.recorded import find_own, require_experiment
from search.train.metrics import declaration


def spec_tags(spec: Spec) -> dict[str, str]:
    """The keys of a spec that a resume may change, as tags."""
    short = spec.short()
    return {schema.SPEC_PREFIX + name: str(short[name]) for name in EXTENDABLE if name in short}


def stop_tags(studies: Studies) -> dict[str, str]:
    """Decisions made during a search, as tags: stopped architectures, and trials refused by limits."""
    stopped = {name: stop.to_dict() for name, stop in studies.stopped.items()}
    found = {schema.STOPPED: json.dumps(stopped)} if stopped or studies.spec.stop != "none" else {}
    return found | ({schema.REFUSED: json.dumps(studies.refused)} if studies.spec.limits else {})


class OwnRun:
    """Finds or creates a search's run. Data that cannot be written is kept here until `deliver` or `close`.

    found: whether the run already existed.
    """

    def __init__(self, client: mlflow.MlflowClient, uri: str, studies: Studies) -> None:
        self._client, self._studies, self._search, self._spec = client, studies, studies.search, studies.spec
        self.provenance: dict[str, str] = {}  # tags
        self._counts: list[Metric] = []  # the numbers of texts, classes and words, until they are written
        self._files: dict[str, str] = {}  # the spec and the inspection of the texts, until they are written
        self._params: dict[str, str] = {}  # parameters, until they are written
        self._dataset: DatasetInput | None = None
        self.found, self.experiment_id, self.run_id = self._open(uri)

    def _open(self, uri: str) -> tuple[bool, str, str]:
        """Returns whether the run existed, the id of its experiment, and the id of the run.

        A deleted run is restored. The search is found even if its experiment was renamed.
        """
        found = find_own(self._client, self._search)
        if found:
            require_experiment(self._client.get_experiment(found[0].info.experiment_id), uri)
            if found[0].info.lifecycle_stage == LifecycleStage.DELETED:
                self._client.restore_run(found[0].info.run_id)
            # An earlier driver may have failed to write these, and a resume may have changed the spec. MLflow rejects
            # new values of existing parameters.
            self._files, there = self._spec_files(), found[0].data.params
            self._params = {name: value for name, value in self._spec_params().items() if name not in there}
            return True, found[0].info.experiment_id, found[0].info.run_id
        experiment_id = self._open_experiment(uri, self._spec.name)
        tags = {
            schema.KIND: schema.KIND_SEARCH,
            schema.SEARCH: self._search,
            schema.METRIC: self._spec.metric,
            schema.OUTCOME: Outcome.RUNNING.value,
            schema.FOLDER: str(self._studies.folder.absolute()),
            schema.USER: origin.user(),
            **({schema.METRICS: declaration(self._spec.metrics)} if self._spec.metrics else {}),
            **({schema.OBJECTIVES: ",".join(self._spec.objectives)} if self._spec.objectives else {}),
            **({schema.CONFIRMS: self._spec.confirms} if self._spec.confirms else {}),
            **({schema.LOOKS: str(self._spec.looks)} if self._spec.looks else {}),
            **({schema.PATH_OF: self._spec.path_of} if self._spec.path_of else {}),
            **({schema.SIZES_OF: self._spec.sizes_of} if self._spec.sizes_of else {}),
        }
        started = origin.read(self._studies.folder, to_keep=True).started
        made = self._client.create_run(experiment_id, start_time=started, tags=tags, run_name=self._search)
        run_id: str = made.info.run_id
        try:
            for name, text in self._spec_files().items():
                self._client.log_text(run_id, text, name)
            log(self._client, run_id, params=self._spec_params(), tags=spec_tags(self._spec))
        except BaseException:  # the artifacts cannot be written: the search is rejected and leaves no run
            with contextlib.suppress(Exception):
                self._client.set_terminated(run_id, status=STATUS[Outcome.FAILED])
                self._client.delete_run(run_id)
            raise
        return False, experiment_id, run_id

    def _open_experiment(self, uri: str, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            require_experiment(experiment, uri)
            return str(experiment.experiment_id)
        # A server decides where artifacts are stored. For a local database, MLflow's default is ./mlruns, which later
        # MLflow commands in this directory would mistake for a file store.
        location = None if uri.startswith("http") else (Path.cwd() / "mlartifacts").as_uri()
        try:
            # The kind determines the views of MLflow's UI: without it, MLflow shows those for GenAI experiments.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return self._client.create_experiment(name, artifact_location=location, tags=kind)
        except mlflow.MlflowException:  # another search has just created the experiment
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def _spec_files(self) -> dict[str, str]:
        spec = self._spec.model_copy(update={"storage": None})  # an Optuna storage URL may hold a password
        return {SPEC_FILE: dump(spec), schema.SPEC: spec.model_dump_json()}

    def _spec_params(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._spec.short().items() if name not in EXTENDABLE}

    def describe(self, corpus: EncodedCorpus, tags: dict[str, str], inspection: Inspection | None = None) -> None:
        """Describe the data that trials learn from, and its provenance; `deliver` writes the description.

        inspection: of the texts, unless it is already recorded.
        """
        counts = {f"num_{split}": float(len(getattr(corpus, split).labels_N)) for split in schema.SPLITS} | {
            "num_classes": float(len(corpus.classes)),
            "num_words": float(len(corpus.vocabulary)),
        }
        if corpus.num_train_held < len(corpus.train):
            counts[schema.NUM_FITTED] = float(corpus.num_train_held)
        if corpus.label_separator is None:
            shares_C = np.bincount(corpus.test.labels_N, minlength=len(corpus.classes)) / max(1, len(corpus.test))
            counts[schema.MAJORITY_SHARE] = float(shares_C.max())
            tags = tags | {schema.MAJORITY: corpus.classes[shares_C.argmax()]}
            tags |= {schema.POSITIVE_CLASS: corpus.classes[1]} if len(corpus.classes) == 2 else {}
        self.provenance = tags
        self._counts = [Metric(k, v, now_ms(), 0) for k, v in counts.items()]
        self._dataset = dataset(self._spec.corpus, corpus.digest, counts)
        if inspection and self._spec.texts != "all":
            inspection = inspection.without_texts()
        if inspection:
            lines = "".join(f"{line}\n" for line in inspected.lines(inspection))
            self._files |= {inspected.FILE: lines, inspected.RECORD: inspection.to_json()}

    def deliver(self) -> None:
        """Write the description, and mark the search as running."""
        self._client.update_run(self.run_id, status="RUNNING")
        self._write(Outcome.RUNNING)
        self.log_dataset(self.run_id)

    def log_dataset(self, run_id: str) -> None:
        """Record the dataset of a run, if it was described; repeating this changes nothing."""
        if self._dataset:
            self._client.log_inputs(run_id, [self._dataset])

    def close(self, outcome: Outcome) -> None:
        """Write all remaining data and end the run, at the time at which its last trial ended."""
        self._write(outcome)
        ended = max((trial.last_event or 0 for trial in self._studies.trials()), default=0)
        self._client.set_terminated(self.run_id, status=STATUS[outcome], end_time=ended or None)

    def _write(self, outcome: Outcome) -> None:
        tags = self.provenance | spec_tags(self._spec) | stop_tags(self._studies) | {schema.OUTCOME: outcome.value}
        log(self._client, self.run_id, self._counts, params=self._params, tags=tags)
        self._counts, self._params = [], {}
        self._log_files()

    def _log_files(self) -> None:
        for name in list(self._files):
            self._client.log_text(self.run_id, self._files[name], name)
            del self._files[name]
