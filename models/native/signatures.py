"""The signatures of the kernels, and the check before a call, since a pointer has neither a type nor a size.

The last part of an array's name is its shape: `Ut_gates_H2H` has H rows of 2H numbers, `numbers_6` has six, and a name
without such a part is a single number. A letter is the same size in all arrays of a call.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import torch
from torch import Tensor

LANES = 16  # numbers in the longest vector of all processors supported by kernels.cpp

Rule = Callable[[Mapping[str, int]], bool]


@dataclass(frozen=True)
class Array:
    """An argument of a kernel. All are dense, last index fastest, except `strided` ones, whose strides are passed to
    the kernel.

    optional: may be null. below, up_to: the size that bounds its values, whole numbers from 0, exclusively or
    inclusively.
    """

    name: str
    dtype: torch.dtype = torch.float32
    optional: bool = False
    strided: bool = False
    below: str = ""
    up_to: str = ""
    dims: tuple[tuple[int, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        shape = re.search(r"_((?:\d*[A-Z])+|\d+)$", self.name)
        dims = re.findall(r"(\d*)([A-Z]?)", shape[1]) if shape else []
        object.__setattr__(
            self, "dims", tuple((int(factor or 1), letter) for factor, letter in dims if factor + letter)
        )


@dataclass(frozen=True)
class Kernel:
    """A function of kernels.cpp: pointers to its outputs and inputs, then as 64-bit integers the sizes, the strides of
    strided arrays and `numbers` further ones, then the activations and the number of threads.

    sizes: their letters, in the kernel's order. rules: conditions on the sizes, besides the shapes.
    """

    outputs: tuple[Array, ...]
    inputs: tuple[Array, ...]
    sizes: str
    rules: Mapping[str, Rule] = field(default_factory=dict)
    numbers: int = 0
    activations: int = 0

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        return *self.outputs, *self.inputs

    @property
    def num_integers(self) -> int:
        strides = sum(len(array.dims) for array in self.inputs if array.strided)
        return len(self.sizes) + strides + self.numbers


def arguments(name: str, tensors: Sequence[Tensor | None]) -> tuple[list[Tensor | None], list[int]]:
    """The tensors as the kernel needs them (inputs that are not dense are copied), and the sizes and strides.

    Raises ValueError if a tensor's type or shape does not fit, IndexError if an index is out of range.
    """
    kernel = KERNELS[name]
    sizes = _sizes(name, tuple(None if tensor is None else tensor.shape for tensor in tensors))
    taken: list[Tensor | None] = []
    strides: list[int] = []
    for array, tensor in zip(kernel.arrays, tensors, strict=True):
        if tensor is not None:
            if tensor.dtype != array.dtype or not tensor.is_cpu:
                raise ValueError(f"{name}: {array.name} is {array.dtype} on cpu, not {tensor.dtype} on {tensor.device}")
            if array.strided:
                strides += tensor.stride()
            elif not tensor.is_contiguous():
                if len(taken) < len(kernel.outputs):
                    raise ValueError(f"{name}: {array.name} is written to, so it has to be contiguous")
                tensor = tensor.contiguous()
            if array.below or array.up_to:
                _check_values(name, array, tensor, sizes)
        taken.append(tensor)
    return taken, [*(sizes[letter] for letter in kernel.sizes), *strides]


@lru_cache(maxsize=4096)  # most calls repeat earlier shapes
def _sizes(name: str, shapes: tuple[torch.Size | None, ...]) -> Mapping[str, int]:
    """The sizes by their letters. Raises ValueError if the shapes do not fit."""
    kernel, sizes = KERNELS[name], dict[str, int]()
    for array, shape in zip(kernel.arrays, shapes, strict=True):
        if shape is None and array.optional:
            continue
        if shape is None or len(shape) != len(array.dims):
            raise ValueError(f"{name}: {array.name} is {'missing' if shape is None else tuple(shape)}")
        for (factor, letter), size in zip(array.dims, shape, strict=True):
            known = sizes.setdefault(letter, size // factor) if letter else 1
            if size != factor * known:
                raise ValueError(f"{name}: {array.name} is {tuple(shape)}, where those before it have {sizes}")
    for rule, holds in kernel.rules.items():
        if not holds(sizes):
            raise ValueError(f"{name}: {rule}, not {sizes}")
    return sizes


def _check_values(name: str, array: Array, tensor: Tensor, sizes: Mapping[str, int]) -> None:
    limit = sizes[array.below] if array.below else sizes[array.up_to] + 1
    if not tensor.numel():
        return
    lowest, highest = (bound.item() for bound in tensor.aminmax())
    if lowest < 0 or highest >= limit:
        raise IndexError(f"{name}: {array.name} has {lowest} to {highest}, where 0 to {limit - 1} are allowed")


def _of(names: str) -> tuple[Array, ...]:
    """Dense arrays of float32; one whose name ends in ? may be null."""
    return tuple(Array(name.rstrip("?"), optional=name.endswith("?")) for name in names.split())


_padding = (Array("padding_TB", torch.bool, optional=True),)
_whole_vectors: dict[str, Rule] = {
    f"D is at least {LANES}": lambda sizes: sizes["D"] >= LANES,
    f"H is a multiple of {LANES}": lambda sizes: sizes["H"] > 0 and sizes["H"] % LANES == 0,
}
_first_state: dict[str, Rule] = {"S is T + 1": lambda sizes: sizes["S"] == sizes["T"] + 1}
_neighbours: dict[str, Rule] = {
    "P is H + F": lambda sizes: sizes["P"] == sizes["H"] + sizes["F"],
    "J is odd": lambda sizes: sizes["J"] % 2 == 1,
    f"H and F are at least {LANES}": lambda sizes: min(sizes["H"], sizes["F"]) >= LANES,
}
_lengths = Array("lengths_B", torch.int64, up_to="T")

#: All functions of kernels.cpp.
KERNELS: Mapping[str, Kernel] = {
    "product": Kernel(
        _of("out_NM"),
        (Array("a_NK", strided=True), *_of("b_KM bias_M?")),
        "NMK",
        {f"M is at least {LANES}": lambda sizes: sizes["M"] >= LANES},
        activations=1,
    ),
    "activation_backward": Kernel(_of("delta_N"), _of("grad_N y_N"), "N", activations=1),
    "bag_forward": Kernel(
        (*_of("means_BH"), Array("num_B", torch.int64)),
        (*_of("table_RH"), Array("rows_BS", torch.int64, below="R")),
        "BSH",
    ),
    "bag_backward": Kernel(
        (
            Array("num", torch.int64),
            Array("rows_U", torch.int64),
            *_of("grad_UH"),
            Array("places_R", torch.int32),
        ),
        (Array("rows_BS", torch.int64, below="R"), Array("num_B", torch.int64), *_of("grad_BH")),
        "BSH",
    ),
    "elman_forward": Kernel(
        _of("hidden_TBH"),
        (*_of("inputs_TBD Wt_DH b_H Ut_HH"), *_padding),
        "TBDH",
        _whole_vectors,
        activations=1,
    ),
    "elman_backward": Kernel(
        _of("grad_inputs_TBD? grad_W_HD grad_U_HH grad_b_H"),
        (*_of("grad_TBH hidden_TBH inputs_TBD W_HD U_HH"), *_padding),
        "TBDH",
        _whole_vectors,
        activations=1,
    ),
    "gru_forward": Kernel(
        _of("states_SBH gates_TB3H?"),
        (*_of("inputs_TBD Wt_D3H b_3H Ut_candidate_HH Ut_gates_H2H"), *_padding),
        "TBDH",
        _whole_vectors | _first_state,
        activations=2,
    ),
    "gru_backward": Kernel(
        _of("grad_inputs_TBD? grad_W_3HD grad_U_candidate_HH grad_U_gates_2HH grad_b_3H"),
        (*_of("grad_TBH gates_TB3H states_SBH inputs_TBD W_3HD U_candidate_HH U_gates_2HH"), *_padding),
        "TBDH",
        _whole_vectors | _first_state,
        activations=2,
    ),
    "window_forward": Kernel(
        _of("weights_BTJ attended_BTF"), (*_of("queries_values_BTP keys_BTH"), _lengths), "BTHFJ", _neighbours
    ),
    "window_backward": Kernel(
        _of("grad_queries_values_BTP grad_keys_BTH"),
        (*_of("grad_BTF queries_values_BTP keys_BTH weights_BTJ"), _lengths),
        "BTHFJ",
        _neighbours,
    ),
    "sum_rows": Kernel(
        (
            Array("num", torch.int64),
            Array("rows_R", torch.int64),
            *_of("sums_RE"),
            Array("places_V", torch.int32),
        ),
        (Array("ids_N", torch.int64, below="V"), *_of("values_NE")),
        "NE",
        {"R is N or V": lambda sizes: sizes["R"] >= min(sizes["N"], sizes["V"])},
        numbers=1,
    ),
    "adam_rows": Kernel(
        _of("values_VE means_VE squares_VE"),
        (Array("rows_R", torch.int64, below="V"), *_of("gradients_RE numbers_6")),
        "RE",
    ),
    "move_rows": Kernel(
        _of("from_VE"), (*_of("to_VE"), Array("rows_R", torch.int64, below="V"), *_of("shares_R")), "RE"
    ),
}
