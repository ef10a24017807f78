"""Checks whether a cluster is ready for a search: nodes, versions, capacity, checkpoint folder, corpus, MLflow."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data.base.errors import UserError, in_short
from data.encoded import EncodedCorpus
from models.native import kernels
from search.base import mlflow_uri
from search.cluster.capacity import Node, nodes, num_autoscaled
from search.spec.read import load_corpus
from search.spec.spec import Spec
from search.track.provenance import versions
from search.train import checkpoints

#: Local file systems, which other machines do not see unless they are exported.
LOCAL_FILE_SYSTEMS = frozenset({"ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs"})

PROBE_SECONDS = 90.0  # the first probe on a node starts Python and imports torch


def file_system(path: Path) -> str:
    """The type of the file system of a path, such as 'ext4' or 'nfs4'; '' if unknown."""
    kinds = {disk.mountpoint: disk.fstype for disk in psutil.disk_partitions(all=True)}
    places = (path.absolute(), *path.absolute().parents)
    return next((kinds[str(place)] for place in places if str(place) in kinds), "")


@dataclass(frozen=True)
class Check:
    """The result of one check; `text` says what to do if it is not ok."""

    status: Literal["ok", "warn", "fail"]
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.status:<5} {self.what:<12} {self.text}"


@dataclass(frozen=True)
class NodeReport:
    """The report of a node about itself, or the problem, if it cannot run this project."""

    versions: dict[str, str]
    problem: str | None = None
    storage: str | None = None  # why the checkpoint folder cannot be used there
    digest: str | None = None  # the digest of the corpus as received
    kernels: str | None = None  # the name of the kernels that the node uses


DRIVER = "driver"  # the name of the driver's file in the probed folder


def _releases() -> dict[str, str]:
    """Versions of Python and the libraries on this machine, without torch's suffix for the processor."""
    return {name: version.partition("+")[0] for name, version in versions().items()}


def look(folder: checkpoints.Folder, node_id: str, corpus: EncodedCorpus | None) -> NodeReport:
    """Runs on every node: collects versions, reads the driver's file, writes one back, and receives the corpus."""
    from search.tune import worker  # noqa: F401  (to test the imports of a trial)

    storage = None
    try:
        content = checkpoints.load_text(folder, DRIVER)
        if content is None:
            storage = "does not see it"
        else:
            checkpoints.save_text(folder, node_id, content)
    except OSError as error:
        storage = f"cannot write there ({error.strerror or in_short(str(error))})"
    return NodeReport(_releases(), None, storage, None if corpus is None else corpus.digest, kernels.name())


def ask_nodes(up: Sequence[Node], folder: checkpoints.Folder, corpus: EncodedCorpus | None) -> list[NodeReport]:
    """The reports of these nodes, in order. All are queried in parallel, without waiting for free cores."""
    shared = ray.put(corpus)
    remote = ray.remote(num_cpus=0, max_retries=0)(look)
    pending = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            folder, node.id, shared
        )
        for node in up
    ]
    deadline = time.monotonic() + PROBE_SECONDS
    reports = []
    for reference in pending:
        try:
            reports.append(ray.get(reference, timeout=max(0.0, deadline - time.monotonic())))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(reference, force=True)
            reports.append(
                NodeReport({}, f"no answer in {PROBE_SECONDS:.0f} s; is it overloaded, or its ports closed?")
            )
        except ray.exceptions.RayError as error:
            last = (str(error).strip().splitlines() or [repr(error)])[-1]
            reports.append(NodeReport({}, f"cannot run the project: {in_short(last)}; install requirements.txt there"))
    return reports


def _check_nodes(
    spec: Spec, address: str | None, root: checkpoints.Folder, corpus: EncodedCorpus | None
) -> Iterator[Check]:
    everything = nodes()
    fitting = [node for node in everything if node.fits(spec.resources)]
    autoscaled = num_autoscaled(spec.resources, address)
    cpu, gpu = sum(node.cpu for node in everything), sum(node.gpu for node in everything)
    memory = sum(node.memory for node in everything) / 1e9
    yield Check("ok", "nodes", f"{len(everything)} up: {cpu:g} CPU, {gpu:g} GPU, {memory:.0f} GB for workers")
    yield _check_room(spec, fitting, everything, autoscaled)
    place = root / f"check-{uuid.uuid4().hex[:8]}"
    try:
        checkpoints.save_text(place, DRIVER, "seen")
        reports = ask_nodes(fitting, place, corpus)
        yield from _check_versions(fitting, reports)
        yield _check_storage(root, place, fitting, reports, autoscaled)
    except OSError as error:
        problem = error.strerror or in_short(str(error))
        yield Check("fail", "checkpoints", f"{root} cannot be written here: {problem}; does it exist, and is it yours?")
        return
    finally:
        checkpoints.remove(place)
    if corpus is not None and not fitting:
        yield Check("ok", "corpus", f"{corpus.name}: loaded on this node; no worker is running to receive it")
    elif corpus is not None:
        lacking = [
            node.address for node, report in zip(fitting, reports, strict=True) if report.digest != corpus.digest
        ]
        if lacking:
            yield Check("fail", "corpus", f"{corpus.name} has not arrived on {', '.join(lacking)}; check their memory")
        else:
            yield Check(
                "ok",
                "corpus",
                f"{corpus.name}: loaded on this node, and sent once to each node ({_addresses(fitting)})",
            )


def _check_storage(
    root: checkpoints.Folder,
    place: checkpoints.Folder,
    fitting: Sequence[Node],
    reports: Sequence[NodeReport],
    autoscaled: int,
) -> Check:
    """Whether every node that runs trials has read the driver's file in `place` and written one back."""
    blind = [
        f"{node.address} {report.storage or 'writes files that are not visible here'}"
        for node, report in zip(fitting, reports, strict=True)
        if not report.problem and (report.storage or checkpoints.load_text(place, node.id) is None)
    ]
    if (
        autoscaled
        and all(node.here for node in fitting)
        and isinstance(root, Path)
        and file_system(root) in LOCAL_FILE_SYSTEMS
    ):
        blind.append("workers that are started later are not expected to see it; if they do, start one first")
    if blind:
        return Check(
            "fail",
            "checkpoints",
            f"checkpoints in {root} are on one node ({'; '.join(blind)}), so a trial whose node is lost could not "
            "continue elsewhere: storage_path in the spec should be a folder that all nodes share (NFS), "
            "s3://bucket/folder or gs://bucket/folder",
        )
    if not fitting:
        return Check("warn", "checkpoints", f"no worker is running to test {root}; workers have to reach it")
    return Check("ok", "checkpoints", f"{root}: written and read by {_addresses(fitting)}")


def _check_room(spec: Spec, fitting: Sequence[Node], everything: Sequence[Node], autoscaled: int) -> Check:
    wanted, fits = spec.resources, sum(node.fits(spec.resources) for node in fitting)
    per_trial = f"{wanted.cpu:g} CPU" + (f" and {wanted.gpu:g} GPU" if wanted.gpu else "")
    if not fits and not autoscaled:
        most = f"{max(node.cpu for node in everything):g} CPU and {max(node.gpu for node in everything):g} GPU"
        return Check(
            "fail", "trials", f"each needs {per_trial}; no node has more than {most}: lower resources or add nodes"
        )
    room = f"{per_trial} each: {fits} at a time now" + (f", {autoscaled} on autoscaled workers" if autoscaled else "")
    if spec.concurrency and spec.concurrency > max(fits, autoscaled):
        return Check("warn", "trials", f"{room}; concurrency {spec.concurrency} waits for more nodes")
    idle = [node.address for node in everything if not node.here and node not in fitting]
    if idle:
        return Check("warn", "trials", f"{room}; none fits on {', '.join(idle)}")
    return Check("ok", "trials", room)


def _check_versions(fitting: Sequence[Node], reports: Sequence[NodeReport]) -> Iterator[Check]:
    if not fitting:
        yield Check("warn", "versions", "no worker is running; check again while one is, to compare versions")
        return
    expected = _releases()
    wrong = []
    for node, report in zip(fitting, reports, strict=True):
        others = [
            f"{name} {have} (here {expected[name]})" for name, have in report.versions.items() if have != expected[name]
        ]
        if report.problem or others:
            wrong.append(Check("fail", "versions", f"{node.address}: {report.problem or ', '.join(others)}"))
    if wrong:
        yield from wrong
        yield Check("fail", "versions", "make them equal: install the same requirements.txt on every node")
    else:
        listed = ", ".join(f"{name} {expected[name]}" for name in ("python", "ray", "torch", "optuna"))
        yield Check("ok", "versions", f"{listed}, equal everywhere; every worker imports this code")
    if slow := [node.address for node, report in zip(fitting, reports, strict=True) if report.kernels == kernels.TORCH]:
        yield Check("warn", "kernels", f"not compiled on {', '.join(slow)}: trials take longer there; python -m models")


def require_fit(spec: Spec, address: str | None, root: checkpoints.Folder, warn: Callable[[str], None]) -> None:
    """The quick checks before a search. Raises UserError if any fails.

    warn: callback for warnings.
    """
    checks = list(_check_nodes(spec, address, root, None))
    if failed := [f"{result.what}: {result.text}" for result in checks if result.status == "fail"]:
        raise UserError("\n".join(failed))
    for result in checks:
        if result.status == "warn":
            warn(f"{result.what}: {result.text}")


def check(spec: Spec, address: str | None, searches: Path, uri: str) -> Iterator[Check]:
    """Runs all checks on the cluster that this process is connected to.

    searches: the folder in which the search would create its folder.
    """
    from search.track.recorded import read_runs

    try:
        corpus = load_corpus(spec)
    except UserError as error:
        yield Check("fail", "corpus", str(error))
        corpus = None
    if spec.storage_path is None:
        root: checkpoints.Folder = next(path for path in (searches.absolute() / "x").parents if path.is_dir())
    else:
        root = checkpoints.place(spec.storage_path, "")
    yield from _check_nodes(spec, address, root, corpus)
    try:
        read_runs(uri, "")
        yield Check(
            "ok", "MLflow", f"{mlflow_uri.without_password(uri)} answers; only this node writes to it, workers do not"
        )
    except UserError as error:
        yield Check("fail", "MLflow", str(error))


def _addresses(some: Sequence[Node]) -> str:
    shown = ", ".join(node.address for node in some[:5])
    return shown if len(some) <= 5 else f"{shown} and {len(some) - 5} more"
