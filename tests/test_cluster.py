"""Searches on a cluster, as far as one process can test them; `tests/test_cluster_nodes.py` has real nodes."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml
from cluster_nodes import KEYS, object_store
from conftest import ROOT, command
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.testing import CliRunner

from data.base.files import default_cache
from data.encoded import EncodedCorpus
from search.__main__ import app
from search.base import mlflow_uri
from search.cluster import capacity as cluster
from search.cluster import submit
from search.run import plan
from search.run.run import solve
from search.run.setting import make_setting
from search.run.simulation import Ran, makespan, simulate
from search.spec import read as specs
from search.spec.read import load_corpus
from search.spec.spec import Resources
from search.track.recorded import read_runs
from search.train import checkpoints


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with object_store() as uri:
        yield uri


def test_checkpoints_in_an_object_store_are_those_of_a_folder(bucket: str, tmp_path: Path) -> None:
    remote = checkpoints.place(bucket, "search-1") / "mlp-0"
    tmp_path.joinpath("local").mkdir()
    for folder in (remote, tmp_path / "local" / "mlp-0"):
        assert checkpoints.load_last(folder) is None
        assert not folder.is_dir()
        for epoch in (1, 2, 3):
            checkpoints.save(folder, epoch, {"epoch": epoch, "weights": torch.arange(epoch * 100.0)})
        checkpoints.save_text(folder, "note.csv", "a,ü\n")
        assert sorted(path.name for path in folder.iterdir()) == ["epoch-0002.pt", "epoch-0003.pt", "note.csv"]
        assert checkpoints.last_step(folder) == 3
        assert checkpoints.load_text(folder, "note.csv") == "a,ü\n"
        assert checkpoints.load_text(folder, "none.csv") is None
        torn = (folder / "epoch-0003.pt").read_bytes()[:-100]
        checkpoints.save_file(folder, "epoch-0003.pt", torn)
        saved = checkpoints.load_last(folder)
        assert saved is not None
        assert saved["epoch"] == checkpoints.last_step(folder) == 2
        assert saved["weights"].equal(torch.arange(200.0))
        checkpoints.remove(folder)
        assert list(folder.iterdir() if folder.is_dir() else []) == []
        checkpoints.remove(folder)  # nothing is there


def test_a_search_says_where_its_checkpoints_are(bucket: str, tmp_path: Path) -> None:
    search, shared = tmp_path / "search-1", tmp_path / "shared"
    search.mkdir()
    with pytest.raises(ValueError, match=f"no folder {shared} on this machine"):
        checkpoints.prepare(search, str(shared))
    shared.mkdir()
    assert checkpoints.prepare(search, str(shared)) == shared / "search-1"
    assert checkpoints.folder_of(search, "mlp-0") == shared / "search-1" / "mlp-0"
    in_bucket = tmp_path / "search-2"
    in_bucket.mkdir()
    folder = checkpoints.prepare(in_bucket, bucket)
    checkpoints.save_text(folder / "mlp-0", "note", "x")
    assert checkpoints.load_text(checkpoints.folder_of(in_bucket, "mlp-0"), "note") == "x"
    assert [path.name for path in checkpoints.root(in_bucket).iterdir()] == ["mlp-0"]
    assert str(folder).startswith("s3://bucket/searches/search-2/.?endpoint_override=")
    for place in (str(shared), bucket):  # another search of that id, kept in another folder, loses nothing
        twin = tmp_path / "elsewhere" / Path(place).name / in_bucket.name
        twin.mkdir(parents=True)
        (shared / in_bucket.name / "mlp-0").mkdir(parents=True, exist_ok=True)
        with pytest.raises(FileExistsError):
            checkpoints.prepare(twin, place)
        assert checkpoints.root(twin) == twin / "checkpoints"  # what would be discarded
    plain = tmp_path / "search-3"
    plain.mkdir()
    assert checkpoints.prepare(plain, None) == plain / "checkpoints"


def test_a_node_without_the_shared_folder_does_not_make_its_own(tmp_path: Path) -> None:
    missing = tmp_path / "not-mounted" / "mlp-0"
    with pytest.raises(FileNotFoundError):
        checkpoints.save(missing, 1, {"epoch": 1})
    assert not missing.parent.exists()


@pytest.mark.parametrize(
    ("storage_path", "problem"),
    [
        ("s4://bucket/x", "unknown storage_path 's4' (did you mean 's3'?)"),
        ("s3://key:secret@bucket/x", "should hold no access keys"),
    ],
)
def test_a_wrong_storage_path_is_one_line(storage_path: str, problem: str) -> None:
    with pytest.raises(ValueError, match="storage_path: ") as error:
        specs.read("smoke", [f"storage_path={storage_path}"])
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_the_cluster_file_is_valid_and_safe() -> None:
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    workers = {name: kind for name, kind in types.items() if name != config["head_node_type"]}
    assert {kind["min_workers"] for kind in workers.values()} == {0}
    assert all(kind["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"} for kind in workers.values())
    start = " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "mlflow server --host 127.0.0.1" in start
    for commands in (start, (ROOT / "Makefile").read_text(encoding="utf-8")):
        assert f"--allowed-hosts '{mlflow_uri.UI_HOSTS}' --backend-store-uri" in commands
    assert "0.0.0.0" not in text
    for name in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        assert "ray start" not in name or "RAY_AUTH_MODE=token" in name


def test_room_on_autoscaled_workers(tmp_path: Path) -> None:
    launched = tmp_path / "launched.yaml"
    assert cluster.num_autoscaled(Resources(), "auto", launched) == 0  # nobody launched it
    launched.write_text((ROOT / "cluster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert (
        cluster.num_autoscaled(Resources(cpu=1), "auto", launched) == 8 * 8
    )  # 8 CPU workers; no card is started for these
    assert cluster.num_autoscaled(Resources(cpu=3), "auto", launched) == 8 * 2
    assert cluster.num_autoscaled(Resources(cpu=2, gpu=0.25), "auto", launched) == 2 * 4
    assert cluster.num_autoscaled(Resources(cpu=16), "auto", launched) == 0
    assert cluster.num_autoscaled(Resources(cpu=1), None, launched) == 0  # a search of this machine alone


def test_what_travels_is_code_and_spec_and_not_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = specs.read("smoke")
    folder = tmp_path / "one"
    folder.mkdir()
    size = submit.pack(spec, folder)
    assert size < 5e6
    assert {path.name for path in folder.iterdir()} == {
        "search",
        "models",
        "data",
        "analysis",
        "bakeoff",
        "submitted.yaml",
    }
    assert not list(folder.rglob("__pycache__"))
    assert specs.read(str(folder / "submitted.yaml")) == spec
    monkeypatch.setattr(submit, "MAX_BYTES", size - 1)
    two = tmp_path / "two"
    two.mkdir()
    with pytest.raises(ValueError, match="the upload would be"):
        submit.pack(spec, two)


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    done = command("search", "run", "smoke", "--address", "ray://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --address: a ray:// client cannot run a search; ")
    done = command("search", "submit", "smoke", "--address", "http://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no dashboard answers at http://127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1


def test_a_database_server_that_is_away_is_one_line_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="Connection refused") as error:
        read_runs("postgresql+psycopg://me:secret@127.0.0.1:9/mlflow", "any")
    assert time.monotonic() - started < 30  # MLflow itself tries for more than a minute and a half
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def corpus() -> EncodedCorpus:
    return load_corpus(specs.read("smoke"))


def test_makespan_and_prediction_by_hand() -> None:
    assert makespan([4, 3, 2, 1], 2) == 5
    assert makespan([4, 3, 2, 1], 1) == 10
    assert makespan([4, 3, 2, 1], 9) == 4
    spec = specs.read(
        "smoke",
        ["architectures=[mlp, gru]", "trials=3", "pruner=none", "epochs=4", "keep_checkpoints=best",
         "nodes=[{cpu: 2, price: 3}, {cpu: 0, price: 0.6}]"],
    )  # fmt: skip
    cost = {"mlp": plan.Cost(10, 14, 4e6, 1e6, 20), "gru": plan.Cost(20, 24, 8e6, 2e6, 20)}
    found = plan.predict(spec, {"mlp": 3, "gru": 3}, cost, 2, start_seconds=8)
    # An mlp takes 3 * 10 + 14 = 44 s, a gru 84 s; the two workers are done after 84 + 84 + 44 and 84 + 44 + 44.
    assert found.trial_seconds == found.pruned_trial_seconds == 3 * 44 + 3 * 84
    assert found.wall_seconds == found.pruned_wall_seconds == 84 + 84 + 44 + 8
    assert found.disk_bytes == 1e6 + 2e6
    assert found.num_rows == 6 * 4 * 20
    assert found.price == pytest.approx(3.6 * found.wall_seconds / 3600)
    line, tags = plan.compare(found, 2 * found.trial_seconds, found.wall_seconds)
    assert "(+0%)" in line
    assert "(+100%)" in line
    assert tags["planned.wall_seconds"] == tags["took.wall_seconds"] == "220.0"
    started = dataclasses.replace(cost["gru"], first_seconds=5)  # a pruned trial has spent them, too
    later = plan.predict(spec, {"mlp": 3, "gru": 3}, cost | {"gru": started}, 2, start_seconds=8)
    assert later.trial_seconds == later.pruned_trial_seconds == found.trial_seconds + 3 * 5


def test_a_plan_knows_what_a_model_takes_from_the_texts_first() -> None:
    spec = specs.read("smoke", ["architectures=[ngram, mlp]", "space={buckets: {ngram: 4096}}", "baselines=none"])
    corpus = load_corpus(spec)
    cost = {
        name: plan.calibrate(config, corpus, make_setting(spec, Path()), spec.curve_interval)[0]
        for name, _, config in plan.points(spec, lambda config: {})
    }
    assert cost["ngram"].first_seconds > 100 * cost["mlp"].first_seconds >= 0


def test_a_pruner_prunes_in_the_simulation_as_in_a_search() -> None:
    spec = specs.read("smoke", ["epochs=9", "trials=20"])
    simulated = simulate(spec, 20)
    assert {len(ran) for ran in simulated} == {20}
    kinds = {each for ran in simulated for each in ran}
    assert kinds == {Ran(1, False), Ran(3, False), Ran(9, True)}  # the rungs of successive halving by thirds
    unpruned = simulate(spec.model_copy(update={"pruner": "none"}), 20)
    assert {each for ran in unpruned for each in ran} == {Ran(9, True)}


def test_patience_ends_trials_in_the_simulation_as_complete_ones() -> None:
    spec = specs.read("smoke", ["architectures=[mlp]", "epochs=9", "trials=50", "pruner=none", "patience=2"])
    ran = [each for ran in simulate(spec, 50) for each in ran]
    assert {each.reports for each in ran} == set(range(3, 10))  # the best may be the first, and is not the last of 9
    assert all(each.complete for each in ran)
    mean = sum(each.reports for each in ran) / len(ran)
    assert mean == pytest.approx(sum(min(9, best + 2) for best in range(1, 10)) / 9, abs=0.3)
    cost = {"mlp": plan.Cost(10, 14, 4e6, 1e6, 20)}
    found = plan.predict(spec, {"mlp": 50}, cost, 1, 0.0)
    assert found.trial_seconds == found.pruned_trial_seconds == pytest.approx(50 * (mean * 10 + 4))
    assert found.disk_bytes == 50 * 1e6  # they go no further


@pytest.mark.parametrize("overrides", [[], ["sampler=grid", "space={hidden_size: [8, 16], num_layers: {mlp: 2}}"]])
def test_every_architecture_is_calibrated_at_both_ends_of_its_space(
    overrides: list[str], corpus: EncodedCorpus
) -> None:
    spec = specs.read("smoke", overrides)
    points = list(plan.points(spec, lambda config: solve(spec, corpus, config)))
    for architecture in spec.architectures:
        its = [(weight, config) for name, weight, config in points if name == architecture]
        assert sum(weight for weight, _ in its) == pytest.approx(1)
        assert [config["hidden_size"] for _, config in its] == [8, 16, 16]


def test_every_configuration_is_calibrated_and_counts_the_same() -> None:
    points = list(plan.points(specs.read("text-to-image-ablation"), lambda config: {}))
    assert [(weight, config["heads"]) for _, weight, config in points] == [(1 / 2, 4), (1 / 2, 0)]


@pytest.mark.slow
def test_plan_and_check_as_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "bakeoff"
    cache.mkdir()
    for path in default_cache().glob("*"):  # what has been compiled and encoded
        if path.name != "plans":
            (cache / path.name).symlink_to(path)
    monkeypatch.setenv("BAKEOFF_CACHE", str(cache))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    small = ["--set", "architectures=[mlp]", "--set", "baselines=none", "--set", "trials=1"]
    # In this process, which has imported everything.
    done = CliRunner().invoke(app, ["plan", "smoke", *small], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "mlp" in done.output
    assert "concurrent trials" in done.output
    (path,) = (cache / "plans").iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["num_trials"] == 1
    done = CliRunner().invoke(app, ["run", "smoke", *small], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "predicted" in next(line for line in done.output.splitlines() if line.startswith("Plan "))
    done = CliRunner().invoke(app, ["check", "smoke", "--set", "resources.cpu=1000"], catch_exceptions=False)
    assert done.exit_code == 1
    (line,) = [line for line in done.output.splitlines() if line.startswith("fail")]
    assert line.startswith("fail  trials       each needs 1000 CPU; no node has more than")


def test_only_the_thread_of_a_search_asks_ray_how_many_trials_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The display's thread may outlive Ray, and a call to Ray would then start another one."""
    asked: list[str] = []

    def nodes() -> list[cluster.Node]:
        asked.append(threading.current_thread().name)
        return [cluster.Node("a", "127.0.0.1", 4.0, 0.0, 1e9, True)]

    monkeypatch.setattr(cluster, "nodes", nodes)
    room = cluster.Room(specs.read("smoke"), None)
    assert room() == 4
    monkeypatch.setattr(cluster.time, "monotonic", lambda: float("inf"))
    with ThreadPoolExecutor(1) as other:
        assert other.submit(room).result() == 4
    assert set(asked) == {threading.current_thread().name}
