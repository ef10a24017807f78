"""Equal numbers of trainable parameters: finds the hidden size for a given number."""

from typing import Any

from data.base.errors import UserError
from data.encoded import EncodedCorpus
from models import num_parameters
from search.train.config import HIDDEN_SIZE, domains
from search.train.running import build_model

TOLERANCE = 0.02


def solve_hidden_size(config: dict[str, Any], wanted: int, corpus: EncodedCorpus, embeddings: str) -> int:
    """The hidden size for which the model of this config has closest to `wanted` trainable parameters.

    The number grows with the hidden size. Raises UserError if none is within 2 %.
    """

    def count(hidden_size: int) -> int:
        return num_parameters(build_model({**config, HIDDEN_SIZE: hidden_size}, corpus, embeddings))

    domain = domains(config["architecture"])[HIDDEN_SIZE]
    low = high = domain.low  # type: ignore[attr-defined]  # an Integer
    while high < domain.high and count(high) < wanted:  # type: ignore[attr-defined]
        low, high = high, min(2 * high, domain.high)  # type: ignore[attr-defined]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < wanted else (low, middle)
    nearest = min((low, high), key=lambda size: abs(count(size) - wanted))
    if abs(count(nearest) - wanted) > TOLERANCE * wanted:
        raise UserError(
            f"no hidden_size gives {wanted:,} trainable parameters within {TOLERANCE:.0%}: "
            f"the nearest, {nearest}, gives {count(nearest):,}"
        )
    return int(nearest)
