"""The order of classes."""

from __future__ import annotations

import math
import re
from typing import Any


def natural_order(label: str) -> tuple[Any, ...]:
    """Sort key: numbers first, by value; then words, numbers inside them by value ('v9' before 'v10')."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return 0, number, label
    pieces = re.split(r"(\d{1,18})", label.casefold())  # words and numbers by turns, a word (or '') first
    return 1, [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], label
