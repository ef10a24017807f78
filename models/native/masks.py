"""Random masks whose bits depend only on a seed and their position, not on the size of the tensor or on the device.

A batch that is padded further, or stacked with others, keeps its masks, and no generator is needed on a GPU. The bits
are hashes of a place's indices in wrapping 64-bit arithmetic, by the finalizer of SplitMix64 (Steele, Lea and Flood
2014).
"""

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 2^64 divided by the golden ratio
MIX1, MIX2 = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
MOST_SEEDS = 2**62
#: Types of devices on which training draws its masks this way. CPUs are faster with torch's generator.
BY_PLACE = {"cuda"}


def by_place(device: torch.device) -> bool:
    """Whether masks are drawn this way on that device."""
    return device.type in BY_PLACE


def draw_seed() -> int:
    """A seed from torch's generator of this process."""
    return int(torch.randint(MOST_SEEDS, ()))


def settings(seed: int, number: int, share: float) -> list[int]:
    """The argument of `kept` for the mask with this number among those of a seed. share: the dropped share, 0 to 1."""
    return [_wrapped(seed + (number + 1) * GOLDEN), round(share * 2**32)]


def kept(settings_2: Tensor, shape: tuple[int, ...], call: int = 0) -> Tensor:
    """A mask of this shape, False with the probability given to `settings`. call: the number of the mask among those
    with the same settings."""
    hashes = settings_2[0] + _wrapped(call * MIX2)
    for size in shape:
        index = torch.arange(1, size + 1, device=settings_2.device) * GOLDEN
        hashes = _mix(hashes.unsqueeze(-1) + index)
    return _shifted(hashes, 32) >= settings_2[1]


def _wrapped(number: int) -> int:
    """The number modulo 2^64, as a signed 64-bit integer."""
    return (number + 2**63) % 2**64 - 2**63


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * MIX1
    x = (x ^ _shifted(x, 27)) * MIX2
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; that of torch repeats the sign bit."""
    shifted: Tensor = (x >> bits) & (2 ** (64 - bits) - 1)
    return shifted
