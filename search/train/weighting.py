"""How much a text of each class counts in what is learned (`class_weights` of a spec).

Only the loss that is minimised is weighted: what is measured, the losses too, stays comparable between searches.

Shapes: N texts, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from data.base.errors import UserError, did_you_mean

NUM_LISTED = 20

ClassWeights = Literal["none", "balanced"] | Mapping[str, float]


def check(wanted: ClassWeights, classes: Sequence[str]) -> None:
    """Raises UserError, in one line, for the weight of a class that is not there."""
    for name in wanted if isinstance(wanted, Mapping) else ():
        if name not in classes:
            listed = ", ".join(repr(each[:40]) for each in classes[:NUM_LISTED])
            more = f" and {len(classes) - NUM_LISTED:,} more" if len(classes) > NUM_LISTED else ""
            near = did_you_mean(name, classes, else_all=False)
            raise UserError(f"class_weights: no class {name!r}{near}; the classes are {listed}{more}")


def class_weights(wanted: ClassWeights, classes: Sequence[str], labels_N: np.ndarray) -> np.ndarray | None:
    """(C,) float32: what each class counts; None where all count the same.

    balanced: as much as is needed for all classes together to count the same, the mean text 1 (King and Zeng 2001; as
    in scikit-learn). labels_N: of the training texts. A class that a mapping does not name counts 1.
    """
    if wanted == "none":
        return None
    if isinstance(wanted, Mapping):
        return np.array([wanted.get(name, 1.0) for name in classes], dtype=np.float32)
    counts_C = np.maximum(1, np.bincount(labels_N, minlength=len(classes)))
    return np.asarray(len(labels_N) / (len(classes) * counts_C), dtype=np.float32)
