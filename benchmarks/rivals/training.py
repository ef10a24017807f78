"""The training loop that all recipes share: DataLoader, Adam, cross-entropy, validation after each epoch.

Batches are cut to their longest text. The rows of a bag of n-grams, few of which are in a batch, have SparseAdam.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import models
from benchmarks.rivals import networks
from benchmarks.rivals.texts import Corpus


def train(config: dict[str, Any], corpus: Corpus) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """Yield metrics and state after each epoch; after the last one, also test metrics with the weights of the best
    epoch."""
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    model = new_model(config, corpus)
    optimizers = new_optimizers(model, config["learning_rate"])
    loader = DataLoader(corpus.splits["train"], batch_size=config["batch_size"], shuffle=True)
    best, best_weights = -1.0, model.state_dict()
    for epoch in range(1, config["epochs"] + 1):
        model.train()
        total = 0.0
        for tokens_BT, lengths_B, labels_B in loader:
            loss = cross_entropy(model(tokens_BT[:, : lengths_B.max()], lengths_B), labels_B)
            model.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            total += loss.item()
        metrics = {"epoch": epoch, "train_loss": total / len(loader), **evaluate(model, corpus.splits["val"], "val")}
        if metrics["val_accuracy"] > best:
            best, best_weights = metrics["val_accuracy"], copy.deepcopy(model.state_dict())
        state = {"model": model.state_dict(), "optimizers": [each.state_dict() for each in optimizers]}
        if epoch == config["epochs"]:
            model.load_state_dict(best_weights)
            metrics |= evaluate(model, corpus.splits["test"], "test")
            metrics["num_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        yield metrics, state


def new_model(config: dict[str, Any], corpus: Corpus) -> nn.Module:
    model = networks.build(corpus.vectors_VE, config)
    own = networks.hyperparameters(config)
    if config["architecture"] == "ngram":
        own |= {"start": "random", "singletons": "keep"}  # as in benchmarks/whole.yaml
    ours = models.build(config["architecture"], models.WordVectors(corpus.vectors_VE), 2, **own)
    networks.start_equal(model, ours)
    return model


def new_optimizers(model: nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    sparse = [bag.weight for bag in model.modules() if isinstance(bag, nn.EmbeddingBag)]
    known = set(map(id, sparse))
    dense = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    found: list[torch.optim.Optimizer] = [torch.optim.Adam(dense, lr=learning_rate)]
    return [*found, torch.optim.SparseAdam(sparse, lr=learning_rate)] if sparse else found


def evaluate(model: nn.Module, examples: TensorDataset, split: str) -> dict[str, float]:
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for tokens_BT, lengths_B, labels_B in DataLoader(examples, batch_size=512):
            logits_BC = model(tokens_BT[:, : lengths_B.max()], lengths_B)
            loss += cross_entropy(logits_BC, labels_B, reduction="sum").item()
            correct += (logits_BC.argmax(1) == labels_B).sum().item()
    return {f"{split}_loss": loss / len(examples), f"{split}_accuracy": correct / len(examples)}
