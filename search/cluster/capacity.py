"""The Ray cluster that a search runs on: the connection, the room that it has for trials, whether it is fit for one.

A cluster changes while a search runs: spot nodes are lost, autoscaled ones come and go. Nothing here remembers nodes.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import ray
import yaml

from data.base.errors import UserError
from search.spec.spec import Resources, Spec

#: What Ray's cluster launcher leaves on the head: cluster.yaml with everything filled in.
LAUNCHED = Path("~/ray_bootstrap_config.yaml")


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

    A spec's `concurrency` counts as it is. Raises UserError when a trial fits no node, now or autoscaled.
    """

    def __init__(self, spec: Spec, address: str | None) -> None:
        self._spec = spec
        self._autoscaled = num_autoscaled(spec.resources, address)
        self._known, self._until = 0, 0.0
        up = nodes()
        if not self._autoscaled and not any(node.fits(spec.resources) for node in up):
            wanted = spec.resources
            raise UserError(
                f"resources: should fit a node; a trial wants {wanted.cpu:g} CPU and {wanted.gpu:g} GPU; "
                f"no node has more than {max(node.cpu for node in up):g} CPU and {max(node.gpu for node in up):g} GPU"
            )

    def __call__(self) -> int:
        if time.monotonic() >= self._until:
            fits = sum(node.fits(self._spec.resources) for node in nodes())
            self._known = self._spec.concurrency or max(fits, self._autoscaled)
            self._until = time.monotonic() + 1.0
        return self._known


def still_up() -> str:
    """What to tell the user of a cluster when a search has ended on it."""
    up = nodes()
    listed = ", ".join(f"{node.address} ({node.cpu:g} CPU{f', {node.gpu:g} GPU' if node.gpu else ''})" for node in up)
    return f"{len(up)} nodes: {listed}"
