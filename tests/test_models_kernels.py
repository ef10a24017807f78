"""The compiled kernels against what torch does in their place, and how they come to a machine.

Shapes: B batch, T words, D input size, H hidden, F features.
"""

import runpy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import models
from models.native import kernels, rows
from models.native.padding import padding, real_words
from models.native.recurrence import elman, gru
from models.native.window import window_attention
from models.parts.layers import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("compiled_kernels")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def outputs_and_gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    outputs = function(*tensors)
    weighting = torch.linspace(-1, 1, outputs.numel()).view_as(outputs)
    return [outputs, *torch.autograd.grad((outputs * weighting).mean(), tensors)]


def assert_same(
    function: Callable[..., Tensor], tensors: list[Tensor], monkeypatch: pytest.MonkeyPatch, **tolerance: float
) -> None:
    assert kernels.usable(tensors[0])
    found = outputs_and_gradients(function, tensors)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "usable", lambda tensor: False)
        expected = outputs_and_gradients(function, tensors)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


@pytest.mark.parametrize(("num_hidden", "num_texts", "size"), [(1, 1, 50), (16, 3, 5), (40, 33, 50), (72, 8, 32)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_elman_with_padding(
    activation: str, num_hidden: int, num_texts: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    padding_TB = padding(torch.randint(1, 13, (num_texts,)), 12)
    shapes = ((12, num_texts, size), (num_hidden, size), (num_hidden, num_hidden), (num_hidden,))
    scales = (1, 0.1, 0.5 / num_hidden**0.5, 1)
    tensors = [(scale * torch.randn(shape)).requires_grad_() for scale, shape in zip(scales, shapes, strict=True)]

    def states(*own: Tensor) -> Tensor:  # as the architectures do, nothing looks at padding
        states_TBH = elman(*own, activation, padding_TB)
        return states_TBH if padding_TB is None else states_TBH * ~padding_TB.unsqueeze(2)

    assert_same(states, tensors, monkeypatch)


@pytest.mark.parametrize(("num_hidden", "num_texts", "size"), [(1, 1, 50), (16, 3, 5), (40, 33, 50)])
@pytest.mark.parametrize("gate_activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gru_with_padding(
    activation: str, gate_activation: str, num_hidden: int, num_texts: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    padding_TB = padding(torch.randint(1, 13, (num_texts,)), 12)
    shapes = ((12, num_texts, size), (3 * num_hidden, size), (3 * num_hidden, num_hidden), (3 * num_hidden,))
    scales = (0.3, 0.1, 0.3 / num_hidden**0.5, 0.3)
    tensors = [(scale * torch.randn(shape)).requires_grad_() for scale, shape in zip(scales, shapes, strict=True)]

    def states(*own: Tensor) -> Tensor:
        states_TBH = gru(*own, activation, gate_activation, padding_TB)
        return states_TBH if padding_TB is None else states_TBH * ~padding_TB.unsqueeze(2)

    assert_same(states, tensors, monkeypatch)


@pytest.mark.parametrize("num_words", [1, 9, 130])
@pytest.mark.parametrize("num_texts", [1, 32, 70])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_time_loops_of_any_length_width_and_layout(
    num_words: int, num_texts: int, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients of the weights are gathered over some words at a time, for parts of the batch; nothing need be
    contiguous."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    inputs_BTD = (0.3 * torch.randn(num_texts, num_words, 50)).requires_grad_()
    U_HH = (0.05 * torch.randn(32, 32)).requires_grad_()
    W_DH = (0.1 * torch.randn(50, 32)).requires_grad_()
    b_H = torch.randn(32).requires_grad_()
    assert_same(
        lambda x, W, U, b: elman(x.transpose(0, 1), W.t(), U.t(), b, "tanh").transpose(0, 1),
        [inputs_BTD, W_DH, U_HH, b_H],
        monkeypatch,
    )
    assert_same(
        lambda x, W, U, b: gru(x.transpose(0, 1), W.t().tile(3, 1), U.t().tile(3, 1), b.tile(3), "relu", "sigmoid"),
        [inputs_BTD, W_DH, U_HH, b_H],
        monkeypatch,
    )


@pytest.mark.parametrize("window", [1, 5, 40])
@pytest.mark.parametrize(("num_hidden", "num_features"), [(16, 48), (72, 16), (41, 50)])
def test_window(num_hidden: int, num_features: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    lengths_B = torch.tensor([1, 33, 17])
    real_BT1 = real_words(lengths_B, 33).unsqueeze(2)
    sizes = (num_hidden, num_hidden, num_features)
    tensors = [(torch.randn(3, 33, size) / size**0.25).requires_grad_() for size in sizes]

    def attended(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return window_attention(torch.cat((queries, values), 2), keys, lengths_B, window) * real_BT1

    assert_same(attended, tensors, monkeypatch, atol=1e-5)


class Allocated(TorchDispatchMode):
    """Counts the bytes of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, torch.UntypedStorage] = {}  # kept, so that no address is used twice

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self.storages[each.untyped_storage().data_ptr()] = each.untyped_storage()
        return made

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes() for each in self.storages.values())


@pytest.mark.parametrize("compiled", [True, False])
def test_memory_of_the_window_is_linear_in_words_and_window(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(kernels, "usable", lambda tensor: False)

    def num_bytes(num_words: int, window: int) -> int:
        queries_values_BTP = torch.randn(4, num_words, 64, requires_grad=True)
        keys_BTH = torch.randn(4, num_words, 32, requires_grad=True)
        with Allocated() as allocated:
            window_attention(queries_values_BTP, keys_BTH, torch.full((4,), num_words), window).sum().backward()
        return allocated.num_bytes

    assert num_bytes(800, 5) == pytest.approx(4 * num_bytes(200, 5), rel=0.02)
    # The difference to no window is what each word's neighbours take.
    of_ten, of_twenty, of_forty = (num_bytes(200, window) for window in (10, 20, 40))
    assert of_forty - of_twenty == pytest.approx(2 * (of_twenty - of_ten), rel=0.1)


@pytest.mark.parametrize("name", ["rnn", "gru", "mlp", "attention", "cnn"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_architectures(name: str, activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vectors_VE = torch.randn(50, 50)
    vectors_VE[0] = 0
    num_layers = 5 if name in ("mlp", "attention") else 2  # down to layers narrower than a vector
    embedding = models.WordVectors(vectors_VE)
    model = models.build(name, embedding, 3, hidden_size=24, num_layers=num_layers, activation=activation)
    lengths_B = torch.tensor([3, 20, 11, 20, 1])
    tokens_BT = torch.randint(1, 50, (5, 20)) * real_words(lengths_B, 20)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert_same(lambda *_: model(tokens_BT, lengths_B), parameters, monkeypatch, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 5, 3), (100, 300, 33), (33, 129, 16), (64, 50, 100)])
def test_product(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    num_rows, depth, num_columns = shape
    a_NK, b_KM, bias_M = torch.randn(num_rows, depth), torch.randn(depth, num_columns), torch.randn(num_columns)
    expected_NM = (a_NK.double() @ b_KM.double() + bias_M).float()
    for a, b in ((a_NK, b_KM), (a_NK.t().contiguous().t(), b_KM.t().contiguous().t())):
        torch.testing.assert_close(kernels.product(a, b, bias_M), expected_NM, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(kernels.product(a, b, bias_M, "relu"), expected_NM.relu(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_activations_over_all_their_range(activation: str) -> None:
    x_N16 = torch.cat((torch.linspace(-30, 30, 1024), torch.linspace(-1e4, 1e4, 1024))).view(-1, 16)
    found = kernels.product(x_N16, torch.eye(16), None, activation)
    torch.testing.assert_close(found, getattr(torch, activation)(x_N16), rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_stays_nan(activation: str) -> None:
    """That is how a trial is found to diverge."""
    inputs_TBD = torch.zeros(3, 2, 4)
    inputs_TBD[0, 0, 0] = torch.nan
    states_TBH = elman(inputs_TBD, torch.ones(16, 4), torch.eye(16), torch.zeros(16), activation)
    assert states_TBH[:, 0].isnan().all()
    assert states_TBH[:, 1].isfinite().all()
    states_TBH = gru(inputs_TBD, torch.ones(48, 4), torch.eye(16).tile(3, 1), torch.zeros(48), activation, "relu")
    assert states_TBH[:, 0].isnan().all()
    assert states_TBH[:, 1].isfinite().all()


@pytest.mark.parametrize("name", models.of_task(models.CLASSIFICATION))
def test_again_the_same_and_by_two_threads_nearly(name: str) -> None:
    torch.manual_seed(0)
    vectors_VE = torch.randn(50, 50)
    vectors_VE[0] = 0
    model = models.build(name, models.WordVectors(vectors_VE), 2, hidden_size=40)
    tokens_BT, lengths_B = torch.randint(1, 50, (70, 20)), torch.randint(1, 21, (70,))
    results = []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        torch.manual_seed(1)  # of dropout
        logits_BC = model(tokens_BT, lengths_B)
        model.zero_grad()
        logits_BC.logsumexp(1).sum().backward()
        gradients = (each.grad for each in model.parameters())
        results.append([logits_BC, *(each.to_dense() for each in gradients if each is not None)])
    for one, two, again in zip(*results, strict=True):
        assert torch.equal(one, again)
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As in a process of its own, on a machine where nothing has been compiled."""
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path))
    kernels._library.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    kernels._library.cache_clear()


def test_they_appear_once_compiled_and_can_be_switched_off(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.name() == "torch"
    assert not kernels.usable(torch.zeros(1))
    with ThreadPoolExecutor() as pool:  # as many workers may
        for future in [pool.submit(kernels.build) for _ in range(2)]:
            future.result()
    assert [path.name for path in empty_cache.iterdir()] == [kernels.path().name]
    assert kernels.name() == kernels.path().stem
    assert kernels.usable(torch.zeros(1))
    monkeypatch.setenv("BAKEOFF_KERNELS", "0")
    kernels._library.cache_clear()
    assert kernels.name() == "torch"


def test_a_broken_library_is_left_alone(empty_cache: Path) -> None:
    kernels.path().write_bytes(b"no library")
    assert kernels.name() == "torch"


def test_without_a_compiler_torch_does_their_work(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SystemExit, match=r"^no compiled kernels, torch will be used instead: .*no-such-compiler"):
        runpy.run_module("models", run_name="__main__")
    assert list(empty_cache.iterdir()) == []
    monkeypatch.setenv("CXX", "c++ -no-such-flag")
    with pytest.raises(SystemExit, match=r"^no compiled kernels, torch will be used instead: .*no-such-flag"):
        runpy.run_module("models", run_name="__main__")
    assert list(empty_cache.iterdir()) == []
    assert kernels.name() == "torch"


@pytest.mark.parametrize(("num_looked_up", "size"), [(0, 3), (1, 1), (40, 5), (300, 50)])
def test_sums_of_rows(num_looked_up: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    ids_1N, values_NE = torch.randint(60, (1, num_looked_up)), torch.randn(num_looked_up, size)
    gradient_VE = torch.sparse_coo_tensor(ids_1N, values_NE, (60, size), check_invariants=True)
    rows_R, sums_RE = rows.sums(gradient_VE)
    monkeypatch.setattr(kernels, "usable", lambda tensor: False)
    wanted_R, wanted_RE = rows.sums(gradient_VE)
    order_R = rows_R.argsort()
    assert torch.equal(rows_R[order_R], wanted_R)
    torch.testing.assert_close(sums_RE[order_R], wanted_RE)


@pytest.mark.parametrize("shape", [(3, 4), (7,), (0,)])
def test_a_look_up_and_its_gradient(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    ids = torch.randint(6, shape, dtype=torch.int32)
    matrix_VE, weighting = torch.randn(9, 5), torch.randn(*shape, 5)
    matrix_VE[0] = 0
    gradients = []
    for usable in (kernels.usable, lambda tensor: False):
        monkeypatch.setattr(kernels, "usable", usable)
        parameter = torch.nn.Parameter(matrix_VE)
        found = rows.look_up(parameter, ids)
        assert torch.equal(found, matrix_VE[ids.long()])
        (found * weighting).sum().backward()
        assert parameter.grad is not None
        assert parameter.grad.is_sparse
        assert 0 not in rows.sums(parameter.grad)[0]
        gradients.append(parameter.grad.to_dense())
    torch.testing.assert_close(*gradients)


def test_rows_that_move_towards_others(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    from_VE, to_VE = torch.randn(9, 5), torch.randn(9, 5)
    rows_R, shares_R = torch.tensor([8, 1, 4]), torch.tensor([0.0, 0.25, 1.0])
    results = []
    for usable in (kernels.usable, lambda tensor: False):
        monkeypatch.setattr(kernels, "usable", usable)
        results.append(from_VE.clone())
        rows.move(results[-1], to_VE, rows_R, shares_R)
    torch.testing.assert_close(*results)
    assert torch.equal(results[0][8], from_VE[8])
    torch.testing.assert_close(results[0][4], to_VE[4])
    torch.testing.assert_close(results[0][1], 0.75 * from_VE[1] + 0.25 * to_VE[1])
    assert torch.equal(results[0][2:4], from_VE[2:4])


@pytest.mark.parametrize("size", [1, 5, 50])
def test_adam_on_rows(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(20, size), torch.randn(20, size), torch.rand(20, size)]
    rows_R, gradients_RE = torch.tensor([7, 0, 19]), torch.randn(3, size)
    results = []
    for usable in (kernels.usable, lambda tensor: False):
        monkeypatch.setattr(kernels, "usable", usable)
        own = [matrix.clone() for matrix in matrices]
        setting = {"rate": 0.1, "betas": (0.9, 0.999), "epsilon": 1e-8}
        rows.adam(*own, rows_R, gradients_RE, step=3, **setting)  # type: ignore[arg-type]
        results.append(own)
    for before, one, other in zip(matrices, *results, strict=True):
        torch.testing.assert_close(one, other)
        assert (one != before).any(1).nonzero().squeeze(1).tolist() == [0, 7, 19]


def test_other_precisions_are_torchs() -> None:
    assert not kernels.usable(torch.zeros(1, dtype=torch.float64))
    assert not kernels.usable(torch.zeros(1, dtype=torch.bfloat16))
