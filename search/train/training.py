"""The training loop: a plain generator that yields one EpochResult an epoch.

Shapes: N examples, T words, B batch.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from models import Architecture
from search.base import record
from search.train.tasks import TASKS, Targets, Task

EVALUATION_BATCH = 128  # a larger one takes longer, and hundreds of megabytes for the states of a recurrent network


@dataclass(frozen=True)
class Examples:
    """A split on the device that trains: tokens_NT (integers), lengths_N, and what the task wants of each text."""

    tokens_NT: Tensor
    lengths_N: Tensor
    targets: Targets

    def __len__(self) -> int:
        return len(self.lengths_N)


@dataclass(frozen=True)
class EpochResult:
    """What one epoch brought.

    epoch: from 1.
    metrics: of this epoch, by name (see `search.base.record`).
    curve: a point each `curve_interval` iterations: iteration, training loss and accuracy since the last point or the
        epoch's start.
    best_epoch, best: the best epoch so far by the metric that ranks, 0 without any; its train and validation metrics,
        and after the last epoch the test metrics of its weights.
    diverged: why the trial cannot go on, or None.
    seconds: spent in the trial's epochs so far.
    picture: of what is made of some validation texts, as PNG, if the task has one.
    test_outputs_N: after the last epoch, the outputs for the test texts by the best epoch's weights.
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
    picture: bytes | None = field(default=None, compare=False, repr=False)
    test_outputs_N: Tensor | None = field(default=None, compare=False, repr=False)
    state: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All but what is large, in plain containers."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in LARGE}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "EpochResult":
        return cls(**content | {"curve": [tuple(point) for point in content["curve"]]})


LARGE = ("picture", "test_outputs_N", "state")  # of an EpochResult


class DivergenceError(Exception):
    """The loss or a metric is NaN or infinite."""


def train(
    model: Architecture,
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
    """Train with Adam on the loss of the model's task, yield after each epoch; the best epoch is the one with the best
    `metric`.

    word_dropout: this share of the words of each batch is read as the zero vector (Iyyer et al. 2015). schedule: of the
    learning rate, constant, or linear: falling to zero over all iterations of all `epochs`.

    All randomness (shuffling, dropout) is set from `seed`, or goes on from `state`. Ends early only when the training
    diverges, with a last EpochResult that says why.
    """
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=learning_rate, fused=True)
    shuffler = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    task = TASKS[model.task]
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
        diverged, picture, test_outputs_N = None, None, None
        try:
            metrics |= _train_epoch(
                model,
                task,
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
            logits_N = _predict(model, val)
            metrics |= _measure(task, logits_N, val.targets, "val")
            picture = task.picture(logits_N, val.targets)
            if not best or sign * metrics[metric] > sign * best[metric]:
                best_epoch, best = epoch, {k: v for k, v in metrics.items() if k.startswith(record.SPLITS)}
                best_weights = copy.deepcopy(model.state_dict())
            if epoch == epochs:
                last_weights = copy.deepcopy(model.state_dict())
                model.load_state_dict(best_weights)
                logits_N = _predict(model, test)
                best = best | _measure(task, logits_N, test.targets, "test")
                test_outputs_N = task.outputs(logits_N)
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
            picture=picture,
            test_outputs_N=test_outputs_N,
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
    task: Task,
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
    order_N = torch.randperm(len(examples), generator=shuffler).to(examples.lengths_N.device)
    targets = tuple(each_N[order_N] for each_N in examples.targets)
    parameters = [p for p in model.parameters() if p.requires_grad]
    per_epoch = math.ceil(len(examples) / batch_size)
    logits, losses, norms, norms_of_layers = [], [], [], []
    for i in range(per_epoch):
        batch_B = order_N[i * batch_size : (i + 1) * batch_size]
        tokens_BT, lengths_B = _cut(examples.tokens_NT[batch_B], examples.lengths_N[batch_B])
        if word_dropout:
            tokens_BT = tokens_BT * (torch.rand(tokens_BT.shape, device=tokens_BT.device) >= word_dropout)
        logits_B = model(tokens_BT, lengths_B)
        loss = task.loss(logits_B, tuple(each_N[i * batch_size : (i + 1) * batch_size] for each_N in targets))
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
        logits.append(logits_B.detach())
        losses.append(loss.detach())
        if at_point:
            since = losses[-min(curve_interval, len(losses)) :]
            mean_loss = float(torch.stack(since).mean())
            _require_finite("training loss", mean_loss, iteration)
            logits_N = torch.cat(logits[-len(since) :])
            end = min((i + 1) * batch_size, len(examples))
            wanted = tuple(each_N[end - len(logits_N) : end] for each_N in targets)
            curve.append((iteration, mean_loss, task.accuracy(logits_N, wanted)))
    metrics = {record.LEARNING_RATE: rate(iteration)} | _measure(task, torch.cat(logits), targets, "train")
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
    """The logits of the model as it stands, without dropout."""
    model.eval()
    batches = zip(examples.tokens_NT.split(EVALUATION_BATCH), examples.lengths_N.split(EVALUATION_BATCH), strict=True)
    with torch.inference_mode():
        return torch.cat([model(*_cut(tokens_BT, lengths_B)) for tokens_BT, lengths_B in batches])


def _measure(task: Task, logits_N: Tensor, targets: Targets, split: str) -> dict[str, float]:
    """The loss and the other metrics of the task."""
    loss = float(task.loss(logits_N, targets))
    _require_finite(f"{split} loss", loss)
    measured = {"loss": loss} | task.measure(logits_N, targets)
    return {f"{split}_{name}": value for name, value in measured.items()}


def _require_finite(what: str, value: float, iteration: int | None = None) -> None:
    if not math.isfinite(value):
        at = f" at iteration {iteration}" if iteration else ""
        raise DivergenceError(f"{what} became {value}{at}")
