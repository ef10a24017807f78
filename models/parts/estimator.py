"""Estimators as architectures: objects with `fit` and `predict_proba` on texts, such as scikit-learn pipelines.

Shapes: N texts, C classes.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, ClassVar

import numpy as np

from data.base.errors import UserError
from models.parts.hyperparameters import Domain, Input
from models.parts.layers import CLASSIFICATION

#: The files of a fitted estimator: everything except its vocabularies, and the vocabularies.
FITTED, VOCABULARIES = "fitted.skops", "vocabularies.json"
VOCABULARY = "vocabulary_"  # as scikit-learn calls a vectorizer's
COEFFICIENTS = ("coef_", "intercept_", "feature_log_prob_")
SAMPLE_WEIGHT = "sample_weight"  # the argument of a `fit` that can weigh texts, as scikit-learn calls it
RANDOM_STATE = "random_state"  # the argument of a constructor that is given the trial's seed
#: Maximum number of words of all training texts of an estimator, which gets the first texts that fit. NB-SVM takes 100
#: bytes per word to learn, which is two gigabytes for each concurrent trial.
MOST_WORDS = 20_000_000
#: Types of scikit-learn that hold only numbers, but that skops does not trust by default.
TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
)


class TextEstimator:
    """A model that is fitted to whole texts at once, instead of trained on word ids by gradients.

    A subclass declares `hyperparameters`, one domain for each keyword argument of its constructor. If the constructor
    also takes `random_state`, it gets the seed of the trial. `adopt` converts any class with `fit` and `predict_proba`.
    """

    task: ClassVar[str] = CLASSIFICATION
    learner: ClassVar[str] = "estimator"
    recurrent: ClassVar[bool] = False
    reads_embeddings: ClassVar[bool] = False  # whether `texts` are embeddings (N, E) by an encoder
    reads_words: ClassVar[bool] = True  # whether it reads `texts`; if not, it may get empty ones
    depends_on_words: ClassVar[bool] = False  # whether a baseline depends on the number of words read
    hyperparameters: ClassVar[Mapping[str, Domain]] = {}
    inputs: ClassVar[Mapping[str, Input]] = {}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {}  # of a baseline: the values that every search tries

    #: Seconds saved by reusing work of an earlier estimator in this process.
    spared_seconds: float = 0.0

    def fit(self, texts: Sequence[str], labels_N: np.ndarray, sample_weight: np.ndarray | None = None) -> object:
        """Learn from texts, whose words are separated by spaces, and labels from 0 to C - 1 or, if a text can have
        several classes, ones and zeros (N, C).

        sample_weight: the weight of each text; None for equal weights. External estimators may lack this argument.
        """
        raise NotImplementedError

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities (N, C), which sum to 1 unless a text can have several classes."""
        raise NotImplementedError

    def predict_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Like `predict_proba`, part by part, for more texts than fit into memory."""
        return map(self.predict_proba, parts)

    def num_parameters(self) -> int | None:
        """The number of fitted coefficients, or None if unknown."""
        return sum(np.size(part[name]) for part in _parts(self) for name in COEFFICIENTS if name in part) or None

    def files(self) -> dict[str, bytes]:
        """The fitted state without pickle. Raises UserError that names what cannot be written."""
        from skops import io

        # Without vocabularies, of which skops would write a kilobyte per word, taking longer than fitting does.
        owners = [part for part in _parts(self) if isinstance(part.get(VOCABULARY), dict)]
        vocabularies = [part[VOCABULARY] for part in owners]
        try:
            for number, part in enumerate(owners):
                part[VOCABULARY] = number
            fitted = io.dumps(vars(self))
            refused = sorted({*io.get_untrusted_types(data=fitted)} - {*self._trusted(fitted)})
            if not refused:  # a lambda can be written, but not loaded
                io.loads(fitted, trusted=self._trusted(fitted))
        except Exception as error:  # of any kind: skops calls methods of the parts
            reason = " ".join(str(error).split())
            raise UserError(f"{type(self).__name__} cannot be kept without pickle: {reason}") from error
        finally:
            for part, vocabulary in zip(owners, vocabularies, strict=True):
                part[VOCABULARY] = vocabulary
        if refused:
            listed = ", ".join(refused)
            raise UserError(
                f"{type(self).__name__} cannot be kept without pickle: skops does not trust {listed}; use functions "
                "of your file instead"
            )
        words = [sorted(vocabulary_of_part, key=vocabulary_of_part.__getitem__) for vocabulary_of_part in vocabularies]
        return {FITTED: fitted, VOCABULARIES: json.dumps(words).encode()}

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Restore the state from these files. Raises an error of skops for an untrusted type."""
        from skops import io

        vars(self).update(io.loads(files[FITTED], trusted=self._trusted(files[FITTED])))
        vocabularies = json.loads(files[VOCABULARIES])
        for part in _parts(self):
            if isinstance(part.get(VOCABULARY), int):
                part[VOCABULARY] = {word: place for place, word in enumerate(vocabularies[part[VOCABULARY]])}

    def _trusted(self, fitted: bytes) -> list[str]:
        """The types in the file that hold only numbers, or that are defined in the module of this class."""
        from skops import io

        module = type(self).__module__
        types = io.get_untrusted_types(data=fitted)
        return [name for name in types if name in TRUSTED or name.rpartition(".")[0] == module]


def fit_weighted(made: Any, texts: Sequence[str], labels_N: np.ndarray, weights_N: np.ndarray | None) -> object:
    """Fit any estimator. weights_N: weights of texts, None for equal ones.

    A pipeline passes them to its last step. Raises UserError if `fit` takes no weights.
    """
    if weights_N is None:
        return made.fit(texts, labels_N)
    steps = getattr(made, "steps", None)
    last, prefix = (steps[-1][1], f"{steps[-1][0]}__") if steps else (made, "")
    if SAMPLE_WEIGHT not in inspect.signature(last.fit).parameters:
        raise UserError(
            f"class_weights: fit of {type(last).__name__} takes no {SAMPLE_WEIGHT}; add that, or leave "
            "class_weights out"
        )
    return made.fit(texts, labels_N, **{f"{prefix}{SAMPLE_WEIGHT}": weights_N})


def create(made: Callable[..., Any], seed: int, hyperparameters: Mapping[str, Any]) -> TextEstimator:
    """A new estimator of a class, with the seed if the class accepts one."""
    takes_seed = RANDOM_STATE in inspect.signature(made).parameters
    estimator: TextEstimator = made(**hyperparameters, **({RANDOM_STATE: seed} if takes_seed else {}))
    return estimator


def is_estimator(made: object) -> bool:
    """Whether `adopt` accepts it: a class with `fit` and `predict_proba`, or a function that returns such an object."""
    return isinstance(made, FunctionType) or (hasattr(made, "fit") and hasattr(made, "predict_proba"))


def adopt(made: Any, hyperparameters: Mapping[str, Domain]) -> type[TextEstimator]:
    """Convert a class with `fit` and `predict_proba`, or a function that returns such an object, to an architecture."""
    base = made if isinstance(made, type) else _Made
    bases = (base,) if issubclass(base, TextEstimator) else (base, TextEstimator)
    content: dict[str, Any] = {
        "hyperparameters": hyperparameters,
        "__signature__": inspect.signature(made),
        "__module__": made.__module__,
        "__doc__": made.__doc__,
    }
    if base is _Made:
        content["make"] = staticmethod(made)
    return type(made.__name__, bases, content)


class _Made(TextEstimator):
    """Wraps the object that a function returns."""

    make: Callable[..., Any]

    def __init__(self, **hyperparameters: Any) -> None:
        self.made = self.make(**hyperparameters)

    def fit(self, texts: Sequence[str], labels_N: np.ndarray, sample_weight: np.ndarray | None = None) -> object:
        return fit_weighted(self.made, texts, labels_N, sample_weight)

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self.made.predict_proba(texts))


def _parts(owner: object) -> Iterator[dict[str, Any]]:
    """The attributes of an object and of all objects it contains, at any depth, in lists, tuples and dicts too."""
    pending, seen = [owner], set[int]()
    while pending:
        value = pending.pop()
        if id(value) in seen or isinstance(value, type | FunctionType | ModuleType):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
        elif hasattr(value, "__dict__"):
            yield vars(value)
            pending += [attribute for name, attribute in vars(value).items() if name != VOCABULARY]
