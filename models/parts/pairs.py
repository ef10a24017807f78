"""Vectors of pairs of words, which are added to those of words.

Shapes: B batch, T words, P pairs (T - 1), E embedding, R rows of the table, D their dimensions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.native.dense import dense
from models.native.hashing import hashes
from models.native.rows import look_up

NUM_ROWS = 2**20  # that pairs share: with a fourth of them accuracy is half a point lower
SIZE = 4  # of a row: as good as 50, at a twelfth of the memory, of the time of a step and of the checkpoint


class PairVectors(nn.Module):
    """A vector (E) for each word of a text and the word before it, zero until it is trained.

    Pairs share the rows of a table by a hash of their words, as in fastText (Joulin et al. 2016); a row is narrow, and
    widened by a matrix that all share. The first word of a text has no pair, nor has a word that is missing (id 0) or
    comes after a missing one: there the vector is zero. The gradient of the table is sparse.
    """

    def __init__(self, size: int, *, num_rows: int = NUM_ROWS) -> None:
        super().__init__()
        self.rows_RD = nn.Parameter(torch.zeros(num_rows + 1, SIZE))  # row 0 is that of no pair, and stays zero
        self.widen = nn.Linear(SIZE, size, bias=False)
        nn.init.normal_(self.widen.weight)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        words_BT = tokens_BT.long()
        places_BP = torch.cat([words_BT[:, :0], *hashes(words_BT, 2, len(self.rows_RD) - 1)], 1)
        return dense(look_up(self.rows_RD, F.pad(places_BP + 1, (1, 0))), self.widen.weight, None)
