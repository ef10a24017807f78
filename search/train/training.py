"""The training loop: a generator that yields one Result per epoch, or several, and the steps to execute in between.

Shapes: N examples, T words, B batch.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from models import Architecture
from models.native import masks
from search.base import schema
from search.train import clock
from search.train.calibrating import calibrate
from search.train.config import TrainingConfig
from search.train.examples import Examples, Splits
from search.train.length import Length
from search.train.metrics import measured_in, split_metric
from search.train.optimizing import Optimizer, clip
from search.train.stepping import Loss, Step, Steps, Training
from search.train.tasks import Targets, Task
from search.train.thresholding import threshold


@dataclass(frozen=True)
class Result:
    """What a trial reports.

    step: counts the reports, from 1. Where an epoch has one, it is the epoch.
    metrics: of training since the last report and of this evaluation, by name (see `search.base.schema`).
    curve: a point every `curve_interval` iterations: iteration, training loss and accuracy since the last point or
        report.
    best_step, best: the best report so far by the ranking metric, 0 if there is none; its training and validation
        metrics and, with the last report, the test metrics of its weights, their calibration and the decision
        threshold of a binary classifier.
    diverged: why training cannot continue, or None.
    seconds: spent in the trial so far; in lockstep with others, its part of the time (see `clock`).
    time: when the driver received it, in ms since 1970; None before that, and in results of older versions.
    picture: a PNG of the outputs for some validation texts, if the task has one.
    test_outputs_N: with the last report, the outputs for the test texts by the best report's weights.
    state: continues the training after this report when passed to `train`; tensors may share memory with the model, so
        save it before requesting the next report.
    """

    step: int
    metrics: dict[str, float]
    curve: list[tuple[int, float, float]]
    best_step: int
    best: dict[str, float]
    diverged: str | None
    seconds: float
    time: int | None = field(default=None, compare=False)
    picture: bytes | None = field(default=None, compare=False, repr=False)
    test_outputs_N: Tensor | None = field(default=None, compare=False, repr=False)
    state: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All fields except the large ones, in plain containers."""
        return {KEPT_AS.get(f.name, f.name): getattr(self, f.name) for f in fields(self) if f.name not in LARGE}

    def to_checkpoint(self, *, last: bool) -> dict[str, Any]:
        """The content of a checkpoint of this report. The checkpoint of a trial's last report lacks what only further
        training would need."""
        state = {key: part for key, part in self.state.items() if not (last and key in GOES_ON)}
        return {"result": self.to_dict(), "state": state}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Result":
        kept = [f.name for f in fields(cls) if f.name not in (*LARGE, "time")]
        values = {name: content[KEPT_AS.get(name, name)] for name in kept} | {"time": content.get("time")}
        metrics = {schema.as_named_now(name): value for name, value in values["metrics"].items()}
        return cls(**values | {"metrics": metrics, "curve": [tuple(point) for point in values["curve"]]})


#: The parts of a state that only further training needs.
GOES_ON = ("model", "optimizer", "shuffler", "rng", "cuda_rng")
LARGE = ("picture", "test_outputs_N", "state")  # of a Result
#: Names of fields in studies and checkpoints, from the time when every epoch had one report.
KEPT_AS = {"step": "epoch", "best_step": "best_epoch"}


class DivergenceError(Exception):
    """The loss or a metric is NaN or infinite."""


def train(
    model: Architecture,
    splits: Splits,
    config: TrainingConfig,
    *,
    length: Length,
    metric: str,
    curve_interval: int,
    seed: int,
    state: dict[str, Any] | None = None,
    weights_C: Tensor | None = None,
) -> Steps[Result, None]:
    """Train with Adam on the loss of the splits' task and yield a Result at each report; the best report is the one
    with the best `metric`. In between, yield the steps that the caller has to execute (see `stepping`).

    All randomness (shuffling, dropout) starts from `seed` or continues from `state`; the number of reports does not
    influence what is learned. Ends early only if training diverges, with a last Result that says why. An epoch must
    have at least as many iterations as reports. The time that the model spends on the texts before the first iteration
    (see `Architecture.start_from`) counts in the first report. weights_C: weight of each class in the minimised loss,
    and so in the curve; metrics are not weighted.
    """
    started = clock.now()
    if state is None:
        model.class_weights_C = weights_C
        model.start_from(splits.train)
    optimizer = Optimizer(model, config)
    shuffler = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    task = splits.task
    sign = 1 if split_metric(metric)[1].maximize else -1
    done, seconds, best_step, best, best_weights = 0, 0.0, 0, {}, {}
    if state is not None:
        done, seconds, best_step, best, best_weights = (
            state[key] for key in ("epoch", "seconds", "best_epoch", "best", "best_weights")
        )
        if length.over(done, best_step):
            return  # the state may lack the other parts (see `Result.to_checkpoint`)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        shuffler.set_state(state["shuffler"])
        torch.set_rng_state(state["rng"])
        torch.cuda.set_rng_state_all(state["cuda_rng"])

    per_epoch = math.ceil(len(splits.train) / config.batch_size)
    assert length.reports_per_epoch <= per_epoch, "a part of an epoch without a batch"
    for step in range(done + 1, length.num_reports + 1):
        if step == done + 1 or (step - 1) % length.reports_per_epoch == 0:
            before_epoch = shuffler.get_state()
            order_N = torch.randperm(len(splits.train), generator=shuffler)
            if splits.train.lengths_N.is_cuda:
                order_N = order_N.pin_memory()  # so that batches of it are copied while the card computes
        before, last = (length.iteration(each, per_epoch) for each in (step - 1, step))
        rates = {i: config.rate((i - 1) / (length.epochs * per_epoch)) for i in range(before + 1, last + 1)}
        place = before % per_epoch
        part_N = order_N[place * config.batch_size : (place + last - before) * config.batch_size]
        log = _EpochLog(task, tuple(each_N[part_N] for each_N in splits.train.targets), curve_interval, last)
        metrics: dict[str, float] = {}
        diverged, picture, test_outputs_N = None, None, None
        try:
            yield from _train_epoch(model, optimizer, splits.train, part_N, config, rates, log, weights_C)
            metrics |= {schema.LEARNING_RATE: rates[last]} | log.metrics()
            with optimizer.averaged():
                logits_N = yield from _predict(model, splits.val)
                metrics |= measure(task, logits_N, splits.val.targets, "val")
                picture = task.picture(logits_N, splits.val.targets)
                if not best or sign * metrics[metric] > sign * best[metric]:
                    best_step, best = step, {k: v for k, v in metrics.items() if k.startswith(schema.SPLITS)}
                    best_weights = _copied(model)
                if length.over(step, best_step):
                    last_weights = _copied(model)
                    model.load_state_dict(best_weights)
                    val_logits_N = yield from _predict(model, splits.val)
                    logits_N = yield from _predict(model, splits.test)
                    best = best | measure(task, logits_N, splits.test.targets, "test")
                    held_out = val_logits_N, splits.val.targets, logits_N, splits.test.targets
                    best |= calibrate(task, *held_out) | threshold(task, metric, *held_out)
                    test_outputs_N = task.outputs(logits_N)
                    model.load_state_dict(last_weights)
        except DivergenceError as reason:
            diverged = f"{reason} in epoch {(step - 1) // length.reports_per_epoch + 1}"
        metrics[schema.EPOCH_SECONDS] = clock.now() - started
        seconds += metrics[schema.EPOCH_SECONDS]
        yield Result(
            step=step,
            metrics=metrics,
            curve=log.curve,
            best_step=best_step,
            best=best,
            diverged=diverged,
            seconds=seconds,
            picture=picture,
            test_outputs_N=test_outputs_N,
            state={
                "epoch": step,
                "seconds": seconds,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "shuffler": before_epoch if step % length.reports_per_epoch else shuffler.get_state(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state_all(),  # empty without a card
                "best_epoch": best_step,
                "best": best,
                "best_weights": best_weights,
            },
        )
        if diverged or length.over(step, best_step):
            return
        started = clock.now()


def _copied(model: nn.Module) -> dict[str, Any]:
    """A copy of the state dict. Unlike `clone`, `deepcopy` of a view of a stack would copy the whole stack."""
    state = model.state_dict()
    return {name: each.clone() if isinstance(each, Tensor) else copy.deepcopy(each) for name, each in state.items()}


class _EpochLog:
    """Collects the training metrics of the iterations of an epoch or of a part of one.

    targets: of the examples, in training order. last: the last iteration.
    curve: see Result.
    """

    def __init__(self, task: Task, targets: Targets, curve_interval: int, last: int) -> None:
        self.targets = targets
        self.curve: list[tuple[int, float, float]] = []
        self.task, self._curve_interval, self._last = task, curve_interval, last
        self._num_trained = 0
        self._logits: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._clipped_norms: list[Tensor] = []
        self._norms_of_layers: list[dict[str, Tensor]] = []

    def add_gradient(self, iteration: int, gradients: Mapping[str, Tensor]) -> None:
        """Call before clipping. Computing norms in every iteration would cost 3 % of a small model's time."""
        if iteration % self._curve_interval == 0 or iteration == self._last:
            layers = _gradient_norms(gradients)
            self._norms_of_layers.append(layers)
            self._norms.append(torch.stack(list(layers.values())).norm())

    def add_clipped_norm(self, norm: Tensor) -> None:
        self._clipped_norms.append(norm)

    def add_batch(self, iteration: int, logits_B: Tensor, loss: Tensor) -> None:
        """Raises DivergenceError if the loss at a point of the curve is not finite."""
        self._logits.append(logits_B.detach())
        self._losses.append(loss.detach())
        self._num_trained += len(logits_B)
        if iteration % self._curve_interval == 0:
            since = self._losses[-self._curve_interval :]
            mean_loss = float(torch.stack(since).mean())
            _require_finite("training loss", mean_loss, iteration)
            logits_N = torch.cat(self._logits[-len(since) :])
            wanted = tuple(each_N[self._num_trained - len(logits_N) : self._num_trained] for each_N in self.targets)
            self.curve.append((iteration, mean_loss, self.task.accuracy(logits_N, wanted)))

    def metrics(self) -> dict[str, float]:
        """Training metrics, computed from the logits during training, and the norms of the gradients."""
        metrics = measure(self.task, torch.cat(self._logits), self.targets, "train")
        metrics[schema.GRAD_NORM] = float(torch.stack(self._clipped_norms or self._norms).mean())
        _require_finite("gradient norm", metrics[schema.GRAD_NORM])
        for layer in self._norms_of_layers[0]:
            norm = torch.stack([each[layer] for each in self._norms_of_layers]).mean()
            metrics[schema.GRAD_NORM_OF + layer] = float(norm)
        return metrics


def _train_epoch(
    model: Architecture,
    optimizer: Optimizer,
    examples: Examples,
    order_N: Tensor,
    config: TrainingConfig,
    rates: Mapping[int, float],
    log: _EpochLog,
    weights_C: Tensor | None,
) -> Steps[Any, None]:
    """Train on these examples in this order. rates: the learning rate by iteration, counted over epochs."""
    model.train()
    targets = zip(*(each_N.split(config.batch_size) for each_N in log.targets), strict=True)
    batches = zip(rates.items(), order_N.split(config.batch_size), targets, strict=True)
    by_place = masks.by_place(examples.lengths_N.device)
    loss = Loss(log.task, config.label_smoothing, weights_C)
    for (iteration, rate), batch_B, targets_B in batches:
        optimizer.clear()
        seed = masks.draw_seed() if by_place else None
        answer = yield Step(model, examples, batch_B, Training(loss, targets_B, config.word_dropout, seed))
        assert answer.loss is not None
        gradients = optimizer.gradients()
        log.add_gradient(iteration, gradients)
        if config.max_grad_norm is not None:
            log.add_clipped_norm(clip(gradients, config.max_grad_norm))
        optimizer.step(rate)
        log.add_batch(iteration, answer.logits_B, answer.loss)


def _gradient_norms(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The L2 norm of the gradient of each layer's parameters, by the name of the layer."""
    of_layers: dict[str, list[Tensor]] = {}
    for name, gradient in gradients.items():
        of_layers.setdefault(name.rpartition(".")[0] or name, []).append(gradient)
    return {layer: nn.utils.get_total_norm(own) for layer, own in of_layers.items()}


def _predict(model: Architecture, examples: Examples) -> Steps[Any, Tensor]:
    """The logits of the current model, without dropout."""
    model.eval()
    logits: list[Tensor] = []
    for texts_B in examples.slices():
        answer = yield Step(model, examples, texts_B)
        logits.append(answer.logits_B)
    return torch.cat(logits)


def measure(
    task: Task, logits_N: Tensor, targets: Targets, split: str, predicted_N: Tensor | None = None
) -> dict[str, float]:
    """All metrics of the task. predicted_N: the predictions, if they do not follow from the logits alone."""
    loss = float(task.loss(logits_N, targets))
    _require_finite(f"{split} loss", loss)
    seen = task.observe(logits_N, targets, loss)
    if predicted_N is not None:
        seen = replace(seen, predicted_N=predicted_N)
    measured = {f"{split}_{metric.name}": metric.compute(seen) for metric in measured_in(task.name)}
    for name, value in measured.items():
        _require_finite(name.replace("_", " "), value)
    return measured


def _require_finite(what: str, value: float, iteration: int | None = None) -> None:
    if not math.isfinite(value):
        at = f" at iteration {iteration}" if iteration else ""
        raise DivergenceError(f"{what} became {value}{at}")
