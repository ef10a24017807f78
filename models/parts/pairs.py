"""Vectors of word pairs, which are added to those of words.

Shapes: B batch, T words, P pairs (T - 1), E embedding, R rows of the table, D their dimensions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.native.dense import dense
from models.native.hashing import hashes
from models.native.rows import look_up

NUM_ROWS = 2**20  # of the table, for all pairs: with a quarter of them accuracy is half a point lower
SIZE = 4  # dimensions of a row: as accurate as 50, with a twelfth of the memory, step time and checkpoint size


class PairVectors(nn.Module):
    """A vector (E) for each word of a text and the word before it, zero until it is trained.

    Pairs are hashed to the rows of a table, as in fastText (Joulin et al. 2016). Rows are narrow; one matrix maps them
    to the full width. The vector is zero at the first word of a text, at a missing word (id 0) and after one. The
    gradient of the table is sparse.
    """

    def __init__(self, size: int, *, num_rows: int = NUM_ROWS) -> None:
        super().__init__()
        self.rows_RD = nn.Parameter(torch.zeros(num_rows + 1, SIZE))  # row 0 stands for no pair, and stays zero
        self.widen = nn.Linear(SIZE, size, bias=False)
        nn.init.normal_(self.widen.weight)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        words_BT = tokens_BT.long()
        places_BP = torch.cat([words_BT[:, :0], *hashes(words_BT, 2, len(self.rows_RD) - 1)], 1)
        return dense(look_up(self.rows_RD, F.pad(places_BP + 1, (1, 0))), self.widen.weight, None)
