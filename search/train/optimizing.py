"""The optimizer: torch's Adam for dense gradients, and lazy Adam for sparse ones, which updates only the rows that the
batch has read.

Shapes: V rows of a parameter, E columns, R rows that have a gradient.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models import WordVectors
from models.native import rows
from search.train.config import TrainingConfig

BETAS, EPSILON = (0.9, 0.999), 1e-8  # as in the paper and in torch


class Optimizer:
    """Adam for a model's parameters (Kingma and Ba 2015), with an optional average of their past values.

    A parameter with a sparse gradient, such as word vectors that are looked up with `sparse=True`, is updated lazily:
    rows without a gradient keep their values and moments, where dense Adam would decay the moments and keep moving the
    rows. For a row with a gradient in every step the result equals dense Adam. Clipping and averaging work the same way
    for both.

    An iteration is `clear`, the backward pass, `gradients`, any changes to them in place, and `step`.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._named = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self._state: dict[str, dict[str, Tensor]] = {}  # of Adam, by parameter, from its first gradient on
        self._average = None if config.averaging is None else Average(self._named, config.averaging)
        self._sparse: dict[str, tuple[Tensor, Tensor]] = {}
        for module in model.modules():
            if isinstance(module, WordVectors):
                module.sparse = config.adam == "lazy" and module.vectors_VE.requires_grad

    def clear(self) -> None:
        """Discard the gradients."""
        for parameter in self._named.values():
            parameter.grad = None
        self._sparse = {}

    def gradients(self) -> dict[str, Tensor]:
        """The gradients since `clear`, by parameter; for a sparse gradient, its rows (R, E)."""
        gradients: dict[str, Tensor] = {}
        for name, parameter in self._named.items():
            if parameter.grad is not None and parameter.grad.is_sparse:
                self._sparse[name] = rows.sums(parameter.grad)
                parameter.grad = None  # so that dense Adam skips it
                gradients[name] = self._sparse[name][1]
            elif parameter.grad is not None:
                gradients[name] = parameter.grad
        return gradients

    def step(self, rate: float) -> None:
        """Update the parameters with this learning rate."""
        moved = {name: rows_R for name, (rows_R, _) in self._sparse.items()}
        if self._average is not None:
            self._average.before(moved)
        self._step_dense(rate)
        for name in self._sparse:
            self._step_rows(name, rate)
        if self._average is not None:
            self._average.after(moved)

    @torch.no_grad()
    def _step_dense(self, rate: float) -> None:
        """Like `torch.optim.Adam(fused=True)`, which would import torch's compiler and cost each worker a second."""
        groups: dict[tuple[torch.device, torch.dtype], list[str]] = {}
        for name, parameter in self._named.items():
            if parameter.grad is not None:
                groups.setdefault((parameter.device, parameter.dtype), []).append(name)
        for names in groups.values():
            parameters: list[Tensor] = [self._named[name] for name in names]
            states = [self._state_of(name) for name in names]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                parameters,
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=0.0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _state_of(self, name: str) -> dict[str, Tensor]:
        """The moments of a parameter in the form of torch's Adam, the same for dense and sparse gradients."""
        if name not in self._state:
            parameter = self._named[name].detach()
            moments = {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
            self._state[name] = {"step": torch.zeros((), device=parameter.device)} | moments
        state, parameter = self._state[name], self._named[name].detach()
        for key in ("exp_avg", "exp_avg_sq"):
            # Fused Adam goes by the order in memory, which changes when a parameter is stacked.
            if state[key].stride() != parameter.stride():
                state[key] = torch.empty_like(parameter).copy_(state[key])
        return state

    def _step_rows(self, name: str, rate: float) -> None:
        parameter, (rows_R, gradients_RE) = self._named[name], self._sparse[name]
        state = self._state_of(name)
        state["step"] += 1
        rows.adam(
            parameter.data,
            state["exp_avg"],
            state["exp_avg_sq"],
            rows_R,
            gradients_RE,
            step=int(state["step"]),
            rate=rate,
            betas=BETAS,
            epsilon=EPSILON,
        )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the model has the average of its weights, if one is kept."""
        if self._average is None:
            yield
            return
        own = {name: parameter.data for name, parameter in self._named.items()}
        for name, mean in self._average.means().items():
            self._named[name].data = mean
        try:
            yield
        finally:
            for name, parameter in self._named.items():
                parameter.data = own[name]

    def state_dict(self) -> dict[str, Any]:
        """The state for `load_state_dict`: Adam's moments by the number of the parameter, as in torch, and the average
        if one is kept."""
        moments = {number: self._state[name] for number, name in enumerate(self._named) if name in self._state}
        return {"state": moments} | ({"average": self._average.state_dict()} if self._average else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        names = list(self._named)
        self._state = {
            names[number]: {key: each.to(self._named[names[number]].device) for key, each in moments.items()}
            for number, moments in state["state"].items()
        }
        if self._average is not None:
            self._average.load_state_dict(state["average"])


class Average:
    """The exponential moving average of parameters: mean = share * mean + (1 - share) * parameters after each step. In
    the first steps, where this would overweight the initial values, it is the plain mean over all steps.

    Rows that a step does not change are averaged lazily: the missed steps are applied at once when the row is next
    changed or read, with the same result within rounding.
    """

    def __init__(self, named: dict[str, nn.Parameter], share: float) -> None:
        self._named, self._share = named, share
        self._means = {name: parameter.detach().clone() for name, parameter in named.items()}
        self._num_steps = 0
        self._log_kept = 0.0  # the logarithm of the weight that is left of the first step
        self._log_kept_V: dict[str, Tensor] = {}  # its value at the last step of each row

    def before(self, moved: dict[str, Tensor]) -> None:
        """Call before a step that changes these rows of some parameters and all of the others."""
        for name in self._log_kept_V.keys() - moved.keys():  # their gradient is dense in this step
            moved[name] = torch.arange(len(self._means[name]), device=self._means[name].device)
        for name, rows_R in moved.items():
            if name not in self._log_kept_V:
                self._log_kept_V[name] = rows_R.new_zeros(len(self._means[name]), dtype=torch.float64)
            self._catch_up(self._means[name], name, rows_R)

    def after(self, moved: dict[str, Tensor]) -> None:
        self._num_steps += 1
        share = min(self._share, 1 - 1 / self._num_steps)
        self._log_kept += math.log(share) if share else 0.0
        for name, parameter in self._named.items():
            mean = self._means[name]
            if name in moved:
                rows.move(mean, parameter.detach(), moved[name], mean.new_full((len(moved[name]),), 1 - share))
                self._log_kept_V[name][moved[name]] = self._log_kept
            else:
                mean.lerp_(parameter.detach(), 1 - share)

    def _catch_up(self, mean_VE: Tensor, name: str, rows_R: Tensor) -> None:
        missed_R = 1 - (self._log_kept - self._log_kept_V[name][rows_R]).exp()
        rows.move(mean_VE, self._named[name].detach(), rows_R, missed_R.to(mean_VE.dtype))

    def means(self) -> dict[str, Tensor]:
        """The averages, with all missed steps applied; do not write to them."""
        means = dict(self._means)
        for name, log_kept_V in self._log_kept_V.items():
            means[name] = means[name].clone()
            self._catch_up(means[name], name, torch.arange(len(log_kept_V), device=log_kept_V.device))
        return means

    def state_dict(self) -> dict[str, Any]:
        numbers = {"num_steps": self._num_steps, "log_kept": self._log_kept}
        return {"means": self._means, "log_kept_V": self._log_kept_V, **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, mean in state["means"].items():
            self._means[name].copy_(mean)
        self._log_kept_V = {name: each.to(self._means[name].device) for name, each in state["log_kept_V"].items()}
        self._num_steps, self._log_kept = state["num_steps"], state["log_kept"]


def clip(gradients: dict[str, Tensor], max_norm: float) -> Tensor:
    """Clip the total L2 norm of the gradients in place; returns the norm before."""
    norm = nn.utils.get_total_norm(list(gradients.values()))
    scale = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    for gradient in gradients.values():
        gradient.mul_(scale)
    return norm
