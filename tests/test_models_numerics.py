"""The fast parts against plain references: time loops, windowed attention, dropout, word vectors.

Shapes: B batch, T words, V vocabulary, D input size, E embedding, H hidden, F features.
"""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

import models
from models.native.padding import real_words
from models.native.recurrence import elman, gru
from models.native.window import window_attention, window_weights
from models.parts.layers import ACTIVATIONS, Dropout

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {**ACTIVATIONS, "tanh": torch.tanh}
TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-5}, torch.float64: {"rtol": 1e-12, "atol": 1e-12}}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def weights(num_products: int, dtype: torch.dtype, size_in: int = 5, num_hidden: int = 7) -> list[Tensor]:
    """W, U, b; small enough for every activation to stay in bounds, none and relu included."""
    shapes = (
        (num_products * num_hidden, size_in),
        (num_products * num_hidden, num_hidden),
        (num_products * num_hidden,),
    )
    return [(0.4 * torch.randn(shape, dtype=dtype)).requires_grad_() for shape in shapes]


def outputs_and_gradients(function: Callable[..., Tensor], tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    outputs = function(*tensors)
    weighting = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    return outputs, *torch.autograd.grad((outputs * weighting).mean(), tensors)


def assert_same(function: Callable[..., Tensor], reference: Callable[..., Tensor], tensors: Sequence[Tensor]) -> None:
    found, expected = outputs_and_gradients(function, tensors), outputs_and_gradients(reference, tensors)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, **TOLERANCE[one.dtype])


def attend(queries_BTH: Tensor, keys_BTH: Tensor, values_BTF: Tensor, lengths_B: Tensor, window: int) -> Tensor:
    return window_attention(torch.cat((queries_BTH, values_BTF), 2), keys_BTH, lengths_B, window)


def plain_elman(inputs_TBD: Tensor, W: Tensor, U: Tensor, b: Tensor, activation: str) -> Tensor:
    state_BH = inputs_TBD.new_zeros(inputs_TBD.shape[1], U.shape[1])
    states = []
    for x_BD in inputs_TBD:
        state_BH = PLAIN[activation](x_BD @ W.t() + state_BH @ U.t() + b)
        states.append(state_BH)
    return torch.stack(states)


def plain_gru(inputs_TBD: Tensor, W: Tensor, U: Tensor, b: Tensor, activation: str, gate_activation: str) -> Tensor:
    s, g = PLAIN[activation], PLAIN[gate_activation]
    (W_c, W_z, W_r), (U_c, U_z, U_r), (b_c, b_z, b_r) = W.chunk(3), U.chunk(3), b.chunk(3)
    state_BH = inputs_TBD.new_zeros(inputs_TBD.shape[1], U.shape[1])
    states = []
    for x_BD in inputs_TBD:
        z = g(x_BD @ W_z.t() + state_BH @ U_z.t() + b_z)
        r = g(x_BD @ W_r.t() + state_BH @ U_r.t() + b_r)
        candidate = s(x_BD @ W_c.t() + (r * state_BH) @ U_c.t() + b_c)
        state_BH = (1 - z) * state_BH + z * candidate
        states.append(state_BH)
    return torch.stack(states)


@DTYPES
@pytest.mark.parametrize("num_words", [1, 2, 30])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_elman_against_a_plain_loop(activation: str, num_words: int, dtype: torch.dtype) -> None:
    tensors = [torch.randn(num_words, 3, 5, dtype=dtype).requires_grad_(), *weights(1, dtype)]
    assert_same(lambda *t: elman(*t, activation), lambda *t: plain_elman(*t, activation), tensors)


@DTYPES
@pytest.mark.parametrize("num_words", [1, 2, 30])
@pytest.mark.parametrize("gate_activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gru_against_a_plain_loop(activation: str, gate_activation: str, num_words: int, dtype: torch.dtype) -> None:
    tensors = [torch.randn(num_words, 3, 5, dtype=dtype).requires_grad_(), *weights(3, dtype)]
    tensors[2].data.mul_(0.5)
    found = (lambda *t: gru(*t, activation, gate_activation), lambda *t: plain_gru(*t, activation, gate_activation))
    if gate_activation == "relu":  # an open gate is not bounded by 1: stay where states do not explode
        tensors[0].data.mul_(0.3)
    assert_same(*found, tensors)


@DTYPES
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_elman_against_torch(activation: str, dtype: torch.dtype) -> None:
    reference = torch.nn.RNN(5, 7, nonlinearity=activation, dtype=dtype)
    reference.bias_hh_l0.data.zero_()
    tensors = [
        torch.randn(30, 3, 5, dtype=dtype).requires_grad_(),
        reference.weight_ih_l0,
        reference.weight_hh_l0,
        reference.bias_ih_l0,
    ]
    assert_same(lambda *t: elman(*t, activation), lambda x, *_: reference(x)[0], tensors)


@DTYPES
def test_gru_against_torch(dtype: torch.dtype) -> None:
    """torch has n = tanh(W x + r * (U h)) and h = (1 - z) n + z h. The two forms coincide where U is diagonal in the
    candidate, with z turned round: the logistic function of the negative."""
    reference = torch.nn.GRU(5, 7, dtype=dtype)
    reference.bias_hh_l0.data.zero_()
    W, U, b = (
        parameter.detach().clone()
        for parameter in (reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0)
    )  # rows of r, z, n
    diagonal = torch.diag(torch.rand(7, dtype=dtype))
    reference.weight_hh_l0.data[14:] = diagonal

    def ours(parameter: Tensor) -> Tensor:
        r, z, n = parameter.chunk(3)
        return torch.cat((n, -z, r))

    U[14:] = diagonal
    inputs_TBD = torch.randn(30, 3, 5, dtype=dtype).requires_grad_()
    states_TBH = gru(inputs_TBD, ours(W), ours(U), ours(b), "tanh", "sigmoid")
    expected_TBH = reference(inputs_TBD)[0]
    torch.testing.assert_close(states_TBH, expected_TBH, **TOLERANCE[dtype])
    W_ours, U_ours, b_ours = (ours(parameter).requires_grad_() for parameter in (W, U, b))
    gru(inputs_TBD, W_ours, U_ours, b_ours, "tanh", "sigmoid").square().mean().backward()
    (grad_inputs_TBD,) = torch.autograd.grad(reference(inputs_TBD)[0].square().mean(), inputs_TBD, retain_graph=True)
    torch.testing.assert_close(inputs_TBD.grad, grad_inputs_TBD, **TOLERANCE[dtype])
    reference(inputs_TBD)[0].square().mean().backward()
    torch.testing.assert_close(W_ours.grad, ours(reference.weight_ih_l0.grad), **TOLERANCE[dtype])
    torch.testing.assert_close(b_ours.grad, ours(reference.bias_ih_l0.grad), **TOLERANCE[dtype])
    torch.testing.assert_close(U_ours.grad[7:], ours(reference.weight_hh_l0.grad)[7:], **TOLERANCE[dtype])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck_of_elman(activation: str) -> None:
    tensors = [torch.randn(4, 2, 3, dtype=torch.float64).requires_grad_(), *weights(1, torch.float64, 3, 3)]
    assert torch.autograd.gradcheck(lambda *t: elman(*t, activation), tensors)


@pytest.mark.parametrize("gate_activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck_of_gru(activation: str, gate_activation: str) -> None:
    tensors = [torch.randn(4, 2, 3, dtype=torch.float64).requires_grad_(), *weights(3, torch.float64, 3, 3)]
    assert torch.autograd.gradcheck(lambda *t: gru(*t, activation, gate_activation), tensors)


@pytest.mark.parametrize("num_hidden", [1, 7])  # a matrix of one number is contiguous however it is turned
def test_time_loops_change_no_argument_and_take_any_layout(num_hidden: int) -> None:
    inputs_TBD = torch.randn(3, 8, 5).transpose(0, 1)
    grad_TBH = torch.randn(8, num_hidden, 3).transpose(1, 2)
    W, U, b = weights(3, torch.float32, num_hidden=num_hidden)
    arguments = (inputs_TBD, W, U, b, grad_TBH)
    before = [tensor.detach().clone() for tensor in arguments]
    for activation in ACTIVATIONS:
        gru(inputs_TBD, W, U, b, activation, "sigmoid").backward(grad_TBH)
        first = slice(num_hidden)
        elman(inputs_TBD, W[first], U[first], b[first], activation).backward(grad_TBH)
    for tensor, old in zip(arguments, before, strict=True):
        assert torch.equal(tensor, old)


def dense_attention(
    queries_BTH: Tensor, keys_BTH: Tensor, values_BTF: Tensor, lengths_B: Tensor, window: int
) -> Tensor:
    return dense_weights(queries_BTH, keys_BTH, lengths_B, window) @ values_BTF


def dense_weights(queries_BTH: Tensor, keys_BTH: Tensor, lengths_B: Tensor, window: int) -> Tensor:
    position = torch.arange(queries_BTH.shape[1])
    near_TT = (position.unsqueeze(1) - position).abs() <= window
    allowed_BTT = near_TT & real_words(lengths_B, len(position)).unsqueeze(1)
    scores_BTT = queries_BTH @ keys_BTH.transpose(1, 2)
    return scores_BTT.masked_fill(~allowed_BTT, torch.finfo(scores_BTT.dtype).min).softmax(2)


@DTYPES
@pytest.mark.parametrize("num_words", [1, 4, 10, 33])
@pytest.mark.parametrize("window", [1, 2, 5, 8, 40])
def test_windowed_attention_against_dense_attention(window: int, num_words: int, dtype: torch.dtype) -> None:
    lengths_B = torch.tensor([1, num_words, (num_words + 1) // 2])
    real_BT1 = real_words(lengths_B, num_words).unsqueeze(2)
    tensors = [torch.randn(3, num_words, size, dtype=dtype).requires_grad_() for size in (6, 6, 4)]
    assert_same(
        lambda *t: attend(*t, lengths_B, window) * real_BT1,
        lambda *t: dense_attention(*t, lengths_B, window) * real_BT1,
        tensors,
    )
    assert attend(*tensors, lengths_B, window).isfinite().all()

    weights_BTJ = window_weights(*tensors[:2], lengths_B, window)
    assert weights_BTJ.shape == (3, num_words, 2 * window + 1)
    dense_BTT = dense_weights(*tensors[:2], lengths_B, window)
    for b, length in enumerate(lengths_B.tolist()):
        for t in range(length):
            for j in range(2 * window + 1):
                neighbour = t + j - window
                expected = dense_BTT[b, t, neighbour].item() if 0 <= neighbour < length else 0.0
                assert weights_BTJ[b, t, j].item() == pytest.approx(expected, abs=1e-6)


def test_gradcheck_of_windowed_attention() -> None:
    tensors = [torch.randn(2, 5, size, dtype=torch.float64).requires_grad_() for size in (3, 3, 2)]
    lengths_B = torch.tensor([5, 3])
    real_BT1 = real_words(lengths_B, 5).unsqueeze(2)
    assert torch.autograd.gradcheck(lambda *t: attend(*t, lengths_B, 2) * real_BT1, tensors)


@DTYPES
def test_attention_is_scaled_dot_product_attention(dtype: torch.dtype) -> None:
    """The folded products of the architecture against its formula, with query, key and value written out."""
    vectors_VE = torch.randn(20, 5)
    vectors_VE[0] = 0
    model = models.build("attention", models.WordVectors(vectors_VE), 3, hidden_size=7, window=2, activation="tanh")
    model = model.to(dtype)
    lengths_B = torch.tensor([1, 11, 6])
    real_BT1 = real_words(lengths_B, 11).unsqueeze(2)

    def reference(words_BTE: Tensor, *_: Tensor) -> Tensor:
        hidden_BTH = model.first(words_BTE)
        query, key, value = model.query(hidden_BTH), model.key(hidden_BTH), model.value(hidden_BTH)
        attended_BTH = dense_attention(query / math.sqrt(7), key, value, lengths_B, 2)
        return (model.tapered(attended_BTH) * real_BT1).sum(1) / lengths_B.unsqueeze(1)

    words_BTE = torch.randn(3, 11, 5, dtype=dtype).requires_grad_()
    assert_same(lambda words_BTE, *_: model.classify(words_BTE, lengths_B), reference, [words_BTE, *model.parameters()])

    tokens_BT = torch.randint(1, 20, (3, 11)) * real_BT1.squeeze(2)
    weights_BTJ = model.attention_weights(tokens_BT, lengths_B)
    torch.testing.assert_close(weights_BTJ.sum(2)[real_BT1.squeeze(2)], torch.ones(18, dtype=dtype))


def test_windowed_attention_makes_nothing_as_large_as_words_times_words() -> None:
    lengths_B = torch.tensor([3000, 2000])
    largest = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.untyped_storage().nbytes() // 4)
        return tensor

    tensors = [torch.randn(2, 3000, 4).requires_grad_() for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        attend(*tensors, lengths_B, 5).sum().backward()
    assert 0 < largest <= 2 * 3000 * 21


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    layer, ones = Dropout(share), torch.ones(401, 1001)
    dropped = layer(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert len(dropped.unique()) == 2
    per_column = (dropped == 0).float().mean(0)
    assert per_column.std().item() == pytest.approx(math.sqrt(share * (1 - share) / 401), rel=0.2)
    assert layer.eval()(ones) is ones


def test_frozen_vectors_are_neither_copied_nor_trained() -> None:
    vectors_VE = torch.randn(4, 3)
    vectors_VE[0] = 0
    frozen = models.WordVectors(vectors_VE)
    assert frozen.vectors_VE.data_ptr() == vectors_VE.data_ptr()
    assert models.num_parameters(frozen) == 0
    assert not frozen.state_dict()
    assert models.num_parameters(models.WordVectors(vectors_VE, trainable=True)) == 12


def test_learned_vectors_start_from_noise_with_a_zero_row() -> None:
    learned = models.WordVectors.learned(1000, 3)
    assert learned.size == 3
    assert not learned.vectors_VE[0].any()
    assert learned.vectors_VE[1:].std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("vectors", [torch.ones(4, 3), torch.zeros(4)])
def test_padding_needs_a_zero_row(vectors: Tensor) -> None:
    with pytest.raises(ValueError, match="word vectors must be a matrix with zeros in row 0, got"):
        models.WordVectors(vectors)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize(("name", "activation"), [("rnn", "none"), ("rnn", "relu"), ("gru", "none"), ("gru", "relu")])
def test_padding_has_no_effect_even_where_states_grow_to_infinity(name: str, activation: str, pooling: str) -> None:
    """Short texts in a batch with a long row of padding, and weights that would overflow there."""
    torch.manual_seed(1)
    vectors_VE = torch.randn(20, 6)
    vectors_VE[0] = 0
    model = models.build(
        name, models.WordVectors(vectors_VE), 2, hidden_size=8, num_layers=2, activation=activation, pooling=pooling
    )
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "U_" in parameter_name:
                parameter.mul_(6)
    tokens_BT = torch.randint(1, 20, (4, 5))
    lengths_B = torch.tensor([5, 3, 4, 5])
    tokens_BT[torch.arange(5) >= lengths_B.unsqueeze(1)] = 0

    def results(num_columns: int) -> list[torch.Tensor]:
        model.zero_grad()
        logits_BC = model(torch.nn.functional.pad(tokens_BT, (0, num_columns - 5)), lengths_B)
        logits_BC.logsumexp(1).sum().backward()
        return [logits_BC, *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None)]

    for padded, alone in zip(results(300), results(5), strict=True):
        assert padded.isfinite().all()
        torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-6)
