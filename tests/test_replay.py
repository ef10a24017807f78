"""Replays: numbers are equal if nothing has changed, and otherwise within the stated tolerance."""

from pathlib import Path

import pytest

from search.base import schema
from search.prove import replay
from search.run.folders import new_search
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.read import load_corpus
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.study.trial import Trial, Worker
from search.track.provenance import of_search, of_worker
from search.train import checkpoints
from search.train.running import device_of
from search.train.stepping import alone
from search.tune.worker import run_on


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a search of one trial that ran without Ray, and is not in MLflow."""
    texts = tmp_path / "texts.csv"
    rows = [f"{word} film number {i},{word}" for i in range(40) for word in ("good", "bad")]
    texts.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    spec = specs.validate(
        {
            "name": "small", "corpus": f"csv:{texts}", "architectures": ["mlp"], "baselines": "none", "pruner": "none",
            "embeddings": "learned", "embedding_size": 4, "trials": 1, "epochs": 1,
        }
    )  # fmt: skip
    folder = new_search(spec, tmp_path / "searches")
    checkpoints.prepare(folder, None)
    corpus, setting = load_corpus(spec), make_setting(spec, folder)
    studies = Studies(folder.name, spec, folder, "new")
    studies.provenance = of_search(corpus)
    trial = studies.ask()
    assert trial
    for result, _ in alone(run_on(trial.config, corpus, setting)):
        studies.report(trial, result, Worker("here", 1, of_worker(device_of(setting))))
    return folder


def verdict(folder: Path) -> list[str]:
    return list(replay.replay(f"{folder.name}:mlp-0", folder.parent, "sqlite:////none/mlflow.db"))


def change(folder: Path, before: str, after: str) -> None:
    journal = folder / JOURNAL
    text = journal.read_text(encoding="utf-8")
    assert before in text
    journal.write_text(text.replace(before, after), encoding="utf-8")


def test_a_trial_of_another_processor_is_compared_within_the_stated_tolerance(folder: Path) -> None:
    assert verdict(folder) == ["epoch 1/1  equal", "mlp-0: equal"]
    (trial,) = Studies(folder.name, specs.read_spec(folder), folder).trials()
    loss = trial.results[0].metrics["train_loss"]

    change(folder, repr(loss), repr(loss + 0.01))
    assert verdict(folder)[-1].startswith("mlp-0: different: train_loss of epoch 1 is 0.01 apart")  # the same processor

    change(folder, f'"{schema.CPU}":"{trial.provenance[schema.CPU]}"', f'"{schema.CPU}":"abacus"')
    first, _, last = verdict(folder)
    assert "cpu abacus then" in first
    assert first.endswith(f"compared within {replay.TOLERANCE}.")
    assert last.startswith(f"mlp-0: within {replay.TOLERANCE}: 0.01 apart at most")

    change(folder, repr(loss + 0.01), repr(loss + 0.03))
    assert verdict(folder)[-1].startswith("mlp-0: different: train_loss of epoch 1 is 0.03 apart")


def test_a_trial_of_a_pack_on_a_gpu_is_not_expected_to_be_equal_to_the_last_digit() -> None:
    here = {schema.DEVICE: "card"}
    trial = Trial(architecture="gru", number=0, search="s", folder=Path(), metric="val_loss", provenance=here)
    on_a_card = {"resources": {"gpu": 1}}
    assert replay._reasons_to_differ(specs.validate(on_a_card), trial, here) == ["trained in a pack then, alone now"]
    assert replay._reasons_to_differ(specs.validate(on_a_card | {"packing": 1}), trial, here) == []
    trial.provenance = here = {schema.DEVICE: "cpu"}  # members take turns
    assert replay._reasons_to_differ(specs.validate({"packing": 8}), trial, here) == []
