"""The capacity of a Ray cluster: its nodes, and how many trials fit on them.

A cluster changes while a search runs (spot nodes are lost, autoscaled nodes come and go), so nodes are never cached for
more than a second.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import ray
import yaml

from data.base.errors import UserError
from search.spec.spec import Resources, Spec

#: The complete configuration that Ray's cluster launcher writes on the head node.
LAUNCHED = Path("~/ray_bootstrap_config.yaml")


@dataclass(frozen=True)
class Node:
    """A running machine of the cluster."""

    id: str
    address: str
    cpu: float
    gpu: float
    memory: float  # bytes
    here: bool  # whether the driver runs on it

    def fits(self, wanted: Resources) -> int:
        """The number of trials that it can run at a time."""
        return num_fitting(wanted, self.cpu, self.gpu)


def num_fitting(wanted: Resources, cpu: float, gpu: float) -> int:
    """The number of trials that fit on these numbers of cores and GPUs."""
    return min(int(has / needed + 1e-9) for has, needed in ((cpu, wanted.cpu), (gpu, wanted.gpu)) if needed)


def nodes() -> list[Node]:
    """The running machines, this one first."""
    this_node = ray.get_runtime_context().get_node_id()
    running = []
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            running.append(
                Node(
                    node["NodeID"],
                    node["NodeManagerAddress"],
                    has.get("CPU", 0.0),
                    has.get("GPU", 0.0),
                    has.get("memory", 0.0),
                    node["NodeID"] == this_node,
                )
            )
    return sorted(running, key=lambda node: (not node.here, node.address))


def num_autoscaled(wanted: Resources, address: str | None, launched: Path = LAUNCHED) -> int:
    """The number of trials that fit on all workers that the autoscaler may start; 0 without an autoscaler.

    address: None if Ray runs on this machine only.
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
        if name != config.get("head_node_type")
        and (wanted.gpu or not has.get("GPU"))  # CPU trials do not use GPU nodes
    ]
    for fits, most in sorted(types, reverse=True):
        room += fits * min(most, left)
        left -= min(most, left)
    return room


class Room:
    """The number of trials that may run, or wait for a node: as many as fit on the running nodes, or on the nodes that
    the autoscaler may start, whichever is more. `concurrency` in the spec overrides it.

    Other threads, such as that of the display, get the number that this one last had from Ray: they may outlive Ray.

    Raises UserError if a trial fits on no node, running or autoscaled.
    """

    def __init__(self, spec: Spec, address: str | None) -> None:
        self._spec = spec
        self._autoscaled = num_autoscaled(spec.resources, address)
        self._thread = threading.get_ident()
        self._known, self._until = 0, 0.0
        up = nodes()
        if not self._autoscaled and not any(node.fits(spec.resources) for node in up):
            wanted = spec.resources
            raise UserError(
                f"resources: should fit a node; a trial wants {wanted.cpu:g} CPU and {wanted.gpu:g} GPU; "
                f"no node has more than {max(node.cpu for node in up):g} CPU and {max(node.gpu for node in up):g} GPU"
            )

    def __call__(self) -> int:
        if threading.get_ident() == self._thread and time.monotonic() >= self._until:
            fits = sum(node.fits(self._spec.resources) for node in nodes())
            self._known = self._spec.concurrency or max(fits, self._autoscaled)
            self._until = time.monotonic() + 1.0
        return self._known


def still_up() -> str:
    """A line for the end of a search: the nodes of the cluster, which are still running."""
    up = nodes()
    listed = ", ".join(f"{node.address} ({node.cpu:g} CPU{f', {node.gpu:g} GPU' if node.gpu else ''})" for node in up)
    return f"{len(up)} nodes: {listed}"
