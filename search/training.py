"""The training loop: a plain generator that yields one EpochResult an epoch.

Shapes: N examples, T words, B batch, C classes.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from search import record

EVALUATION_BATCH = 128  # a larger one takes longer, and hundreds of megabytes for the states of a recurrent network


@dataclass(frozen=True)
class Examples:
    """A split on the device that trains: tokens_NT (integers), lengths_N, labels_N."""

    tokens_NT: Tensor
    lengths_N: Tensor
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True)
class EpochResult:
    """What one epoch brought.

    epoch: from 1.
    metrics: of this epoch, by name (see `search.record`).
    curve: a point each `curve_interval` iterations: iteration, training loss and accuracy since the last point or the
        epoch's start.
    best_epoch, best: the best epoch so far by the metric that ranks, 0 without any; its train and validation metrics,
        and after the last epoch the test metrics of its weights.
    diverged: why the trial cannot go on, or None.
    seconds: spent in the trial's epochs so far.
    test_probabilities_NC: after the last epoch, of the classes of the test texts by the best epoch's weights.
    state: continues the training after this epoch when passed to `train`; tensors may be live, so save it before the
        next epoch is asked for.
    """

    epoch: int
    metrics: dict[str, float]
    curve: list[tuple[int, float, float]]
    best_epoch: int
    best: dict[str, float]
    diverged: str | None
    seconds: float
    test_probabilities_NC: Tensor | None = field(default=None, compare=False, repr=False)
    state: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All but the tensors, in plain containers."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in TENSORS}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "EpochResult":
        return cls(**content | {"curve": [tuple(point) for point in content["curve"]]})


TENSORS = ("test_probabilities_NC", "state")  # of an EpochResult


class DivergenceError(Exception):
    """The loss or a metric is NaN or infinite."""


def train(
    model: nn.Module,
    train: Examples,
    val: Examples,
    test: Examples,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    max_grad_norm: float | None,
    metric: str,
    curve_interval: int,
    seed: int,
    word_dropout: float = 0.0,
    schedule: str = "constant",
    state: dict[str, Any] | None = None,
) -> Iterator[EpochResult]:
    """Train with Adam on cross-entropy, yield after each epoch; the best epoch is the one with the best `metric`.

    word_dropout: this share of the words of each batch is read as the zero vector (Iyyer et al. 2015). schedule: of the
    learning rate, constant, or linear: falling to zero over all iterations of all `epochs`.

    All randomness (shuffling, dropout) is set from `seed`, or goes on from `state`. Ends early only when the training
    diverges, with a last EpochResult that says why.
    """
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=learning_rate, fused=True)
    shuffler = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    sign = 1 if record.split_metric(metric)[1].maximize else -1
    done, seconds, best_epoch, best, best_weights = 0, 0.0, 0, {}, {}
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        shuffler.set_state(state["shuffler"])
        torch.set_rng_state(state["rng"])
        torch.cuda.set_rng_state_all(state["cuda_rng"])
        done, seconds, best_epoch, best, best_weights = (
            state[key] for key in ("epoch", "seconds", "best_epoch", "best", "best_weights")
        )

    num_iterations = epochs * math.ceil(len(train) / batch_size)

    def rate(iteration: int) -> float:
        return learning_rate * (1 - (iteration - 1) / num_iterations) if schedule == "linear" else learning_rate

    for epoch in range(done + 1, epochs + 1):
        started = time.perf_counter()
        curve: list[tuple[int, float, float]] = []
        metrics: dict[str, float] = {}
        diverged, test_probabilities_NC = None, None
        try:
            metrics |= _train_epoch(
                model,
                optimizer,
                train,
                shuffler,
                batch_size,
                max_grad_norm,
                word_dropout,
                rate,
                curve,
                curve_interval,
                epoch,
            )
            metrics |= _measure(_predict(model, val), val.labels_N, "val")
            if not best or sign * metrics[metric] > sign * best[metric]:
                best_epoch, best = epoch, {k: v for k, v in metrics.items() if k.startswith(record.SPLITS)}
                best_weights = copy.deepcopy(model.state_dict())
            if epoch == epochs:
                last_weights = copy.deepcopy(model.state_dict())
                model.load_state_dict(best_weights)
                logits_NC = _predict(model, test)
                best = best | _measure(logits_NC, test.labels_N, "test")
                test_probabilities_NC = logits_NC.softmax(1)
                model.load_state_dict(last_weights)
        except DivergenceError as reason:
            diverged = f"{reason} in epoch {epoch}"
        metrics[record.EPOCH_SECONDS] = time.perf_counter() - started
        seconds += metrics[record.EPOCH_SECONDS]
        yield EpochResult(
            epoch=epoch,
            metrics=metrics,
            curve=curve,
            best_epoch=best_epoch,
            best=best,
            diverged=diverged,
            seconds=seconds,
            test_probabilities_NC=test_probabilities_NC,
            state={
                "epoch": epoch,
                "seconds": seconds,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "shuffler": shuffler.get_state(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state_all(),  # empty without a card
                "best_epoch": best_epoch,
                "best": best,
                "best_weights": best_weights,
            },
        )
        if diverged:
            return


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    shuffler: torch.Generator,
    batch_size: int,
    max_grad_norm: float | None,
    word_dropout: float,
    rate: Callable[[int], float],
    curve: list[tuple[int, float, float]],
    curve_interval: int,
    epoch: int,
) -> dict[str, float]:
    """One pass over the shuffled examples. The training metrics are those of the batches as they were trained on."""
    model.train()
    order_N = torch.randperm(len(examples), generator=shuffler).to(examples.labels_N.device)
    labels_N = examples.labels_N[order_N]
    parameters = [p for p in model.parameters() if p.requires_grad]
    per_epoch = math.ceil(len(examples) / batch_size)
    logits, losses, norms, norms_of_layers = [], [], [], []
    for i in range(per_epoch):
        batch_B = order_N[i * batch_size : (i + 1) * batch_size]
        tokens_BT, lengths_B = _cut(examples.tokens_NT[batch_B], examples.lengths_N[batch_B])
        if word_dropout:
            tokens_BT = tokens_BT * (torch.rand(tokens_BT.shape, device=tokens_BT.device) >= word_dropout)
        logits_BC = model(tokens_BT, lengths_B)
        loss = cross_entropy(logits_BC, labels_N[i * batch_size : (i + 1) * batch_size])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        iteration = (epoch - 1) * per_epoch + i + 1
        at_point = iteration % curve_interval == 0
        if at_point or i == per_epoch - 1:  # norms at each iteration would cost 3 % of a small model's time
            norms_of_layers.append(_gradient_norms(model))
        if max_grad_norm is not None:
            norms.append(nn.utils.clip_grad_norm_(parameters, max_grad_norm))
        elif at_point or i == per_epoch - 1:
            norms.append(torch.stack(list(norms_of_layers[-1].values())).norm())
        optimizer.param_groups[0]["lr"] = rate(iteration)
        optimizer.step()
        logits.append(logits_BC.detach())
        losses.append(loss.detach())
        if at_point:
            since = losses[-min(curve_interval, len(losses)) :]
            mean_loss = float(torch.stack(since).mean())
            _require_finite("training loss", mean_loss, iteration)
            predicted = torch.cat(logits[-len(since) :]).argmax(1)
            end = min((i + 1) * batch_size, len(examples))
            wanted = labels_N[end - len(predicted) : end]
            curve.append((iteration, mean_loss, float((predicted == wanted).float().mean())))
    metrics = {record.LEARNING_RATE: rate(iteration)} | _measure(torch.cat(logits), labels_N, "train")
    metrics[record.GRAD_NORM] = float(torch.stack(norms).mean())
    _require_finite("gradient norm", metrics[record.GRAD_NORM])
    for layer in norms_of_layers[0]:
        norm = torch.stack([each[layer] for each in norms_of_layers]).mean()
        metrics[record.GRAD_NORM_OF + layer] = float(norm)
    return metrics


def _gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """The L2 norm of the gradient of each layer's own parameters, by the layer's name."""
    gradients: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            gradients.setdefault(name.rpartition(".")[0] or name, []).append(parameter.grad)
    return {layer: nn.utils.get_total_norm(own) for layer, own in gradients.items()}


def _cut(tokens_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """A batch without the columns that are padding in all of its texts."""
    return tokens_BT[:, : int(lengths_B.max())], lengths_B


def _predict(model: nn.Module, examples: Examples) -> Tensor:
    """The logits (N, C) of the model as it stands, without dropout."""
    model.eval()
    batches = zip(examples.tokens_NT.split(EVALUATION_BATCH), examples.lengths_N.split(EVALUATION_BATCH), strict=True)
    with torch.inference_mode():
        return torch.cat([model(*_cut(tokens_BT, lengths_B)) for tokens_BT, lengths_B in batches])


def _measure(logits_NC: Tensor, labels_N: Tensor, split: str) -> dict[str, float]:
    """Loss, accuracy, F1 and ROC AUC.

    Two classes: F1 and ROC AUC of the second, positive one. More: their macro averages, one against the rest.
    """
    # Its import takes a second; only what trains needs it, and not before the first epoch is over.
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_f1_score,
        multiclass_auroc,
        multiclass_f1_score,
    )

    loss = float(cross_entropy(logits_NC, labels_N))
    _require_finite(f"{split} loss", loss)
    num_classes = logits_NC.shape[1]
    predicted_N = logits_NC.argmax(1)
    if num_classes == 2:
        score_N = logits_NC.softmax(1)[:, 1]
        f1 = binary_f1_score(predicted_N, labels_N, validate_args=False)
        roc_auc = binary_auroc(score_N, labels_N, validate_args=False)
    else:
        f1 = multiclass_f1_score(predicted_N, labels_N, num_classes, average="macro", validate_args=False)
        roc_auc = multiclass_auroc(logits_NC.softmax(1), labels_N, num_classes, validate_args=False)
    return {
        f"{split}_loss": loss,
        f"{split}_accuracy": float((predicted_N == labels_N).float().mean()),
        f"{split}_f1": float(f1),
        f"{split}_roc_auc": float(roc_auc),
    }


def _require_finite(what: str, value: float, iteration: int | None = None) -> None:
    if not math.isfinite(value):
        at = f" at iteration {iteration}" if iteration else ""
        raise DivergenceError(f"{what} became {value}{at}")
