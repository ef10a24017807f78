"""The Ray cluster that a search runs on: the connection, the room that it has for trials, whether it is fit for one.

A cluster changes while a search runs: spot nodes are lost, autoscaled ones come and go. Nothing here remembers nodes.
"""

import importlib.metadata
import logging
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
import yaml
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data.encode import EncodedCorpus
from models import kernels
from search import checkpoints, record
from search.spec import Resources, Spec
from search.studies import Studies, StudyCallback, StudySearcher, Trial
from search.trained import load_corpus

#: What Ray's cluster launcher leaves on the head: cluster.yaml with everything filled in.
LAUNCHED = Path("~/ray_bootstrap_config.yaml")
#: In Ray's message when a worker was lost because its machine was.
NODE_LOST = "its node has died"

#: File systems that one machine alone sees, unless it serves them to others.
OWN_DISKS = frozenset({"ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs"})

PROBE_SECONDS = 90.0  # the first one on a node starts Python there and imports torch

# Glibc would give memory back after every iteration and fault it in again: 10 to 20 % of a small model's time. What it
# keeps it has to keep in one place: every trial is a new thread and would leave another heap behind, until a worker has
# one or two gigabytes. The largest blocks, of evaluation and of long texts, are not kept.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "500000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}


@contextmanager
def connection(address: str | None) -> Iterator[None]:
    """Ray on this machine, or a connection to a running cluster, until the end. Raises ValueError without one."""
    root = Path(__file__).parent.parent
    # Below ERROR, Ray and Tune speak of files that we tell them not to write.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # Workers import this project whatever directory the command was started in.
        variables = {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
        ray.init("local", include_dashboard=False, runtime_env={"env_vars": variables | _ALLOCATOR}, **options)
    else:
        if address.startswith("ray://"):
            raise ValueError(f"--address: a search runs on the cluster itself; got {address}; see `submit`")
        # The driver's own code travels to every node, so that all run the same.
        code = [str(root / package) for package in ("search", "models", "data")]
        try:
            ray.init(address, runtime_env={"env_vars": _ALLOCATOR, "py_modules": code}, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            problem = " ".join(str(error).split())[:300]
            raise ValueError(f"--address: no Ray cluster can be used at {address!r}: {problem}") from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Node:
    """A machine of the cluster that is up."""

    id: str
    address: str
    cpu: float
    gpu: float
    memory: float  # bytes
    here: bool  # the driver runs on it

    def fits(self, wanted: Resources) -> int:
        """How many trials it runs at once."""
        return num_fitting(wanted, self.cpu, self.gpu)


def num_fitting(wanted: Resources, cpu: float, gpu: float) -> int:
    """How many trials fit so many cores and cards."""
    return min(int(has / each + 1e-9) for has, each in ((cpu, wanted.cpu), (gpu, wanted.gpu)) if each)


def nodes() -> list[Node]:
    """The machines that are up, this one first."""
    own = ray.get_runtime_context().get_node_id()
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            found.append(
                Node(
                    node["NodeID"],
                    node["NodeManagerAddress"],
                    has.get("CPU", 0.0),
                    has.get("GPU", 0.0),
                    has.get("memory", 0.0),
                    node["NodeID"] == own,
                )
            )
    return sorted(found, key=lambda node: (not node.here, node.address))


def num_autoscaled(wanted: Resources, address: str | None, launched: Path = LAUNCHED) -> int:
    """How many trials fit the workers that the cluster launcher's autoscaler may start, 0 without one.

    address: None when Ray runs on this machine alone, whatever was launched here.
    """
    path = launched.expanduser()
    if address is None or not path.is_file():
        return 0
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    left, room = int(config.get("max_workers", 0)), 0
    types = [
        (num_fitting(wanted, has.get("CPU", 0), has.get("GPU", 0)), int(kind.get("max_workers", left)))
        for name, kind in config.get("available_node_types", {}).items()
        for has in [kind.get("resources", {})]
        if name != config.get("head_node_type") and (wanted.gpu or not has.get("GPU"))  # no cards for CPU trials
    ]
    for fits, most in sorted(types, reverse=True):
        room += fits * min(most, left)
        left -= min(most, left)
    return room


class Room:
    """How many trials may run or wait for a node: those that fit the nodes that are up, or more while more may come.

    A spec's `concurrency` counts as it is. Raises ValueError when a trial fits no node, now or autoscaled.
    """

    def __init__(self, spec: Spec, address: str | None) -> None:
        self._spec = spec
        self._autoscaled = num_autoscaled(spec.resources, address)
        self._known, self._until = 0, 0.0
        up = nodes()
        if not self._autoscaled and not any(node.fits(spec.resources) for node in up):
            wanted = spec.resources
            raise ValueError(
                f"resources: a trial wants {wanted.cpu:g} CPU and {wanted.gpu:g} GPU; no node has more than "
                f"{max(node.cpu for node in up):g} CPU and {max(node.gpu for node in up):g} GPU"
            )

    def __call__(self) -> int:
        if time.monotonic() >= self._until:
            fits = sum(node.fits(self._spec.resources) for node in nodes())
            self._known = self._spec.concurrency or max(fits, self._autoscaled)
            self._until = time.monotonic() + 1.0
        return self._known


class ClusterSearcher(StudySearcher):
    """Asks the studies for as many trials as there is room for, and again for those whose nodes were lost."""

    def __init__(self, studies: Studies, room: Callable[[], int]) -> None:
        super().__init__(studies)
        self._room = room
        self._running: set[str] = set()  # by Tune's ids
        self._lost: list[Trial] = []
        self._asked_all = False

    def lost(self, trial: Trial) -> None:
        """Its node is gone, and Tune has given it up."""
        self._lost.append(trial)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if len(self._running) >= max(1, self._room()):
            return None
        if self._lost and not self._studies.stopping:
            trial = self._lost.pop()
            self._studies.restarted(trial)
            config: Any = trial.config
        elif self._asked_all and self._running and not self._studies.stopping:
            return None  # Tune takes an end for final, and one of those that run may be lost yet
        else:
            config = super().suggest(trial_id)
            if config == Searcher.FINISHED:
                self._asked_all = True
                return None if self._running and not self._studies.stopping else config
        self._running.add(trial_id)
        return config

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)


class ClusterCallback(StudyCallback):
    """A trial whose node was lost goes on elsewhere, and that is none of its retries: nothing was wrong with it."""

    def __init__(self, studies: Studies, searcher: ClusterSearcher) -> None:
        super().__init__(studies)
        self._searcher = searcher

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if _node_was_lost(trial):
            trial.max_failures += 1
        super().on_trial_recover(iteration, trials, trial, **info)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if _node_was_lost(trial):
            self._searcher.lost(self._studies.live(trial.config))
        else:
            super().on_trial_error(iteration, trials, trial, **info)


def _node_was_lost(trial: Any) -> bool:
    """Whether that is what ended the last attempt of a Tune trial."""
    raised = Path(trial.error_file).read_text(encoding="utf-8", errors="replace") if trial.error_file else ""
    return NODE_LOST in raised.rpartition("Failure # ")[2]


def file_system(path: Path) -> str:
    """The kind of file system that a path is on, as Linux names it: 'ext4', 'nfs4'; '' where that cannot be told."""
    mounts = Path("/proc/mounts")
    if not mounts.is_file():
        return ""
    kinds = dict(line.split()[1:3] for line in mounts.read_text(encoding="utf-8").splitlines())
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


def versions(names: Sequence[str]) -> dict[str, str]:
    """Of Python and these packages here, without the part that says for which processor torch was built."""
    found = {name: importlib.metadata.version(name).partition("+")[0] for name in names}
    return found | {"python": platform.python_version()}


def look(names: Sequence[str], folder: checkpoints.Folder, node_id: str, corpus: EncodedCorpus | None) -> Seen:
    """Runs on each node: the versions of these packages, a file read and one written back, and the corpus."""
    import search.trainable  # noqa: F401  what a trial imports

    storage = None
    try:
        found = checkpoints.load_text(folder, DRIVER)
        if found is None:
            storage = "does not see it"
        else:
            checkpoints.save_text(folder, node_id, found)
    except OSError as error:
        storage = f"cannot write there ({error.strerror or str(error)[:200]})"
    return Seen(versions(names), None, storage, None if corpus is None else corpus.digest, kernels.name())


def ask_nodes(up: Sequence[Node], folder: checkpoints.Folder, corpus: EncodedCorpus | None) -> list[Seen]:
    """What each of these nodes says; they are asked at once, without waiting for a core to be free."""
    from search.tracking import LIBRARIES

    shared = ray.put(corpus)
    remote = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            LIBRARIES, folder, node.id, shared
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
            said.append(Seen({}, f"cannot run the project: {last[:200]}; install requirements.txt there"))
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
        problem = error.strerror or str(error)[:200]
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
    from search.tracking import LIBRARIES

    if not up:
        yield Line("warn", "versions", "no worker is up to be asked; a check while one is says whether all are equal")
        return
    mine = versions(LIBRARIES)
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
    """The quick part, before a search: raises ValueError when the cluster is not fit for it."""
    lines = list(_check_nodes(spec, address, root, None))
    if failed := [f"{line.what}: {line.text}" for line in lines if line.status == "fail"]:
        raise ValueError("\n".join(failed))
    for line in lines:
        if line.status == "warn":
            warn(f"{line.what}: {line.text}")


def check(spec: Spec, address: str | None, searches: Path, uri: str) -> Iterator[Line]:
    """Everything that a search needs of the cluster that this process is connected to, a line each.

    searches: where its folder would be made.
    """
    from search.tracking import read_runs

    try:
        corpus = load_corpus(spec)
    except ValueError as error:
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
    except ValueError as error:
        yield Line("fail", "MLflow", str(error))


def _addresses(up: Sequence[Node]) -> str:
    shown = ", ".join(node.address for node in up[:5])
    return shown if len(up) <= 5 else f"{shown} and {len(up) - 5} more"


def still_up() -> str:
    """What to tell the user of a cluster when a search has ended on it."""
    up = nodes()
    listed = ", ".join(f"{node.address} ({node.cpu:g} CPU{f', {node.gpu:g} GPU' if node.gpu else ''})" for node in up)
    return f"{len(up)} nodes: {listed}"
