"""Searches whose trials share workers: the same trials with the same numbers as in one whose trials do not.

In these tests Tune is played, as in the state machine: each Tune trial runs to its end before the next one is asked
for. What a killed worker or driver leaves is in tests/test_faults.py, with Ray.
"""

import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

import models
from data.base.errors import UserError
from models.native import masks
from search.base.schema import Outcome
from search.run.folders import new_search
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.spec import Spec
from search.study.studies import Studies
from search.study.trial import Trial
from search.train import checkpoints
from search.train.lockstep import Lockstep
from search.train.pack import Pack
from search.tune.answers import Answer
from search.tune.callback import StudyCallback
from search.tune.hosted import MEMBERS, SIZE
from search.tune.scheduler import StudyScheduler
from search.tune.searcher import StudySearcher
from search.tune.worker import train_pack
from tests.test_packed_trials import numbers, spec_of, write_texts

FAILING = """from torch import nn

class Net(nn.Module):
    hyperparameters = {"size": [2, 3, 4]}

    def __init__(self, setting, *, size=2):
        super().__init__()
        self.embedding, self.size, self.steps = setting.embedding, size, 0
        self.output = nn.Linear(setting.embedding.size, setting.num_classes)

    def forward(self, tokens_BT, lengths_B):
        self.steps += 1
        if self.size == 3 and self.steps > 20:
            raise ArithmeticError("three is too many")
        return self.output(self.embedding(tokens_BT).mean(1))
"""


DERIVED = """import models

class Mine(models.architecture("mlp")):
    hyperparameters = {}

    def __init__(self, embedding, num_classes):
        super().__init__(embedding, num_classes)
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With a cache of its own, and without the architectures of the tests before."""
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    before = dict(models.ARCHITECTURES)
    yield
    models.ARCHITECTURES.clear()
    models.ARCHITECTURES.update(before)


class TuneTrial:
    """What is read of one of Tune's own. packs: the names of its members, before each report."""

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config
        self.packs: list[list[str]] = []
        self.error_file: str | None = None
        self.pickled_error_file: str | None = None


def run(spec: Spec, root: Path, lockstep: Lockstep | None = None) -> list[Trial]:
    """The trials of a search whose only worker is this process."""
    folder = new_search(spec, root)
    checkpoints.prepare(folder, None)
    studies = Studies(folder.name, spec, folder, "new")
    play(spec, studies, folder, lockstep=lockstep)
    return studies.trials()


def play(
    spec: Spec,
    studies: Studies,
    folder: Path,
    at_report: Callable[[Studies, int], object] = lambda *_: None,
    lockstep: Lockstep | None = None,
) -> list[TuneTrial]:
    """In place of Tune; the trials of its own that it made. at_report: is called before each report is taken."""
    corpus, setting = specs.load_corpus(spec), make_setting(spec, folder)
    answers: dict[str, Answer] = {}
    searcher = StudySearcher(studies, lambda: 1)
    scheduler = StudyScheduler(studies, searcher, give=answers.__setitem__)
    callback = StudyCallback(searcher)
    done: list[TuneTrial] = []
    reports = itertools.count(1)
    while isinstance(config := searcher.suggest(str(len(done))), dict):
        trial = TuneTrial(str(len(done)), config)
        done.append(trial)

        def tell(told: dict[str, Any], trial: TuneTrial = trial) -> Answer:
            at_report(studies, next(reports))
            trial.packs.append(list(searcher.hosted(trial.trial_id).members))
            told |= {"node_ip": "10.0.0.1", "pid": 1, "provenance": ()}
            if scheduler.on_trial_result(None, trial, told) == TrialScheduler.STOP:
                raise SystemExit
            assert trial.config[SIZE] > 1 or not answers
            return answers.pop(trial.trial_id, Answer())

        try:
            train_pack(Pack(lockstep), config[MEMBERS], lambda _: corpus, setting, tell)
        except SystemExit:
            searcher.on_trial_complete(trial.trial_id)
        except Exception as error:
            path = folder / f"error-{trial.trial_id}"
            path.with_suffix(".txt").write_text(f"Traceback\n{error!r}\n")
            path.with_suffix(".pkl").write_bytes(pickle.dumps(error))
            trial.error_file, trial.pickled_error_file = f"{path}.txt", f"{path}.pkl"
            searcher.on_trial_complete(trial.trial_id, error=True)
            callback.on_trial_error(0, [], trial)
    return done


def told(trial: Trial) -> tuple[Any, ...]:
    return trial.outcome, trial.hyperparameters, [numbers(result) for result in trial.results]


def test_a_packed_search_is_the_search_unpacked(tmp_path: Path) -> None:
    keys = {"architectures": ["mlp", "cnn"], "trials": 5, "sampler": "random", "space": {"dropout": [0.1, 0.2, 0.3]}}
    found = {}
    for packing in (1, 3, 8):
        (root := tmp_path / str(packing)).mkdir()
        spec = spec_of(write_texts(root), packing=packing, **keys)
        found[packing] = {trial.name: told(trial) for trial in run(spec, root)}
    assert len(found[1]) == 10
    assert found[3] == found[1]
    assert found[8] == found[1]


def test_a_packed_search_in_lockstep_is_the_search_unpacked_but_for_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As workers with a GPU train."""
    monkeypatch.setattr(masks, "BY_PLACE", {"cpu"})
    keys = {"architectures": ["mlp"], "trials": 5, "sampler": "random", "space": {"dropout": [0.1, 0.2, 0.3]}}
    keys |= {"embeddings": "frozen", "vectors": f"file:{write_vectors(tmp_path)}"}  # trained ones are not stacked
    found = {}
    for packing, lockstep in ((1, None), (3, Lockstep())):
        (root := tmp_path / str(packing)).mkdir()
        found[packing] = run(spec_of(write_texts(root), packing=packing, **keys), root, lockstep)
    assert len(found[1]) == 5
    for packed, alone in zip(found[3], found[1], strict=True):
        assert (packed.outcome, packed.hyperparameters) == (alone.outcome, alone.hyperparameters)
        for ours, theirs in zip(packed.results, alone.results, strict=True):
            assert ours.metrics["val_loss"] == pytest.approx(theirs.metrics["val_loss"], abs=1e-5)
    assert any(
        ours.metrics["train_loss"] != theirs.metrics["train_loss"]
        for packed, alone in zip(found[3], found[1], strict=True)
        for ours, theirs in zip(packed.results, alone.results, strict=True)
    ), "nothing was stacked"


def write_vectors(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    words = ["the", "film", "was", "a", "story", "great", "fine", "awful", "poor"]
    lines = [f"{word} {' '.join(f'{each:.4f}' for each in rng.normal(size=6))}" for word in words]
    (path := folder / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_packed_trials_that_end_early_leave_and_others_join(tmp_path: Path) -> None:
    space = {"learning_rate": {"low": 1e-6, "high": 1e-1, "log": True}}  # some learn nothing
    keys = {"architectures": ["mlp"], "trials": 9, "sampler": "random", "pruner": "asha", "space": space, "epochs": 5}
    spec = spec_of(write_texts(tmp_path), packing=3, **keys)
    folder = new_search(spec, tmp_path)
    checkpoints.prepare(folder, None)
    studies = Studies(folder.name, spec, folder, "new")
    (hosted,) = play(spec, studies, folder)  # one worker, which is never given back
    trials = studies.trials()
    assert Counter(trial.outcome for trial in trials).keys() == {Outcome.COMPLETE, Outcome.PRUNED}
    assert {trial.attempt for trial in trials} == {1}
    sizes = [len(pack) for pack in hosted.packs]
    assert max(sizes) == 3
    assert sizes[: -10 if len(sizes) > 10 else 1].count(3) > len(sizes) / 2  # it is full but in the end
    # Each is what the same trial is that is trained to its end by itself, as far as it went.
    (root := tmp_path / "alone").mkdir()
    alone = run(spec_of(tmp_path / "texts.csv", **keys | {"packing": 1, "pruner": "none"}), root)
    for trial, whole in zip(trials, alone, strict=True):
        reports = [numbers(result) for result in trial.results]
        assert reports == [numbers(result) for result in whole.results][: len(reports)]


def test_a_failing_trial_costs_the_others_of_its_pack_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FAILING, encoding="utf-8")
    keys = {"architectures": [f"{tmp_path / 'net.py'}:Net"], "sampler": "grid", "space": {"size": [2, 3, 4]}}
    spec = spec_of(write_texts(tmp_path), packing=3, retries=1, trials=3, batch_size=16, **keys)
    trials = {trial.hyperparameters["size"]: trial for trial in run(spec, tmp_path)}
    assert {size: trial.outcome for size, trial in trials.items()} == {
        2: Outcome.COMPLETE, 3: Outcome.FAILED, 4: Outcome.COMPLETE,
    }  # fmt: skip
    assert {size: trial.attempt for size, trial in trials.items()} == {2: 1, 3: 2, 4: 1}
    assert trials[3].error == "ArithmeticError('three is too many')"


def test_trials_of_a_pack_that_fail_at_the_same_step_fail_for_their_own_reasons(tmp_path: Path) -> None:
    source = FAILING.replace("self.size == 3 and self.steps > 20", "self.steps > 20").replace("three", "{self.size}")
    (tmp_path / "net.py").write_text(source.replace('("{self', '(f"{self'), encoding="utf-8")
    keys = {"architectures": [f"{tmp_path / 'net.py'}:Net"], "sampler": "grid", "space": {"size": [2, 3, 4]}}
    spec = spec_of(write_texts(tmp_path), packing=3, retries=0, trials=3, batch_size=16, **keys)
    trials = {trial.hyperparameters["size"]: trial for trial in run(spec, tmp_path, Lockstep())}
    assert {trial.outcome for trial in trials.values()} == {Outcome.FAILED}
    assert all(f"{size} is too many" in (trial.error or "") for size, trial in trials.items())


def test_a_packed_search_that_is_stopped_ends_each_trial_at_its_report_and_is_resumed(tmp_path: Path) -> None:
    keys = {"architectures": ["mlp"], "trials": 4, "sampler": "random", "packing": 4}
    spec = spec_of(write_texts(tmp_path), **keys)
    folder = new_search(spec, tmp_path)
    checkpoints.prepare(folder, None)
    studies = Studies(folder.name, spec, folder, "new")
    play(spec, studies, folder, lambda studies, number: studies.stop() if number == 2 else None)
    assert {trial.outcome for trial in studies.trials()} == {Outcome.RUNNING}  # in Optuna; they wait for a resume
    assert [len(trial.results) for trial in studies.trials()] == [2, 1, 1, 1]
    resumed = Studies(folder.name, spec, folder, "resume")
    play(spec, resumed, folder)
    (root := tmp_path / "at once").mkdir()
    at_once = run(spec_of(tmp_path / "texts.csv", **keys), root)
    assert [told(trial) for trial in resumed.trials()] == [told(trial) for trial in at_once]
    assert {trial.attempt for trial in resumed.trials()} == {2}


def searcher_of(folder: Path, room: int, **keys: Any) -> tuple[StudySearcher, Studies]:
    folder.mkdir(exist_ok=True)
    studies = Studies("s", specs.validate({"baselines": "none", **keys}), folder, "new")
    return StudySearcher(studies, lambda: room), studies


def packs(searcher: StudySearcher) -> list[tuple[str, int]]:
    """The architecture and the size of each pack that is given while nothing is reported."""
    found = []
    while isinstance(config := searcher.suggest(str(len(found))), dict):
        found.append((config[MEMBERS][0]["architecture"], len(config[MEMBERS])))
    return found


def test_packed_trials_are_spread_over_the_workers(tmp_path: Path) -> None:
    one = {"architectures": ["mlp"], "packing": 32, "sampler": "random"}
    assert packs(searcher_of(tmp_path / "a", room=2, trials=8, **one)[0]) == [("mlp", 4), ("mlp", 4)]
    assert packs(searcher_of(tmp_path / "b", room=3, trials=8, **one)[0]) == [("mlp", 3), ("mlp", 3), ("mlp", 2)]
    assert packs(searcher_of(tmp_path / "c", room=2, trials=80, **one)[0]) == [("mlp", 32), ("mlp", 32)]
    several = {"architectures": ["mlp", "rnn"], "packing": 4, "trials": 8, "sampler": "random"}
    assert packs(searcher_of(tmp_path / "d", room=3, **several)[0]) == [("mlp", 4), ("rnn", 4), ("mlp", 4)]
    baselines = several | {"baselines": ["majority"]}
    assert packs(searcher_of(tmp_path / "e", room=2, **baselines)[0]) == [("majority", 1), ("mlp", 4)]


def test_no_architecture_gets_more_than_a_pack_ahead_of_another(tmp_path: Path) -> None:
    searcher, studies = searcher_of(tmp_path, room=1, architectures=["mlp", "rnn"], packing=2, trials=4)
    config = searcher.suggest("0")
    assert config
    hosted = searcher.hosted("0")
    studies.finish(hosted.members.pop("mlp-0"), Outcome.FAILED)
    assert searcher.join(hosted) == []  # rnn has had none
    studies.finish(hosted.members.pop("mlp-1"), Outcome.FAILED)
    searcher.on_trial_complete("0")
    assert packs(searcher) == [("rnn", 2)]
    hosted = searcher.hosted("0")
    studies.finish(hosted.members.pop("rnn-0"), Outcome.FAILED)
    assert [trial.name for trial in searcher.join(hosted)] == ["rnn-2"]


def test_trials_of_a_lost_machine_join_a_pack_before_new_ones(tmp_path: Path) -> None:
    searcher, studies = searcher_of(tmp_path, room=2, architectures=["mlp"], packing=2, trials=20)
    for tune_id in ("0", "1"):
        assert searcher.suggest(tune_id)
    lost, hosted = searcher.hosted("0"), searcher.hosted("1")
    searcher.on_trial_complete("0", error=True)
    searcher.node_lost(lost)
    searcher._room = lambda: 1  # the machine does not come back
    joined = []
    for _ in range(3):
        studies.finish(hosted.members.pop(next(iter(hosted.members))), Outcome.FAILED)
        joined += searcher.join(hosted)
    assert [(trial.name, trial.attempt) for trial in joined] == [("mlp-0", 2), ("mlp-1", 2), ("mlp-4", 1)]
    studies.finish(hosted.members.pop("mlp-1"), Outcome.FAILED)
    studies.finish(hosted.members.pop("mlp-4"), Outcome.FAILED)
    searcher.on_trial_complete("1")
    config = searcher.suggest("2")
    assert config
    assert [each["number"] for each in config[MEMBERS]] == [5, 6]  # no one waits any more


@pytest.mark.parametrize(
    ("keys", "size"),
    [({}, 1), ({"packing": 8}, 8), ({"resources": {"gpu": 0.25}}, 32), ({"resources": {"gpu": 1}, "packing": 1}, 1)],
)
def test_how_many_trials_are_packed(keys: dict[str, Any], size: int) -> None:
    spec = specs.validate({**keys})
    assert spec.pack_size("gru") == size
    assert spec.pack_size("majority") == 1
    assert specs.load(specs.dump(spec), "spec.yaml").pack_size("gru") == size


def test_a_kept_spec_without_the_key_packs_nothing() -> None:
    assert specs.load("resources: {gpu: 1}", "spec.yaml").pack_size("gru") == 1


def test_what_is_not_stacked_is_packed_only_when_asked_for() -> None:
    on_a_card: dict[str, Any] = {"resources": {"gpu": 1}, "architectures": ["gru", "ngram"]}
    assert [specs.validate(on_a_card).pack_size(name) for name in ("gru", "ngram")] == [32, 1]
    assert specs.validate(on_a_card | {"embeddings": "finetuned"}).pack_size("gru") == 1
    assert specs.validate(on_a_card | {"packing": 4}).pack_size("ngram") == 4


def test_a_network_from_outside_that_builds_on_ours_is_not_stacked(tmp_path: Path) -> None:
    """Its class says nothing of what it does with lists and with numbers in tensors."""
    (own := tmp_path / "own.py").write_text(DERIVED, encoding="utf-8")
    spec = specs.validate({"resources": {"gpu": 1}, "architectures": [f"{own}:Mine", "mlp"]})
    assert [spec.pack_size(name) for name in spec.architectures] == [1, 32]


@pytest.mark.parametrize(
    ("written", "nearest"), [(0, 1), (513, 512), ("many", "auto"), (True, "auto"), (2.5, "auto"), ([2], "auto")]
)
def test_a_wrong_packing_is_one_line(written: Any, nearest: Any) -> None:
    with pytest.raises(UserError, match=rf"^spec: packing: should be auto or .*; nearest: {nearest}$"):
        specs.validate({"packing": written})
