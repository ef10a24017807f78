"""Receptive fields: the published report's example, and the Jacobian's pattern.

Shapes: T words, E embedding.
"""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import models
from models.parts.geometry import Window, reached, receptive_field

REPORT = [Window(3), Window(3), Window(2), Window(3), Window(5)]  # the third is a max-pooling with stride 1
WINDOWS = st.builds(Window, *(st.integers(low, high) for low, high in ((1, 5), (1, 3), (0, 2), (1, 3))))


def field_of(output: int, windows: Sequence[Window]) -> tuple[int, int]:
    """The first and the last input that an output sees; before 0 and beyond the input lies padding."""
    first = last = output
    for window in reversed(windows):
        first = first * window.stride - window.padding
        last = last * window.stride - window.padding + window.extent - 1
    return first, last


def extents(mask: Tensor) -> tuple[int, ...]:
    """How far apart the first and the last true element of a mask are in each dimension, both included."""
    places = mask.nonzero()
    return tuple((places.amax(0) - places.amin(0) + 1).tolist())


def test_the_reports_example_by_hand() -> None:
    """1 + 2 + 2 + 1 + 2 + 4."""
    assert receptive_field(REPORT) == 12
    assert field_of(50, REPORT) == (50, 61)


def test_the_reports_example_measured() -> None:
    torch.manual_seed(0)
    stack = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.MaxPool2d(2, stride=1), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 1, 5)
    ).double()
    assert stack(torch.zeros(1, 128, 128, dtype=torch.float64)).shape == (1, 117, 117)
    pictures = [torch.randn(1, 128, 128, dtype=torch.float64) for _ in range(8)]
    mask = reached(lambda x: stack(x)[0, 30, 50], pictures)[0]
    assert extents(mask) == (12, 12)
    assert mask[30:42, 50:62].all()
    assert mask.sum() == 12 * 12


def test_strides_multiply_by_hand() -> None:
    """Two poolings of two and a convolution of three on top: 1 + 1 + 1 * 2 + 2 * 4."""
    windows = [Window(2, stride=2), Window(2, stride=2), Window(3, padding=1)]
    assert receptive_field(windows) == 12
    assert field_of(0, windows) == (-4, 7)
    assert Window(3, dilation=4).extent == 9


def convolutions(windows: Sequence[Window]) -> nn.Sequential:
    """With weights above zero, so that nothing cancels."""
    layers = [nn.Conv1d(1, 1, each.kernel, each.stride, each.padding, each.dilation) for each in windows]
    for layer in layers:
        nn.init.uniform_(layer.weight, 0.5, 1.5)
    return nn.Sequential(*layers).double()


@given(windows=st.lists(WINDOWS, min_size=1, max_size=4), data=st.data())
@settings(deadline=None, max_examples=60)
def test_formula_against_the_jacobians_pattern(windows: list[Window], data: st.DataObject) -> None:
    size = receptive_field(windows) + data.draw(st.integers(0, 150))
    stack, levels = convolutions(windows), [torch.zeros(1, 1, size, dtype=torch.float64)]
    try:
        for layer in stack:
            levels.append(layer(levels[-1]))
    except RuntimeError:  # a window does not fit what is left
        assume(False)
    sizes = [level.shape[2] for level in levels]
    output = data.draw(st.integers(0, sizes[-1] - 1))
    for depth in range(len(windows), 0, -1):  # nothing of what it sees, on any level, is padding
        first, last = field_of(output, windows[depth - 1 :])
        assume(first >= 0)
        assume(last < sizes[depth - 1])
    first, last = field_of(output, windows)
    mask = reached(lambda x: stack(x)[0, 0, output], [levels[0]])[0, 0]
    places = mask.nonzero().flatten().tolist()
    assert (places[0], places[-1]) == (first, last)
    assert extents(mask) == (last - first + 1,) == (receptive_field(windows),)


@pytest.mark.parametrize(("num_layers", "kernel_size"), [(1, 1), (1, 4), (2, 3), (3, 2), (4, 3)])
def test_the_field_of_a_position_of_the_cnn(num_layers: int, kernel_size: int) -> None:
    """kernel + pooling of two, ever further apart: 1 + kernel * (2 ** layers - 1)."""
    torch.manual_seed(0)
    embedding = models.WordVectors.learned(9, 3)
    model = models.build("cnn", embedding, 2, num_layers=num_layers, kernel_size=kernel_size, activation="tanh")
    model = model.double().eval()
    assert isinstance(model, models.cnn.CNN)
    expected = 1 + kernel_size * (2**num_layers - 1)
    assert receptive_field(model.windows) == expected
    num_words = 4 * expected
    lengths_1 = torch.tensor([num_words])

    def middle(words_1TE: Tensor) -> Tensor:
        positions = model.positions(words_1TE, lengths_1)[0]
        return positions[0, positions.shape[1] // 2].sum()

    mask = reached(middle, [torch.randn(1, num_words, 3, dtype=torch.float64) for _ in range(40)])
    assert extents(mask.any(2)[0]) == (expected,)
