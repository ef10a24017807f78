"""What fits and predicts on texts, searched beside networks: recorded, ranked, explained and exported as they are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import models
from data.base import plugins
from data.base.errors import UserError
from models.parts.estimator import TextEstimator
from models.parts.hyperparameters import Integer, Real

LINEAR = """from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def words(text):
    return text.split()


class TfidfLogistic:
    hyperparameters = {"ngrams": (1, 2), "C": (0.01, 100.0)}

    def __init__(self, ngrams=1, C=1.0, random_state=0):
        self.pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, ngrams), tokenizer=words, token_pattern=None),
            LogisticRegression(C=C, solver="liblinear", random_state=random_state),
        )

    def fit(self, texts, labels):
        self.pipeline.fit(texts, labels)

    def predict_proba(self, texts):
        return self.pipeline.predict_proba(texts)


def bayes(alpha=1.0):
    from sklearn.naive_bayes import MultinomialNB

    return make_pipeline(TfidfVectorizer(), MultinomialNB(alpha=alpha))


bayes.hyperparameters = {"alpha": (0.01, 10.0)}
"""
TEXTS = ["a good film , yes", "good and great", "a bad film , no", "bad and boring"]
LABELS_N = np.array([1, 1, 0, 0])


def made(name: str, source: str = LINEAR) -> Any:
    return plugins.Plugin(f"my_linear.py:{name}", source).load()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No test leaves its architectures to another."""
    yield
    for name in set(models.ARCHITECTURES) - set(models.OURS):
        del models.ARCHITECTURES[name]


def fitted(name: str, source: str = LINEAR, **hyperparameters: Any) -> TextEstimator:
    models.register(name, made(name, source))
    estimator = models.build_estimator(name, 7, **hyperparameters)
    estimator.fit(TEXTS, LABELS_N)
    return estimator


def test_a_class_and_a_function_are_taken_in() -> None:
    models.register("TfidfLogistic", made("TfidfLogistic"))
    models.register("bayes", made("bayes"))
    assert models.architecture("TfidfLogistic").hyperparameters == {"ngrams": Integer(1, 2), "C": Real(0.01, 100.0)}
    assert models.architecture("bayes").hyperparameters == {"alpha": Real(0.01, 10.0)}
    assert {models.architecture(name).task for name in ("TfidfLogistic", "bayes")} == {models.CLASSIFICATION}
    with pytest.raises(UserError, match="C must be a number from"):
        models.build_estimator("TfidfLogistic", C=0)


@pytest.mark.parametrize(("name", "values"), [("TfidfLogistic", {"ngrams": 2, "C": 3.0}), ("bayes", {"alpha": 0.1})])
def test_what_was_fitted_comes_back_from_its_files_without_pickle(name: str, values: dict[str, Any]) -> None:
    estimator = fitted(name, **values)
    said_NC = estimator.predict_proba(TEXTS)
    files = estimator.files()
    assert (estimator.predict_proba(TEXTS) == said_NC).all()  # writing has changed nothing
    again = models.build_estimator(name, **values)
    again.restore(files)
    assert (again.predict_proba(TEXTS) == said_NC).all()
    assert b"pickle" not in files["fitted.skops"].lower()
    assert estimator.num_parameters() == again.num_parameters()


def test_its_parameters_are_its_coefficients() -> None:
    estimator = fitted("TfidfLogistic")
    num_words = len({word for text in TEXTS for word in text.split()})
    assert estimator.num_parameters() == num_words + 1
    source = "class Silent:\n    hyperparameters = {}\n    def fit(self, texts, labels): pass\n"
    assert fitted("Silent", source + "    def predict_proba(self, texts): pass\n").num_parameters() is None


def test_it_is_given_the_seed_if_it_takes_one() -> None:
    estimator: Any = fitted("TfidfLogistic")
    assert estimator.pipeline[-1].random_state == 7


def test_what_skops_does_not_trust_is_refused_in_a_line_that_names_it() -> None:
    source = LINEAR.replace("tokenizer=words", "tokenizer=str.split")
    with pytest.raises(UserError) as refused:
        fitted("TfidfLogistic", source).files()
    line = "TfidfLogistic cannot be kept without pickle: skops does not trust builtins.method_descriptor"
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("last", "module"),
    [("CalibratedClassifierCV(LinearSVC(), cv=2)", "calibration"), ("RandomForestClassifier(3)", "ensemble")],
)
def test_what_holds_nothing_but_numbers_is_trusted(last: str, module: str) -> None:
    source = LINEAR.replace("MultinomialNB(alpha=alpha)", last).replace(
        "    from sklearn.naive_bayes import MultinomialNB",
        f"    from sklearn.{module} import {last.partition('(')[0]}\n    from sklearn.svm import LinearSVC",
    )
    estimator = fitted("bayes", source)
    again = models.build_estimator("bayes")
    again.restore(estimator.files())
    assert (again.predict_proba(TEXTS) == estimator.predict_proba(TEXTS)).all()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("ngrams=1, ", "", "its constructor does not take the hyperparameter 'ngrams'"),
        ("C=1.0, ", "*, C, ", "its constructor should have a default for 'C'"),
        ("C=1.0, ", "C=1000.0, ", "the default of C must be a number from 0.01 to 100, got 1000"),
        ("def predict_proba", "def predict", "should be a class, .* or with fit and predict_proba; got TfidfLogistic"),
        ("    hyperparameters =", "    parameters =", "should have a class attribute hyperparameters"),
    ],
)
def test_a_mistake_is_a_line(before: str, after: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^my_linear.py:TfidfLogistic: {message}"):
        models.register(
            "TfidfLogistic", made("TfidfLogistic", LINEAR.replace(before, after)), "my_linear.py:TfidfLogistic"
        )
