"""A table of recorded runs, for simulating searches: the scores of configurations at every report, on several seeds.

A Parquet file with a row per report of a run, in the order of recording:
    architecture, configuration: the number of a random configuration of the architecture, from 0.
    repetition: the number of the run, from 0, among those that differ only in their seeds.
    step: the number of the report, from 1. diverged: the reason, if the run ended with this report by diverging.
    seconds: CPU time spent so far. num_parameters: trainable parameters.
    train_*, val_*, test_*: metrics of this report, including those on test.
The metadata of its schema contain the hyperparameters (`configurations`), the recorded `spec` and `provenance`.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.base.errors import UserError
from data.base.files import write_whole
from search.base import schema
from search.spec import read as specs
from search.spec.spec import Spec
from search.train.length import Length
from search.train.metrics import split_metric
from search.train.training import Result

if TYPE_CHECKING:
    import pandas as pd

SPEC, CONFIGURATIONS, PROVENANCE = b"spec", b"configurations", b"provenance"
ROW = ["architecture", "configuration", "repetition", "step", "diverged", "seconds", schema.NUM_PARAMETERS]


@dataclass(frozen=True)
class Run:
    """A recorded run. seconds, metrics: one entry per report; metrics of all splits."""

    hyperparameters: dict[str, Any]
    num_parameters: float
    seconds: Sequence[float]
    metrics: Sequence[Mapping[str, float]]
    diverged: str | None = None

    def results(self, metric: str, length: Length) -> list[Result]:
        """The reports of a trial that repeats this run, in a search that ranks by `metric`."""
        sign = 1 if split_metric(metric)[1].maximize else -1
        best: dict[str, float] = {}
        best_step, results = 0, []
        for step, (seconds, metrics) in enumerate(zip(self.seconds, self.metrics, strict=True), 1):
            diverged = self.diverged if step == len(self.metrics) else None
            if not diverged and (not best or sign * metrics[metric] > sign * best[metric]):
                best_step, best = step, dict(metrics)
            ended = not diverged and length.over(step, best_step)
            shown = best if ended else _without_test(best)
            seen = _without_test(metrics) | {schema.NUM_PARAMETERS: self.num_parameters}
            results.append(Result(step, seen, [], best_step, shown, diverged, seconds))
            if ended:
                break
        return results


@dataclass(frozen=True)
class Table:
    """A table in memory.

    spec: of the recording; its length, corpus and space apply to all runs. runs: architecture -> number of the
    configuration -> its runs, one per seed. provenance: as in the tags of a trial.
    """

    spec: Spec
    runs: Mapping[str, Mapping[int, Sequence[Run]]]
    provenance: Mapping[str, str]

    @cached_property
    def metrics(self) -> list[str]:
        """The names of the recorded metrics."""
        of_architectures = self.runs.values()
        run = next(
            run for by_number in of_architectures for runs in by_number.values() for run in runs if run.metrics[0]
        )
        return sorted(run.metrics[0])

    @property
    def summary(self) -> str:
        """The table in one line, for people."""
        counts = ", ".join(f"{name} {len(by_number)}" for name, by_number in self.runs.items())
        seeds = max(len(runs) for by_number in self.runs.values() for runs in by_number.values())
        spec = self.spec
        texts = f"{spec.limit:,} texts of {spec.corpus}" if spec.limit else spec.corpus
        reports = f"{spec.epochs} epochs of {spec.reports_per_epoch} reports"
        return f"Configurations on {seeds} seeds, on {texts}, {reports}: {counts}"


def write(frame: "pd.DataFrame", configurations: Any, spec: Spec, provenance: Mapping[str, str], path: Path) -> None:
    """Writes a table. configurations: architecture -> number -> hyperparameters."""
    import pyarrow as pa
    from pyarrow import parquet

    metadata = {SPEC: specs.dump(spec), CONFIGURATIONS: json.dumps(configurations), PROVENANCE: json.dumps(provenance)}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd", compression_level=19)
    with write_whole(path) as file:
        file.write(sink.getvalue().to_pybytes())


def read(path: Path) -> Table:
    """Reads the table in a file. Raises UserError, with a one-line message, for any other file."""
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        raise UserError(f"no table {path}; one comes with the source: benchmarks/table/imdb-5000.parquet")
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a table of recorded runs: {' '.join(str(error).split())[:120]}") from None
    metadata = table.schema.metadata or {}
    if missing := [name for name in ROW if name not in table.column_names] or {SPEC, CONFIGURATIONS} - {*metadata}:
        raise UserError(f"{path} is not a table of recorded runs: it lacks {', '.join(sorted(map(_text, missing)))}")
    spec = specs.load(metadata[SPEC], str(path))
    configurations = json.loads(metadata[CONFIGURATIONS])
    measured = [name for name in table.column_names if name.startswith(schema.SPLITS)]
    rows: dict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in table.to_pylist():
        rows[row["architecture"], row["configuration"], row["repetition"]].append(row)
    runs: dict[str, dict[int, list[Run]]] = {name: {} for name in spec.architectures}
    for (architecture, number, _), reports in rows.items():
        run = Run(
            configurations[architecture][str(number)],
            reports[0][schema.NUM_PARAMETERS],
            [row["seconds"] for row in reports],
            [{name: row[name] for name in measured if row[name] is not None} for row in reports],
            reports[-1]["diverged"],
        )
        runs.setdefault(architecture, {}).setdefault(number, []).append(run)
    runs = {name: by_number for name, by_number in runs.items() if by_number}
    if not runs:
        raise UserError(f"{path} holds no run yet")
    return Table(spec, runs, json.loads(metadata.get(PROVENANCE, b"{}")))


def simulated(spec: Spec, table: Table) -> Spec:
    """Adapts a spec to a table: keys about searching are kept, keys about corpus, space and training are the table's.

    Raises UserError for keys that the table cannot support.
    """
    if spec.sampler == "grid":
        raise UserError(
            "sampler: nothing of a grid is random, so there is nothing to simulate; choose from random, tpe, gp and "
            "cmaes"
        )
    architectures = [name for name in spec.architectures if name in table.runs]
    if not architectures:
        raise UserError(
            f"architectures: should be among those of the table, {', '.join(table.runs)}; got "
            f"{', '.join(spec.architectures)}"
        )
    if spec.metric not in table.metrics:
        known = [name for name in table.metrics if name.startswith("val_")]
        raise UserError(f"metric: should be one that the table records, {', '.join(known)}; got {spec.metric}")
    recorded = {"corpus", "limit", "space", "epochs", "reports_per_epoch", "batch_size", "max_grad_norm", "max_words"}
    return replace_keys(
        spec,
        {key: getattr(table.spec, key) for key in recorded}
        | {"architectures": architectures, "baselines": [], "time_budget": None, "storage": None, "name": "simulated"},
    )


def replace_keys(spec: Spec, keys: Mapping[str, Any]) -> Spec:
    return specs.validate(spec.model_dump() | dict(keys), files=False)


def _without_test(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("test_")}


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
