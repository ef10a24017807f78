"""The MLflow run of a search itself, the parent of its trials' runs: what was searched, on what, and how it ended."""

import contextlib
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import Metric, Param

from data.encoded import EncodedCorpus
from data.inspecting.findings import Inspection
from search.base import inspected, record
from search.base.record import Outcome
from search.spec.read import SPEC_FILE, dump
from search.study.studies import Studies
from search.track.entities import STATUS, log, now_ms
from search.train.metrics import declaration


class OwnRun:
    """A search's own run, found or made, with its spec. What cannot be written is kept here for a later `deliver`.

    found: whether it was there already.
    """

    def __init__(self, client: mlflow.MlflowClient, uri: str, studies: Studies) -> None:
        self._client, self._studies, self._search, self._spec = client, studies, studies.search, studies.spec
        self.provenance: dict[str, str] = {}  # its tags
        self._counts: list[Metric] = []  # of its data, where they could not be written
        self._files: dict[str, str] = {}  # what is found out about its texts, likewise
        self.experiment_id = self._open_experiment(uri, self._spec.name)
        self.found, self.run_id = self._open()

    def _open_experiment(self, uri: str, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return experiment.experiment_id
        # A server decides by itself where artifacts go; MLflow's default for a local database is ./mlruns, which
        # makes later MLflow commands in this directory take it for a file store.
        location = None if uri.startswith("http") else (Path.cwd() / "mlartifacts").as_uri()
        try:
            # The kind decides which views MLflow's UI opens with: this is no GenAI experiment.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return self._client.create_experiment(name, artifact_location=location, tags=kind)
        except mlflow.MlflowException:  # another search has just created it
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return experiment.experiment_id

    def _open(self) -> tuple[bool, str]:
        """The search's own run: whether it was there already, and its id."""
        found = self._client.search_runs(
            [self.experiment_id],
            f"tags.`{record.SEARCH}` = '{self._search}' and tags.`{record.KIND}` = '{record.KIND_SEARCH}'",
        )
        if found:
            if not found[0].data.params:  # its driver died at the next line but one
                self._write_spec(found[0].info.run_id)
            return True, found[0].info.run_id
        tags = {
            record.KIND: record.KIND_SEARCH,
            record.SEARCH: self._search,
            record.METRIC: self._spec.metric,
            record.OUTCOME: Outcome.RUNNING.value,
            record.FOLDER: str(self._studies.folder.absolute()),
            **({record.METRICS: declaration(self._spec.metrics)} if self._spec.metrics else {}),
            **({record.CONFIRMS: self._spec.confirms} if self._spec.confirms else {}),
            **({record.SIZES_OF: self._spec.sizes_of} if self._spec.sizes_of else {}),
        }
        run_id: str = self._client.create_run(self.experiment_id, tags=tags, run_name=self._search).info.run_id
        try:
            self._write_spec(run_id)
        except BaseException:  # its artifacts cannot be written: the search is refused, and was none
            with contextlib.suppress(Exception):
                self._client.set_terminated(run_id, status=STATUS[Outcome.FAILED])
                self._client.delete_run(run_id)
            raise
        return False, run_id

    def _write_spec(self, run_id: str) -> None:
        spec = self._spec.model_copy(update={"storage": None})  # an Optuna storage URL may hold a password
        self._client.log_text(run_id, dump(spec), SPEC_FILE)
        self._client.log_text(run_id, spec.model_dump_json(), record.SPEC)
        self._client.log_batch(run_id, params=[Param(k, str(v)) for k, v in spec.short().items()])

    def describe(self, corpus: EncodedCorpus, tags: dict[str, str], inspection: Inspection | None = None) -> None:
        """Record on the search's run, which is running now, what its trials learn from, and their provenance.

        inspection: what is found out about its texts, where that is not on record yet.
        """
        counts = {f"num_{split}": float(len(getattr(corpus, split).labels_N)) for split in record.SPLITS} | {
            "num_classes": float(len(corpus.classes)),
            "num_words": float(len(corpus.vocabulary)),
        }
        if corpus.label_separator is None:
            shares_C = np.bincount(corpus.test.labels_N, minlength=len(corpus.classes)) / max(1, len(corpus.test))
            counts[record.MAJORITY_SHARE] = float(shares_C.max())
            tags = tags | {record.MAJORITY: corpus.classes[shares_C.argmax()]}
            tags |= {record.POSITIVE_CLASS: corpus.classes[1]} if len(corpus.classes) == 2 else {}
        self.provenance = tags
        self._counts = [Metric(k, v, now_ms(), 0) for k, v in counts.items()]
        if inspection and self._spec.texts != "all":
            inspection = inspection.without_texts()
        if inspection:
            lines = "".join(f"{line}\n" for line in inspected.lines(inspection))
            self._files = {inspected.FILE: lines, inspected.RECORD: inspection.to_json()}

    def deliver(self) -> None:
        """Write what was described: the search is running now."""
        self._client.update_run(self.run_id, status="RUNNING")
        tags = self.provenance | {record.OUTCOME: Outcome.RUNNING.value}
        log(self._client, self.run_id, self._counts, tags=tags)
        self._counts = []
        self._log_files()

    def close(self, outcome: Outcome) -> None:
        """End it, with what could not be written before."""
        log(self._client, self.run_id, self._counts, tags=self.provenance | {record.OUTCOME: outcome.value})
        self._log_files()
        self._client.set_terminated(self.run_id, status=STATUS[outcome])

    def _log_files(self) -> None:
        for name in list(self._files):
            self._client.log_text(self.run_id, self._files[name], name)
            del self._files[name]
