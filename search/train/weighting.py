"""Class weights in training (`class_weights` in a spec).

Only the minimised loss is weighted. Metrics, including measured losses, stay comparable between searches.

Shapes: N texts, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from data.base.errors import UserError, did_you_mean

NUM_LISTED = 20

ClassWeights = Literal["none", "balanced"] | Mapping[str, float]


def check(wanted: ClassWeights, classes: Sequence[str]) -> None:
    """Raises UserError, in one line, for the weight of an unknown class."""
    for name in wanted if isinstance(wanted, Mapping) else ():
        if name not in classes:
            listed = ", ".join(repr(each[:40]) for each in classes[:NUM_LISTED])
            more = f" and {len(classes) - NUM_LISTED:,} more" if len(classes) > NUM_LISTED else ""
            near = did_you_mean(name, classes, else_all=False)
            raise UserError(f"class_weights: no class {name!r}{near}; the classes are {listed}{more}")


def class_weights(wanted: ClassWeights, classes: Sequence[str], labels_N: np.ndarray) -> np.ndarray | None:
    """The weight of each class, (C,) float32; None if all are equal.

    balanced: inversely proportional to the number of texts, with a mean weight of 1 over the texts (King and Zeng 2001;
    as in scikit-learn). labels_N: of the training texts. Classes missing from a mapping have weight 1.
    """
    if wanted == "none":
        return None
    if isinstance(wanted, Mapping):
        return np.array([wanted.get(name, 1.0) for name in classes], dtype=np.float32)
    counts_C = np.maximum(1, np.bincount(labels_N, minlength=len(classes)))
    return np.asarray(len(labels_N) / (len(classes) * counts_C), dtype=np.float32)
