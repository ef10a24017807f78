"""Every kernel at every small size, by several threads and of arrays that are not dense, against torch: that the
numbers are right, and that nothing beyond an array is written or read.

Each array that a kernel gets lies between two guards of NaN: what it writes beyond an end is found there, and what it
reads beyond one is NaN in the results. `make sanitize` runs this file, without guards, with a library that has each
access checked by AddressSanitizer and UndefinedBehaviorSanitizer.

Shapes: see models/native/kernels.cpp.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from models.native import kernels, rows
from models.native.bag import mean_of_rows
from models.native.dense import dense
from models.native.padding import padding, real_words
from models.native.recurrence import elman, gru
from models.native.signatures import KERNELS, LANES, arguments
from models.native.window import window_attention

pytestmark = pytest.mark.usefixtures("compiled_kernels")

ACTIVATIONS = ("none", "relu", "tanh", "sigmoid")
GUARD = 64  # numbers on either side of an array: four of the longest vectors
SMALL = 33  # sizes from 1 to this one: below, at and above one and two of the longest vectors

Results = list[Tensor]
Sizes = tuple[int, ...]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def guarded(taken: Sequence[Tensor | None]) -> tuple[list[Tensor | None], Callable[[], list[int]]]:
    """Copies of the arrays between guards, and what tells the places of those of which a guard has changed."""
    copies: list[Tensor | None] = []
    wholes: list[Tensor] = []
    for tensor in taken:
        if tensor is None:
            copies.append(None)
            continue
        fill = torch.nan if tensor.is_floating_point() else True if tensor.dtype == torch.bool else -(2**30)
        whole = torch.full(
            (tensor.untyped_storage().nbytes() // tensor.itemsize + 2 * GUARD,), fill, dtype=tensor.dtype
        )
        copy = whole.as_strided(tensor.shape, tensor.stride(), GUARD)  # strides are the product's own
        copies.append(copy.copy_(tensor))
        wholes.append(whole)
    end_of = [
        GUARD + sum((size - 1) * stride for size, stride in zip(each.shape, each.stride(), strict=True)) + 1
        if each.numel()
        else GUARD
        for each in copies
        if each is not None
    ]
    before = [(whole[:GUARD].clone(), whole[end:].clone()) for whole, end in zip(wholes, end_of, strict=True)]

    def changed() -> list[int]:
        return [
            place
            for place, (whole, end, (front, back)) in enumerate(zip(wholes, end_of, before, strict=True))
            if not torch.equal(bits(whole[:GUARD]), bits(front)) or not torch.equal(bits(whole[end:]), bits(back))
        ]

    return copies, changed


def bits(x: Tensor) -> Tensor:
    return x.view(torch.int32) if x.is_floating_point() else x


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The kernels that have been called, each with its arrays between guards."""
    names: set[str] = set()
    library, plain = kernels._library(), kernels._call

    def call(name: str, tensors: tuple[Tensor | None, ...], *activations: str, numbers: tuple[int, ...] = ()) -> None:
        names.add(name)
        if os.environ.get("BAKEOFF_KERNELS") == "sanitize":  # which sees the end of an array only where no guard is
            return plain(name, tensors, *activations, numbers=numbers)
        taken, sizes = arguments(name, tensors)
        copies, changed = guarded(taken)
        pointers = [None if each is None else each.data_ptr() for each in copies]
        places = [kernels.ACTIVATIONS.index(activation) for activation in activations]
        getattr(library, name)(*pointers, *sizes, *numbers, *places, torch.get_num_threads())
        assert not changed(), f"{name} of sizes {sizes} wrote beyond array {changed()[0]}"
        for tensor, copy in zip(tensors[: len(KERNELS[name].outputs)], copies, strict=False):
            if tensor is not None and copy is not None:
                tensor.detach().copy_(copy)

    monkeypatch.setattr(kernels, "_call", call)
    return names


def scattered(*shape: int, scale: float = 1.0) -> Tensor:
    """Random numbers, of which no two neighbours lie side by side in memory."""
    return (scale * torch.randn(*shape, 2))[..., 0]


def results_and_gradients(function: Callable[..., Tensor], *tensors: Tensor) -> Results:
    own = [tensor.detach().requires_grad_() for tensor in tensors]  # the strides stay
    results = function(*own)
    weighting = scattered(*results.shape)
    torch.manual_seed(1)
    gradients = torch.autograd.grad((results * weighting).sum(), own)
    return [results.detach(), *(each.to_dense() for each in gradients)]


def a_product(sizes: Sizes, activation: str) -> Results:
    num_rows, depth, num_columns = sizes
    a_NK, b_KM, bias_M = scattered(num_rows, depth), scattered(depth, num_columns), scattered(num_columns)
    return [kernels.product(a_NK, b_KM), kernels.product(a_NK.t().contiguous().t(), b_KM, bias_M)]


def a_layer(sizes: Sizes, activation: str) -> Results:
    num_rows, depth, num_outputs = sizes
    tensors = scattered(num_rows, depth), scattered(num_outputs, depth), scattered(num_outputs)
    if kernels.usable(tensors[0]):
        return results_and_gradients(lambda x, W, b: dense(x, W, b, activation), *tensors)
    activate = {"none": lambda x: x, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[activation]
    return results_and_gradients(lambda x, W, b: activate(dense(x, W, b)), *tensors)


def a_time_loop(sizes: Sizes, activation: str) -> Results:
    num_words, num_texts, size, num_hidden = sizes
    padding_TB = padding(torch.randint(1, num_words + 1, (num_texts,)), num_words)
    tensors = (
        scattered(num_words, num_texts, size, scale=0.3),
        scattered(num_hidden, size, scale=0.3),
        scattered(num_hidden, num_hidden, scale=0.3 / num_hidden**0.5),
        scattered(num_hidden),
    )
    return results_and_gradients(
        lambda x, W, U, b: _real(elman(x, W, U, b, activation, padding_TB), padding_TB), *tensors
    )


def a_gated_time_loop(sizes: Sizes, activation: str) -> Results:
    num_words, num_texts, size, num_hidden = sizes
    padding_TB = padding(torch.randint(1, num_words + 1, (num_texts,)), num_words)
    tensors = (
        scattered(num_words, num_texts, size, scale=0.3),
        scattered(3 * num_hidden, size, scale=0.1),
        scattered(3 * num_hidden, num_hidden, scale=0.3 / num_hidden**0.5),
        scattered(3 * num_hidden, scale=0.3),
    )
    gate = ("sigmoid", "relu")[num_texts % 2]
    return results_and_gradients(
        lambda x, W, U, b: _real(gru(x, W, U, b, activation, gate, padding_TB), padding_TB), *tensors
    )


def _real(states_TBH: Tensor, padding_TB: Tensor | None) -> Tensor:
    """As the architectures do, nothing looks at padding."""
    return states_TBH if padding_TB is None else states_TBH * ~padding_TB.unsqueeze(2)


def a_window(sizes: Sizes, activation: str) -> Results:
    num_texts, num_words, num_hidden, num_features, window = sizes
    lengths_B = torch.randint(1, num_words + 1, (num_texts,))
    real_BT1 = real_words(lengths_B, num_words).unsqueeze(2)
    tensors = (
        scattered(num_texts, num_words, num_hidden + num_features, scale=0.5),
        scattered(num_texts, num_words, num_hidden, scale=0.5),
    )
    return results_and_gradients(lambda qv, k: window_attention(qv, k, lengths_B, window) * real_BT1, *tensors)


def a_bag(sizes: Sizes, activation: str) -> Results:
    num_texts, num_places, num_hidden, num_rows = sizes
    rows_BS = torch.randint(num_rows, (num_texts, num_places, 2))[..., 0]
    return results_and_gradients(lambda table: mean_of_rows(table, rows_BS), scattered(num_rows, num_hidden))


def a_look_up(sizes: Sizes, activation: str) -> Results:
    num_texts, num_words, size, num_rows = sizes
    ids_BT = torch.randint(num_rows, (num_texts, num_words, 2))[..., 0]
    return results_and_gradients(lambda matrix: rows.look_up(matrix, ids_BT), scattered(num_rows, size))


def steps_on_rows(sizes: Sizes, activation: str) -> Results:
    num_rows, size, num_changed = sizes
    matrices = [scattered(num_rows, size).contiguous() for _ in range(4)]
    rows_R = torch.randperm(num_rows)[:num_changed]
    rates = {"rate": 0.1, "betas": (0.9, 0.999), "epsilon": 1e-8}
    matrices[2].abs_()
    rows.adam(*matrices[:3], rows_R, scattered(len(rows_R), size), step=3, **rates)  # type: ignore[arg-type]
    rows.move(matrices[3], scattered(num_rows, size), rows_R, scattered(len(rows_R)))
    return matrices


@dataclass(frozen=True)
class Case:
    """What reaches some kernels, and by `kernels.usable` torch in their place.

    beyond: larger sizes than the small ones, where a kernel goes on from one block to the next or starts threads.
    """

    kernels: frozenset[str]
    run: Callable[[Sizes, str], Results]
    num_sizes: int
    beyond: tuple[Sizes, ...] = ()


CASES = {
    "product": Case(frozenset({"product"}), a_product, 3, ((5, 300, 33), (300, 130, 40))),
    "layer": Case(frozenset({"product", "activation_backward"}), a_layer, 3, ((130, 129, 65),)),
    "elman": Case(frozenset({"elman_forward", "elman_backward"}), a_time_loop, 4, ((140, 70, 17, 49),)),
    "gru": Case(frozenset({"gru_forward", "gru_backward"}), a_gated_time_loop, 4, ((140, 70, 17, 49),)),
    "window": Case(frozenset({"window_forward", "window_backward"}), a_window, 5, ((3, 33, 16, 16, 40),)),
    "bag": Case(frozenset({"bag_forward", "bag_backward"}), a_bag, 4),
    "look_up": Case(frozenset({"sum_rows"}), a_look_up, 4),
    "rows": Case(frozenset({"adam_rows", "move_rows"}), steps_on_rows, 3),
}


def small_sizes(num_sizes: int) -> Iterator[Sizes]:
    """Each size from 1 to 33 in each dimension, against ever different sizes of the others; then the corners."""
    strides = (1, 4, 7, 10, 13)[:num_sizes]  # prime to 33, so each runs through all sizes
    for turn in range(SMALL):
        yield tuple((turn * stride + 5 * place) % SMALL + 1 for place, stride in enumerate(strides))
    yield (1,) * num_sizes
    yield (SMALL,) * num_sizes


def test_every_kernel_has_a_case() -> None:
    """One that is added comes with its signature and a case here."""
    declared = set(
        re.findall(r"^void (\w+)\(", kernels.SOURCE.read_text(encoding="utf-8").split('extern "C"')[1], re.M)
    )
    assert declared == set(KERNELS)
    assert set().union(*(case.kernels for case in CASES.values())) == declared


def test_small_sizes_are_all_there() -> None:
    for num_sizes in {case.num_sizes for case in CASES.values()}:
        for sizes in zip(*small_sizes(num_sizes), strict=True):
            assert set(sizes) == set(range(1, SMALL + 1))


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_small_sizes(name: str, num_threads: int, called: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    torch.set_num_threads(num_threads)
    for number, sizes in enumerate((*small_sizes(case.num_sizes), *case.beyond)):
        activation = ACTIVATIONS[(number + num_threads) % len(ACTIVATIONS)]
        found, again = (_run(case, sizes, activation, number) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "usable", lambda tensor: False)
            wanted = _run(case, sizes, activation, number)
        for one, same, other in zip(found, again, wanted, strict=True):
            assert torch.equal(one, same), (sizes, activation)
            atol = 1e-5 * max(1.0, float(other.abs().max()))
            torch.testing.assert_close(one, other, rtol=1e-4, atol=atol, msg=lambda m, at=sizes: f"{at}: {m}")
    assert called == case.kernels


def _run(case: Case, sizes: Sizes, activation: str, seed: int) -> Results:
    torch.manual_seed(seed)
    return case.run(sizes, activation)


@pytest.mark.parametrize("size", range(1, SMALL + 1))
@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_nothing_but_its_own_numbers_is_changed(activation: str, size: int) -> None:
    """The gradient of an activation, of fewer numbers than a vector has, in the middle of an array."""
    buffer = torch.full((size + 2 * GUARD,), 7.0)
    grad, outputs = torch.randn(size), torch.rand(size)
    kernels._call("activation_backward", (buffer[GUARD : GUARD + size], grad, outputs), activation)
    slopes = {"relu": (outputs > 0).float(), "tanh": 1 - outputs**2, "sigmoid": outputs - outputs**2}
    torch.testing.assert_close(buffer[GUARD : GUARD + size], grad * slopes[activation])
    assert (buffer[:GUARD] == 7).all()
    assert (buffer[GUARD + size :] == 7).all()


x_35 = torch.zeros(3, 5)
rows_2, gradients_25 = torch.tensor([2, 0]), torch.zeros(2, 5)
WRONG: dict[str, tuple[str, tuple[Any, ...], type[Exception], str]] = {
    "a shape": ("move_rows", (x_35, torch.zeros(4, 5), rows_2, torch.ones(2)), ValueError, r"to_VE is \(4, 5\)"),
    "a dimension": ("move_rows", (x_35, x_35, rows_2, torch.ones(2, 1)), ValueError, r"shares_R is \(2, 1\)"),
    "a type": (
        "move_rows",
        (x_35, x_35.double(), rows_2, torch.ones(2)),
        ValueError,
        "float32 on cpu, not torch.float64",
    ),
    "an index": (
        "move_rows",
        (x_35, x_35, torch.tensor([3, 0]), torch.ones(2)),
        IndexError,
        "rows_R has 0 to 3, where 0 to 2",
    ),
    "a negative index": ("move_rows", (x_35, x_35, -rows_2, torch.ones(2)), IndexError, "rows_R has -2 to 0"),
    "nothing": ("move_rows", (x_35, None, rows_2, torch.ones(2)), ValueError, "to_VE is missing"),
    "outputs with gaps": (
        "move_rows",
        (torch.zeros(5, 3).t(), x_35, rows_2, torch.ones(2)),
        ValueError,
        "from_VE is written to",
    ),
    "fewer columns than a vector": (
        "product",
        (torch.zeros(3, 8), torch.zeros(3, 5), torch.zeros(5, 8), None, "none"),
        ValueError,
        f"M is at least {LANES}",
    ),
    "part of a vector": (
        "elman_forward",
        (
            torch.zeros(2, 3, 17),
            torch.zeros(2, 3, 20),
            torch.zeros(20, 17),
            torch.zeros(17),
            torch.zeros(17, 17),
            None,
            "none",
        ),
        ValueError,
        f"H is a multiple of {LANES}",
    ),
    "too long a text": (
        "window_forward",
        (torch.zeros(1, 4, 3), torch.zeros(1, 4, 16), torch.zeros(1, 4, 32), torch.zeros(1, 4, 16), torch.tensor([5])),
        IndexError,
        "lengths_B has 5 to 5, where 0 to 4",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused(what: str) -> None:
    name, tensors, error, message = WRONG[what]
    activations = [each for each in tensors if isinstance(each, str)]
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        kernels._call(name, tuple(each for each in tensors if not isinstance(each, str)), *activations)


def test_an_empty_batch_has_no_gradient() -> None:
    inputs_TBD, W_HD, U_HH, b_H = torch.zeros(4, 0, 16), torch.ones(16, 16), torch.ones(16, 16), torch.ones(16)
    hidden_TBH = kernels.elman_forward(inputs_TBD, W_HD, U_HH, b_H, "relu", None)
    found = kernels.elman_backward(hidden_TBH, hidden_TBH, inputs_TBD, W_HD, U_HH, "relu", None, of_inputs=False)
    assert found[0] is None
    assert all((each == 0).all() for each in found[1:] if each is not None)
