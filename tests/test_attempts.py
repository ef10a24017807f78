"""A worker that its driver takes for lost may go on: what it writes then destroys nothing, and what it is, is known."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from conftest import ROOT
from ray.cluster_utils import Cluster
from ray.exceptions import RayActorError

from search.base import schema
from search.run.folders import new_search
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.read import load_corpus
from search.spec.spec import Spec
from search.study.studies import Studies
from search.study.trial import Worker
from search.train import checkpoints
from search.train.stepping import alone
from search.tune.callback import node_was_lost
from search.tune.worker import run_on

OPTIONS = ["architectures=[mlp]", "baselines=none", "epochs=6"]
WORK = f"""
import sys, time
from pathlib import Path
from search.run.setting import make_setting
from search.spec import read as specs
from search.train import checkpoints
from search.train.stepping import alone
from search.tune.worker import run_on
spec, folder = specs.read("smoke", {OPTIONS!r}), Path(sys.argv[1])
config = {{"architecture": "mlp", "number": 0, "seed": 1}} | spec.default_point("mlp")
try:
    for result, problem in alone(run_on(config, specs.load_corpus(spec), make_setting(spec, folder), attempt=1)):
        print(result.step, flush=True)
        sys.stdin.readline()
except checkpoints.SupersededError as error:
    print("superseded:", error, flush=True)
"""


def config_of(spec: Spec) -> dict[str, Any]:
    return {schema.ARCHITECTURE: "mlp", schema.NUMBER: 0, schema.SEED: 1} | spec.default_point("mlp")


def test_a_worker_that_wakes_after_its_successor_destroys_nothing(tmp_path: Path) -> None:
    spec, folder = specs.read("smoke", OPTIONS), tmp_path / "checkpoints" / "mlp-0"
    folder.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as lost:
        assert lost.stdin
        assert lost.stdout
        assert lost.stdout.readline() == "1\n"
        lost.send_signal(signal.SIGSTOP)  # as a machine that is cut off, or swaps
        lost.stdin.write("\n" * 10)
        lost.stdin.flush()
        successor = alone(run_on(config_of(spec), load_corpus(spec), make_setting(spec, tmp_path), attempt=2))
        assert [next(successor)[0].step for _ in range(5)] == [1, 2, 3, 4, 5]  # from the checkpoint on
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        lost.send_signal(signal.SIGCONT)
        assert lost.stdout.readline() == "superseded: attempt 1 of mlp-0 goes on in another worker, or has ended\n"
        assert lost.wait(timeout=60) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert checkpoints.last_step(folder) == 5
    assert [result.step for result, _ in successor] == [6]
    assert checkpoints.last_step(folder) == 6


def test_an_attempt_writes_beside_a_later_one_and_removes_only_its_own(tmp_path: Path) -> None:
    """Even where the later one begins between its look and its writing."""
    folder = tmp_path / "mlp-0"
    checkpoints.save(folder, 1, {"epoch": 1})  # of a time before attempts had names
    checkpoints.begin(folder, 2)
    for epoch in (2, 3, 4):
        checkpoints.save(folder, epoch, {"epoch": epoch, "attempt": 2}, attempt=2)
    checkpoints.save(folder, 2, {"epoch": 2, "attempt": 1}, attempt=1)
    checkpoints.save(folder, 3, {"epoch": 3, "attempt": 1}, attempt=1)
    assert checkpoints.load_last(folder) == {"epoch": 4, "attempt": 2}
    with pytest.raises(checkpoints.SupersededError):
        checkpoints.begin(folder, 1)
    checkpoints.begin(folder, 3)
    checkpoints.save(folder, 5, {"epoch": 5, "attempt": 3}, attempt=3)
    assert {path.name for path in folder.glob("*.pt")} == {"epoch-0004-attempt-2.pt", "epoch-0005-attempt-3.pt"}
    checkpoints.remove(folder)  # the driver has no use for it
    with pytest.raises(checkpoints.SupersededError):
        checkpoints.require_current(folder, 3)


def test_provenance_is_the_workers_of_each_attempt(tmp_path: Path) -> None:
    spec = specs.read("smoke", OPTIONS)
    folder = new_search(spec, tmp_path)
    studies = Studies(folder.name, spec, folder, "new")
    studies.provenance = {schema.DATA_DIGEST: "d"}
    trial = studies.ask()
    assert trial
    (folder / "checkpoints").mkdir()
    reports = alone(run_on(trial.config, load_corpus(spec), make_setting(spec, folder), trial.attempt))
    for cpu in ("one", "another"):
        result, _ = next(reports)
        studies.report(trial, result, Worker("10.0.0.1", 1, {schema.CPU: cpu, schema.DEVICE: "cpu"}))
        studies.restarted(trial)
    for known in (trial, *Studies(folder.name, spec, folder).trials()):
        assert known.attempts == {1: {"cpu": "one", "device": "cpu"}, 2: {"cpu": "another", "device": "cpu"}}
        assert known.provenance == {schema.DATA_DIGEST: "d", "cpu": "another", "device": "cpu"}


@ray.remote(max_restarts=0)
class Actor:
    def end(self, sentence: str = "") -> None:
        if sentence:
            raise RuntimeError(sentence)
        os._exit(1)

    def here(self) -> str:
        return ray.get_runtime_context().get_node_id()


def ask_until_it_fails(actor: Any) -> None:
    for _ in range(600):
        ray.get(actor.here.remote(), timeout=60)
        time.sleep(0.1)


@pytest.mark.slow
def test_a_lost_node_is_known_by_rays_table_and_not_by_a_sentence() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1, resources={"there": 1})
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        actors = [Actor.options(num_cpus=0).remote(), Actor.options(num_cpus=0, resources={"there": 1}).remote()]
        dies, on_node = actors
        ray.get([actor.here.remote() for actor in actors])
        with pytest.raises(RuntimeError, match="its node has died") as raised:
            ray.get(dies.end.remote("The actor died because its node has died."))
        assert not node_was_lost(raised.value)
        with pytest.raises(RayActorError) as died:
            ray.get(dies.end.remote())
        assert not node_was_lost(died.value)
        cluster.remove_node(node, allow_graceful=False)
        with pytest.raises(RayActorError) as lost:
            ask_until_it_fails(on_node)
        assert node_was_lost(lost.value)
        assert node_was_lost(RayActorError(lost.value.actor_id, "whatever it may be called"))
    finally:
        ray.shutdown()
        cluster.shutdown()
