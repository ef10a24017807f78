"""The time loops for GPUs against what torch does in their place: on a card if there is one, else interpreted on the
CPU; and that they can be compiled for cards.

Shapes: P networks, T words, B batch, D input size, H hidden.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from torch import Tensor

from models.native import kernels
from models.native import loops as shared
from models.native.loops import on_gpu
from models.native.padding import padding
from models.native.recurrence import elman, gru

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ACTIVATIONS = ("none", "relu", "tanh", "sigmoid")
#: T, B, H: one of each; texts and units that fill no block; whole blocks; the matrices read by parts.
SIZES = [(1, 1, 1), (5, 18, 20), (4, 32, 64), (3, 5, 65), (3, 17, 128)]


@pytest.fixture(autouse=True)
def loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The kernels, which this process runs for as long as the test takes."""
    if DEVICE == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")  # read when they are defined
        monkeypatch.delitem(sys.modules, "models.native.triton_loops", raising=False)
    monkeypatch.setattr(kernels, "usable", lambda tensor: False)
    monkeypatch.delenv("BAKEOFF_KERNELS", raising=False)
    shared._triton_loops.cache_clear()
    yield importlib.import_module("models.native.triton_loops")
    sys.modules.pop("models.native.triton_loops")
    shared._triton_loops.cache_clear()


def weights(num_gates: int, size: int, num_hidden: int) -> list[Tensor]:
    shapes = ((num_gates * num_hidden, size), (num_gates * num_hidden, num_hidden), (num_gates * num_hidden,))
    return [scale * torch.randn(shape) for scale, shape in zip((0.1, 0.5 / num_hidden**0.5, 0.3), shapes, strict=True)]


def outputs_and_gradients(network: str, tensors: list[Tensor], *settings: object) -> list[Tensor]:
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    outputs = {"elman": elman, "gru": gru}[network](*tensors, *settings)  # type: ignore[arg-type]
    weighting = torch.linspace(-1, 1, outputs.numel(), device=outputs.device).view_as(outputs)
    return [outputs, *torch.autograd.grad((outputs * weighting).mean(), tensors)]


@pytest.mark.parametrize(
    ("network", "activations", "sizes"),
    [("elman", (each,), SIZES[1]) for each in ACTIVATIONS]
    + [("gru", each, SIZES[1]) for each in product(ACTIVATIONS, ("sigmoid", "relu"))]
    + [(*each, sizes) for each in (("elman", ("tanh",)), ("gru", ("tanh", "sigmoid"))) for sizes in SIZES],
)
def test_loops_are_those_of_torch(network: str, activations: tuple[str, ...], sizes: tuple[int, int, int]) -> None:
    num_words, num_texts, num_hidden = sizes
    torch.manual_seed(0)
    padding_TB = padding(torch.randint(1, num_words + 1, (num_texts,)), num_words)
    tensors = [0.3 * torch.randn(num_words, num_texts, 7), *weights(3 if network == "gru" else 1, 7, num_hidden)]
    on_device = [tensor.to(DEVICE) for tensor in tensors]
    found = outputs_and_gradients(
        network, on_device, *activations, None if padding_TB is None else padding_TB.to(DEVICE)
    )
    assert on_gpu(on_device[0], num_hidden)
    expected = outputs_and_gradients(network, [tensor.double() for tensor in tensors], *activations, padding_TB)
    assert not on_gpu(tensors[0].double(), num_hidden)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu().double(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_networks", [3, 8])
def test_packed_networks_get_the_numbers_that_each_gets_alone(num_networks: int, loops: ModuleType) -> None:
    torch.manual_seed(0)
    gates_PTB3H, grad_PTBH = torch.randn(num_networks, 2, 18, 60), torch.randn(num_networks, 2, 18, 20)
    U_P3HH = 0.1 * torch.randn(num_networks, 60, 20)

    def loop(of: slice) -> tuple[Tensor, ...]:
        gates, grad, U = (each[of].clone().to(DEVICE) for each in (gates_PTB3H, grad_PTBH, U_P3HH))
        states = torch.zeros(len(gates), 3, 18, 20, device=DEVICE)
        hidden, delta = gates[..., :20].contiguous(), torch.empty_like(gates)
        loops.elman_forward(hidden, U[:, :20].contiguous(), "tanh")
        loops.gru_forward(gates, states, U, "tanh", "sigmoid")
        loops.gru_backward(delta, grad, gates, states, U, "tanh", "sigmoid")
        loops.elman_backward(grad, hidden, U[:, :20].contiguous(), "tanh")
        return hidden, grad, gates, states, delta

    together = loop(slice(None))
    for network in range(num_networks):
        for one, other in zip(loop(slice(network, network + 1)), together, strict=True):
            assert torch.equal(one[0], other[network])


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from models.native import triton_loops

SETTINGS = {"ACTIVATION": "tanh", "GATE_ACTIVATION": "sigmoid", "TEXTS": triton_loops.TEXTS}
for architecture in (80, 90):
    for units in (64, 128):
        for kernel in ("elman_forward", "elman_backward", "gru_forward", "gru_backward"):
            function = getattr(triton_loops, "_" + kernel)
            settings = SETTINGS | {"UNITS": units, "KEPT": units <= triton_loops.MOST_KEPT}
            names = function.arg_names
            types = {n: "constexpr" if n in settings else "i32" if n in "TBH" else "*fp32" for n in names}
            values = {(names.index(n),): value for n, value in settings.items() if n in names}
            source = ASTSource(function, signature=types, constexprs=values)
            options = {"num_warps": triton_loops.num_warps(units)}
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
            assert compiled.asm["cubin"]
            print(kernel, architecture, units, compiled.metadata.shared)
"""


@pytest.mark.slow
def test_triton_compiles_them_for_cards_and_their_shared_memory(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path)}
    (tmp_path / "compiling.py").write_text(COMPILE)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "compiling.py")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 16
    assert all(int(line.split()[-1]) <= 99 * 1024 for line in lines), done.stdout  # what any card since Ampere has
