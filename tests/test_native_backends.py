"""`models.native` by everything that can do its work here, against plain torch in float64, alone and packed.

Backends: torch's own operations; the compiled kernels; Triton's kernels, interpreted on a processor; and a card, where
there is one.
"""

import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from models.native import kernels
from models.native import loops as shared
from models.native.bag import mean_of_rows
from models.native.dense import dense
from models.native.padding import padding
from models.native.recurrence import elman, gru
from models.native.rows import look_up
from models.native.window import window_attention

T, B, D, H = 4, 3, 17, 16
LENGTHS_B = torch.tensor([4, 1, 3])
IDS = torch.tensor([[1, 4, 4, 0], [2, 0, 0, 0], [5, 1, 3, 0]])


def of(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def real(outputs_TBH: Tensor) -> Tensor:
    """Without those of padding, which have no effect and no gradient in a network."""
    there_TB = torch.arange(T).unsqueeze(1) < LENGTHS_B
    return outputs_TBH * there_TB.unsqueeze(2).to(outputs_TBH.device)


Function = Callable[..., Tensor]
#: A function of floating-point tensors, and these.
CASES: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    **{
        f"elman-{activation}": (
            lambda *tensors, activation=activation: real(elman(*tensors, activation, padding_of(tensors[0]))),
            (of(T, B, D), of(H, D), of(H, H), of(H)),
        )
        for activation in ("none", "relu", "tanh", "sigmoid")
    },
    **{
        f"gru-{activation}-{gate}": (
            lambda *tensors, both=(activation, gate): real(gru(*tensors, *both, padding_of(tensors[0]))),
            (of(T, B, D), of(3 * H, D), of(3 * H, H), of(3 * H)),
        )
        for activation in ("none", "relu", "tanh", "sigmoid")
        for gate in ("sigmoid", "relu")
    },
    "attention": (
        lambda queries_values, keys: real(
            window_attention(queries_values, keys, LENGTHS_B.to(keys.device), 2).transpose(0, 1)
        ),
        (of(B, T, 2 * H), of(B, T, H)),
    ),
    "dense": (dense, (of(B, T, D), of(H, D), of(H))),
}
#: The same of a table, whose gradient is sparse; these are never packed.
OF_TABLES: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "bag": (lambda table: mean_of_rows(table, IDS.to(table.device)), (of(6, 5),)),
    "rows": (lambda table: look_up(table, IDS.to(table.device)), (of(6, 5).index_fill(0, torch.tensor([0]), 0),)),
}


def padding_of(inputs_TBD: Tensor) -> Tensor | None:
    return padding(LENGTHS_B.to(inputs_TBD.device), T)


def computed(function: Function, tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs and gradients, in float64 on the processor."""
    leaves = [each.clone().requires_grad_() for each in tensors]
    outputs = function(*leaves)
    weighting = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype, device=outputs.device)
    gradients = torch.autograd.grad((outputs * weighting.view_as(outputs)).sum(), leaves)
    return [each.detach().to_dense().cpu().double() for each in (outputs, *gradients)]


@pytest.mark.parametrize("backend", ["torch", "compiled", "triton", "cuda"])
class TestBackend:
    @pytest.fixture(autouse=True)
    def device(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """Where its tensors lie; this process uses it for as long as the test takes."""
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        if backend == "compiled" and not kernels.usable(torch.ones(1)):
            pytest.skip("no compiled kernels")
        if backend == "cuda" and not torch.cuda.is_available():
            pytest.skip("no GPU")
        if backend == "triton":
            pytest.importorskip("triton")
            monkeypatch.setenv("TRITON_INTERPRET", "1")  # read when the kernels are defined
            monkeypatch.delitem(sys.modules, "models.native.triton_loops", raising=False)
        if backend != "compiled":
            monkeypatch.setattr(kernels, "usable", lambda tensor: False)
        shared._triton_loops.cache_clear()
        yield "cuda" if backend == "cuda" else "cpu"
        if backend == "triton":
            sys.modules.pop("models.native.triton_loops", None)
        shared._triton_loops.cache_clear()

    @pytest.mark.parametrize("case", [*CASES, *OF_TABLES])
    def test_numbers_and_gradients_are_right(self, case: str, device: str) -> None:
        function, tensors = (CASES | OF_TABLES)[case]
        found = computed(function, tuple(each.float().to(device) for each in tensors))
        self.assert_equal(found, computed(function, tensors))

    @pytest.mark.parametrize("case", CASES)
    def test_packed_networks_get_the_numbers_of_each(self, case: str, device: str) -> None:
        function, tensors = CASES[case]
        stacks = tuple(torch.stack((each, 0.5 * each, each.flip(0))).float().to(device) for each in tensors)
        found = computed(torch.vmap(function), stacks)
        expected = [function(*(each[place].double().cpu() for each in stacks)) for place in range(3)]
        self.assert_equal(found[:1], [torch.stack(expected)])
        self.assert_equal(found, computed(torch.vmap(function), tuple(each.double().cpu() for each in stacks)))

    def assert_equal(self, found: list[Tensor], expected: list[Tensor]) -> None:
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
