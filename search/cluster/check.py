"""Is a cluster fit for a search? Nodes, versions, room for trials, checkpoints, corpus, MLflow: a line each."""

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
from search.base import record
from search.cluster.capacity import Node, nodes, num_autoscaled
from search.spec.read import load_corpus
from search.spec.spec import Spec
from search.track.provenance import versions
from search.train import checkpoints

#: File systems that one machine alone sees, unless it serves them to others.
OWN_DISKS = frozenset({"ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs"})


PROBE_SECONDS = 90.0  # the first one on a node starts Python there and imports torch


def file_system(path: Path) -> str:
    """The kind of file system that a path is on, as its system names it ('ext4', 'nfs4'), or ''."""
    kinds = {disk.mountpoint: disk.fstype for disk in psutil.disk_partitions(all=True)}
    places = (path.absolute(), *path.absolute().parents)
    return next((kinds[str(place)] for place in places if str(place) in kinds), "")


@dataclass(frozen=True)
class Line:
    """One thing that was checked; `text` says what to do where it is not ok."""

    status: Literal["ok", "warn", "fail"]
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.status:<5} {self.what:<12} {self.text}"


@dataclass(frozen=True)
class Seen:
    """What a node says of itself; `problem` instead when it cannot run this project."""

    versions: dict[str, str]
    problem: str | None = None
    storage: str | None = None  # why the probe's folder cannot be used
    digest: str | None = None  # of the corpus as it arrived
    kernels: str | None = None  # what does the models' work there


DRIVER = "driver"  # the name of its file in a folder that is tried


def _releases() -> dict[str, str]:
    """Of Python and the libraries here, without the part that says for which processor torch was built."""
    return {name: version.partition("+")[0] for name, version in versions().items()}


def look(folder: checkpoints.Folder, node_id: str, corpus: EncodedCorpus | None) -> Seen:
    """Runs on each node: the versions of the libraries, a file read and one written back, and the corpus."""
    from search.tune import trainable  # noqa: F401  what a trial imports

    storage = None
    try:
        found = checkpoints.load_text(folder, DRIVER)
        if found is None:
            storage = "does not see it"
        else:
            checkpoints.save_text(folder, node_id, found)
    except OSError as error:
        storage = f"cannot write there ({error.strerror or in_short(str(error))})"
    return Seen(_releases(), None, storage, None if corpus is None else corpus.digest, kernels.name())


def ask_nodes(up: Sequence[Node], folder: checkpoints.Folder, corpus: EncodedCorpus | None) -> list[Seen]:
    """What each of these nodes says; they are asked at once, without waiting for a core to be free."""
    shared = ray.put(corpus)
    remote = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            folder, node.id, shared
        )
        for node in up
    ]
    deadline = time.monotonic() + PROBE_SECONDS
    said = []
    for answer in asked:
        try:
            said.append(ray.get(answer, timeout=max(0.0, deadline - time.monotonic())))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(answer, force=True)
            said.append(Seen({}, f"no answer in {PROBE_SECONDS:.0f} s; is it overloaded, or its ports closed?"))
        except ray.exceptions.RayError as error:
            last = (str(error).strip().splitlines() or [repr(error)])[-1]
            said.append(Seen({}, f"cannot run the project: {in_short(last)}; install requirements.txt there"))
    return said


def _check_nodes(
    spec: Spec, address: str | None, root: checkpoints.Folder, corpus: EncodedCorpus | None
) -> Iterator[Line]:
    everything = nodes()
    up = [node for node in everything if node.fits(spec.resources)]
    autoscaled = num_autoscaled(spec.resources, address)
    cpu, gpu = sum(node.cpu for node in everything), sum(node.gpu for node in everything)
    memory = sum(node.memory for node in everything) / 1e9
    yield Line("ok", "nodes", f"{len(everything)} up: {cpu:g} CPU, {gpu:g} GPU, {memory:.0f} GB for workers")
    yield _check_room(spec, up, everything, autoscaled)
    place = root / f"check-{uuid.uuid4().hex[:8]}"
    try:
        checkpoints.save_text(place, DRIVER, "seen")
        said = ask_nodes(up, place, corpus)
        yield from _check_versions(up, said)
        yield _check_storage(root, place, up, said, autoscaled)
    except OSError as error:
        problem = error.strerror or in_short(str(error))
        yield Line("fail", "checkpoints", f"{root} cannot be written here: {problem}; does it exist, and is it yours?")
        return
    finally:
        checkpoints.remove(place)
    if corpus is not None and not up:
        yield Line("ok", "corpus", f"{corpus.name}: this node loads it; no worker is up to be sent it")
    elif corpus is not None:
        lacking = [node.address for node, seen in zip(up, said, strict=True) if seen.digest != corpus.digest]
        if lacking:
            yield Line("fail", "corpus", f"{corpus.name} has not arrived on {', '.join(lacking)}; see their memory")
        else:
            yield Line("ok", "corpus", f"{corpus.name}: this node loads it, and each gets it once ({_addresses(up)})")


def _check_storage(
    root: checkpoints.Folder,
    place: checkpoints.Folder,
    up: Sequence[Node],
    said: Sequence[Seen],
    autoscaled: int,
) -> Line:
    """Whether every node that runs trials has read the driver's file in `place` and written one back."""
    blind = [
        f"{node.address} {seen.storage or 'writes what is not seen here'}"
        for node, seen in zip(up, said, strict=True)
        if not seen.problem and (seen.storage or checkpoints.load_text(place, node.id) is None)
    ]
    if autoscaled and all(node.here for node in up) and isinstance(root, Path) and file_system(root) in OWN_DISKS:
        blind.append("workers that are started later do not see it; if they do, start one first")
    if blind:
        return Line(
            "fail",
            "checkpoints",
            f"checkpoints in {root} are on one node ({'; '.join(blind)}), and a trial whose node is lost could not go "
            "on elsewhere: storage_path in the spec should be a folder that all nodes share (NFS), s3://bucket/folder "
            "or gs://bucket/folder",
        )
    if not up:
        return Line("warn", "checkpoints", f"no worker is up to try {root}; each has to reach it when it comes")
    return Line("ok", "checkpoints", f"{root}: written and read by {_addresses(up)}")


def _check_room(spec: Spec, up: Sequence[Node], everything: Sequence[Node], autoscaled: int) -> Line:
    wanted, fits = spec.resources, sum(node.fits(spec.resources) for node in up)
    each = f"{wanted.cpu:g} CPU" + (f" and {wanted.gpu:g} GPU" if wanted.gpu else "")
    if not fits and not autoscaled:
        most = f"{max(node.cpu for node in everything):g} CPU and {max(node.gpu for node in everything):g} GPU"
        return Line("fail", "trials", f"each wants {each}; no node has more than {most}: lower resources or add nodes")
    room = f"{each} each: {fits} at once now" + (f", {autoscaled} on autoscaled workers" if autoscaled else "")
    if spec.concurrency and spec.concurrency > max(fits, autoscaled):
        return Line("warn", "trials", f"{room}; concurrency {spec.concurrency} waits for more nodes")
    idle = [node.address for node in everything if not node.here and node not in up]
    if idle:
        return Line("warn", "trials", f"{room}; none fits {', '.join(idle)}")
    return Line("ok", "trials", room)


def _check_versions(up: Sequence[Node], said: Sequence[Seen]) -> Iterator[Line]:
    if not up:
        yield Line("warn", "versions", "no worker is up to be asked; a check while one is says whether all are equal")
        return
    mine = _releases()
    wrong = []
    for node, seen in zip(up, said, strict=True):
        others = [f"{name} {have} (here {mine[name]})" for name, have in seen.versions.items() if have != mine[name]]
        if seen.problem or others:
            wrong.append(Line("fail", "versions", f"{node.address}: {seen.problem or ', '.join(others)}"))
    if wrong:
        yield from wrong
        yield Line("fail", "versions", "make them equal: install the same requirements.txt on every node")
    else:
        shown = ", ".join(f"{name} {mine[name]}" for name in ("python", "ray", "torch", "optuna"))
        yield Line("ok", "versions", f"{shown}, equal everywhere; every worker imports this code")
    if slow := [node.address for node, seen in zip(up, said, strict=True) if seen.kernels == kernels.TORCH]:
        yield Line("warn", "kernels", f"not compiled on {', '.join(slow)}: trials take longer there; python -m models")


def require_fit(spec: Spec, address: str | None, root: checkpoints.Folder, warn: Callable[[str], None]) -> None:
    """The quick part, before a search: raises UserError when the cluster is not fit for it."""
    lines = list(_check_nodes(spec, address, root, None))
    if failed := [f"{line.what}: {line.text}" for line in lines if line.status == "fail"]:
        raise UserError("\n".join(failed))
    for line in lines:
        if line.status == "warn":
            warn(f"{line.what}: {line.text}")


def check(spec: Spec, address: str | None, searches: Path, uri: str) -> Iterator[Line]:
    """Everything that a search needs of the cluster that this process is connected to, a line each.

    searches: where its folder would be made.
    """
    from search.track.recorded import read_runs

    try:
        corpus = load_corpus(spec)
    except UserError as error:
        yield Line("fail", "corpus", str(error))
        corpus = None
    if spec.storage_path is None:
        root: checkpoints.Folder = next(path for path in (searches.absolute() / "x").parents if path.is_dir())
    else:
        root = checkpoints.place(spec.storage_path, "")
    yield from _check_nodes(spec, address, root, corpus)
    try:
        read_runs(uri, "")
        yield Line("ok", "MLflow", f"{record.without_password(uri)} answers; only this node writes it, no worker does")
    except UserError as error:
        yield Line("fail", "MLflow", str(error))


def _addresses(up: Sequence[Node]) -> str:
    shown = ", ".join(node.address for node in up[:5])
    return shown if len(up) <= 5 else f"{shown} and {len(up) - 5} more"
