"""One trial as a worker runs it, over every architecture and every kind of embeddings, on a corpus of one's own."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data
import models
from data.encode import EncodedCorpus
from search import record, space
from search import spec as specs
from search.run import make_setting
from search.trainable import build_model, run_trial

WORDS = {"good": ["great", "fine", "lovely"], "bad": ["awful", "poor", "dull"], "so-so": ["average", "plain", "usual"]}


@pytest.fixture(scope="module")
def csv_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of three classes, told by one word in five."""
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(240):
        label = list(WORDS)[i % 3]
        words = [*rng.choice(["the", "film", "was", "a", "story"], 4), rng.choice(WORDS[label]), str(i)]
        lines.append(f"{' '.join(words)},{label}")
    path = tmp_path_factory.mktemp("csv") / "texts.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def spec_and_corpus(csv_file: Path, embeddings: str) -> tuple[specs.Spec, EncodedCorpus]:
    content: dict[str, Any] = {
        "corpus": f"csv:{csv_file}",
        "embeddings": embeddings,
        "embedding_size": 12,
        "epochs": 12,
    }
    spec = specs.validate(content)
    return spec, data.load(
        spec.corpus, embeddings=embeddings, embedding_size=12, cache=csv_file.parent / "cache", progress=False
    )  # type: ignore[arg-type]


def config_of(spec: specs.Spec, architecture: str, **changes: Any) -> dict[str, Any]:
    values = space.default_point(architecture, space.build(spec)[architecture])
    return {record.ARCHITECTURE: architecture, record.NUMBER: 0, record.SEED: 1} | values | changes


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
@pytest.mark.parametrize("embeddings", ["frozen", "finetuned", "learned"])
def test_every_architecture_learns_three_classes(architecture: str, embeddings: str, csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, embeddings)
    setting = make_setting(spec, csv_file.parent)
    config = config_of(spec, architecture, learning_rate=0.01, batch_size=16)
    results = list(run_trial(config, corpus, setting))
    assert [result.diverged for result in results] == [None] * 12
    assert results[-1].best["test_accuracy"] > 0.6  # 1/3 by chance
    assert 0 < results[-1].best["test_f1"] <= 1
    has_vectors = any("vectors_VE" in name for name in results[-1].state["model"])
    assert has_vectors == (embeddings != "frozen")  # frozen vectors are not copied into each checkpoint


def test_the_seed_decides_the_weights(csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "learned")
    one, same, other = (
        build_model(config_of(spec, "gru", seed=seed), corpus, "learned").state_dict() for seed in (1, 1, 2)
    )
    assert all(one[name].equal(same[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_training_does_not_change_the_corpus_that_trials_share(csv_file: Path) -> None:
    spec, corpus = spec_and_corpus(csv_file, "finetuned")
    assert corpus.vectors_VE is not None
    before = corpus.vectors_VE.copy(), corpus.train.tokens_NT.copy()
    list(itertools.islice(run_trial(config_of(spec, "mlp"), corpus, make_setting(spec, csv_file.parent)), 2))
    assert np.array_equal(corpus.vectors_VE, before[0])
    assert np.array_equal(corpus.train.tokens_NT, before[1])
