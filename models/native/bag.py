"""The mean of some rows of a large table, with a gradient for these rows only.

Shapes: B batch, S rows of a text, R rows of the table, H hidden.
"""

from torch import Tensor
from torch.nn import functional as F


def mean_of_rows(table_RH: Tensor, rows_BS: Tensor) -> Tensor:
    """The mean (B, H) of the rows of each text; row 0 is none and does not count, and the mean of none is zero.

    The gradient of the table is sparse, and no row comes twice in it.
    """
    there_BS = rows_BS != 0
    num_B = there_BS.sum(1)
    rows_U, place_K = rows_BS[there_BS].unique(return_inverse=True)
    vectors_UH = F.embedding(rows_U, table_RH, sparse=True)
    means_BH: Tensor = F.embedding_bag(place_K, vectors_UH, num_B.cumsum(0) - num_B, mode="mean")
    return means_BH
