"""What an iteration makes of the gradients: Adam, of the parameters that have dense ones as torch has it, and of those
that have sparse ones only in the rows that the batch has read.

Shapes: V rows of a parameter, E columns, R rows that have a gradient.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models import WordVectors
from models.native import rows
from search.train.config import TrainingConfig


class Optimizer:
    """Adam of a model's parameters (Kingma and Ba 2015).

    A parameter with a sparse gradient, as of word vectors that are looked up with `sparse=True`, is updated lazily:
    rows that have no gradient keep their values and their moments, where dense Adam would decay these and go on moving
    the rows. A row that has a gradient in every step gets the numbers of dense Adam.

    An iteration is `clear`, the backward pass, `gradients`, whatever is to be done to them in place, and `step`.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._named = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self._adam = torch.optim.Adam(self._named.values(), lr=config.learning_rate, fused=True)
        self._sparse: dict[str, tuple[Tensor, Tensor]] = {}
        for module in model.modules():
            if isinstance(module, WordVectors):
                module.sparse = config.adam == "lazy"

    def clear(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad(set_to_none=True)
        self._sparse = {}

    def gradients(self) -> dict[str, Tensor]:
        """Those of the backward passes since `clear`, by parameter; of a sparse one the rows (R, E) that are in it."""
        gradients: dict[str, Tensor] = {}
        for name, parameter in self._named.items():
            if parameter.grad is not None and parameter.grad.is_sparse:
                self._sparse[name] = rows.sums(parameter.grad)
                parameter.grad = None  # Adam leaves it alone
                gradients[name] = self._sparse[name][1]
            elif parameter.grad is not None:
                gradients[name] = parameter.grad
        return gradients

    def step(self, rate: float) -> None:
        """Go a step down the gradients, at this learning rate."""
        (group,) = self._adam.param_groups
        group["lr"] = rate
        self._adam.step()
        for name, (rows_R, gradients_RE) in self._sparse.items():
            parameter = self._named[name]
            state = self._adam.state[parameter]  # kept as Adam keeps it, so that a dense one can go on from it
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            rows.adam(
                parameter.data,
                state["exp_avg"],
                state["exp_avg_sq"],
                rows_R,
                gradients_RE,
                step=int(state["step"]),
                rate=rate,
                betas=group["betas"],
                epsilon=group["eps"],
                weight_decay=group["weight_decay"],
            )

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from: the state of Adam as torch keeps it."""
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state)


def clip(gradients: dict[str, Tensor], max_norm: float) -> Tensor:
    """Scale the gradients down to this L2 norm of all of them together if it is above; the norm before."""
    norm = nn.utils.get_total_norm(list(gradients.values()))
    scale = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    for gradient in gradients.values():
        gradient.mul_(scale)
    return norm
