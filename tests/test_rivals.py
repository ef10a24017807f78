"""The rivals of the benchmarks train the same architectures, from the same weights, on the same texts as we do."""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch.utils.data import TensorDataset

import data
import models
from benchmarks import time_to_target
from benchmarks.rivals import networks, optuna_space, texts, training, work
from data.base.reading import Reading
from search.spec import read as specs
from search.spec import space

torch.manual_seed(0)
VECTORS_VE = torch.cat((torch.zeros(2, 50), torch.randn(30, 50)))
CONFIGS = [
    {"architecture": architecture, "hidden_size": 16, "num_layers": num_layers, "activation": activation}
    for architecture in ("rnn", "gru", "mlp", "attention")
    for num_layers in ((1, 2) if architecture in ("rnn", "gru") else (2, 5))
    for activation in ("none", "relu", "tanh", "sigmoid")
]
BAG = {"architecture": "ngram", "hidden_size": 4, "learning_rate": 1e-2}
AS_RIVALS = {"start": "random", "singletons": "keep"}  # as in benchmarks/whole.yaml


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(map(str, config.values())))
def test_a_rival_is_the_same_network(config: dict[str, Any]) -> None:
    own = {"dropout": 0.0, **{name: value for name, value in config.items() if name != "architecture"}}
    ours = models.build(config["architecture"], models.WordVectors(VECTORS_VE), 2, **own)
    rival = networks.build(VECTORS_VE, {**own, "architecture": config["architecture"]})
    networks.start_equal(rival, ours)
    assert models.num_parameters(rival) == models.num_parameters(ours)

    tokens_BT, lengths_B = torch.randint(2, 32, (8, 20)), torch.randint(1, 21, (8,))
    lengths_B[0] = 20
    tokens_BT[torch.arange(20) >= lengths_B.unsqueeze(1)] = 0
    with torch.no_grad():
        mine, theirs = ours(tokens_BT, lengths_B), rival(tokens_BT, lengths_B)
    if isinstance(getattr(rival, "layers", None), torch.nn.GRU):
        # torch's resets after the product instead of before: near, and at the first word equal
        with torch.no_grad():
            first = torch.ones_like(lengths_B)
            mine, theirs = ours(tokens_BT[:, :1], first), rival(tokens_BT[:, :1], first)
    torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-5)


def test_a_bag_of_ngrams_is_the_same_network_and_learns_alike() -> None:
    own = {"hidden_size": 4, "dropout": 0.0}
    ours = models.build("ngram", models.WordVectors(VECTORS_VE), 2, **own, **AS_RIVALS)
    rival = networks.build(VECTORS_VE, BAG | own)
    networks.start_equal(rival, ours)
    assert models.num_parameters(rival) == models.num_parameters(ours)

    tokens_BT, lengths_B = torch.randint(1, 32, (8, 20)), torch.randint(1, 21, (8,))
    tokens_BT[torch.arange(20) >= lengths_B.unsqueeze(1)] = 0
    torch.testing.assert_close(rival(tokens_BT, lengths_B), ours(tokens_BT, lengths_B))
    for network in (rival, ours):
        network(tokens_BT, lengths_B).square().sum().backward()
    table = next(each.weight for each in rival.modules() if isinstance(each, torch.nn.EmbeddingBag))
    assert table.grad is not None
    torch.testing.assert_close(table.grad.to_dense(), ours.bag.rows_RH.grad.to_dense())


def test_rivals_learn_the_rows_of_a_bag_of_ngrams() -> None:
    words_N1 = torch.randint(2, 32, (256, 1), generator=torch.Generator().manual_seed(0))
    examples = TensorDataset(words_N1.repeat(1, 3), torch.full((256,), 2), words_N1[:, 0] % 2)
    corpus = texts.Corpus(dict.fromkeys(("train", "val", "test"), examples), VECTORS_VE)
    config = {**BAG, "dropout": 0.1, "epochs": 3, "batch_size": 8, "seed": 0}
    *_, (metrics, state) = training.train(config, corpus)
    assert metrics["test_accuracy"] > 0.95
    assert len(state["optimizers"]) == 2


@pytest.mark.parametrize("path", [time_to_target.RACE, time_to_target.WHOLE], ids=lambda path: path.stem)
def test_rivals_have_our_space(path: Path) -> None:
    """Every point of Optuna's is in the spec's, with names and ranges alike."""
    spec = specs.validate(time_to_target.Race(path, Path(), 0.9, 1, None).spec())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: dict[str, dict[str, set[Any]]] = {name: defaultdict(set) for name in spec.architectures}
    for _ in range(400):
        trial = study.ask()
        optuna_space.SPACES[path.stem](trial)
        point = work.settled(trial.params)
        for name, value in networks.hyperparameters(point).items():
            seen[point["architecture"]][name].add(value)
    for architecture, own in spec.spaces.items():
        for name, values in seen[architecture].items():
            if name != "dropout":
                assert values == {space.suggest(study.ask(), own)[name] for _ in range(400)}, (architecture, name)


def test_a_rival_reads_the_same_texts(tmp_path: Path) -> None:
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for split in ("train", "val", "test"):
            examples = data.read_examples("imdb", split, limit=400)  # type: ignore[arg-type]
            writer.writerows([text, label, split] for text, label in examples)
    ours = data.load("imdb", limit=400, max_words=50, reading=Reading(clean=False))
    rival = texts.load(tmp_path / "texts.csv", 50)
    assert len(rival.vectors_VE) == len(ours.vocabulary)
    for split in ("train", "val", "test"):
        tokens_NT, lengths_N, labels_N = rival.splits[split].tensors
        own = getattr(ours, split)
        assert lengths_N.tolist() == own.lengths_N.tolist()
        assert labels_N.tolist() == own.labels_N.tolist()
        assert ours.vectors_VE is not None
        np.testing.assert_array_equal(rival.vectors_VE[tokens_NT].numpy(), ours.vectors_VE[own.tokens_NT])
