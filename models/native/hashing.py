"""Hashes of n-grams of word ids, which select rows of a shared table.

Shapes: B batch, T words, P n-grams of one order (T - order + 1).
"""

from collections.abc import Iterator

from torch import Tensor

from models.native.padding import real_words

MULTIPLIER = -0x61C8864680B583EB  # odd, with irregular bits: 2^64 divided by the golden ratio (Knuth 1998, 6.4)


def words(tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
    """The ids (B, T), zero at padding."""
    return tokens_BT.long() * real_words(lengths_B, tokens_BT.shape[1])


def hashes(words_BT: Tensor, longest: int, num_places: int) -> Iterator[Tensor]:
    """For pairs, triples and so on up to `longest` words, a tensor (B, P) of hashes from 0 to num_places - 1, with
    num_places at most 2^32; -1 where a word is missing (id 0).

    Word ids are hashed in wrapping 64-bit arithmetic; the upper half of the hash, whose bits are mixed better, is
    scaled to the number of places (Lemire 2019).
    """
    hash_BP, whole_BP = words_BT, words_BT != 0
    for order in range(2, min(longest, words_BT.shape[1]) + 1):
        last_BP = words_BT[:, order - 1 :]
        hash_BP = (hash_BP[:, :-1] + 1) * MULTIPLIER + last_BP
        mixed_BP = (hash_BP ^ (hash_BP >> 29)) * MULTIPLIER
        whole_BP = whole_BP[:, :-1] & (last_BP != 0)
        place_BP = ((mixed_BP >> 32) & 0xFFFFFFFF) * num_places >> 32
        yield place_BP.where(whole_BP, -1)
