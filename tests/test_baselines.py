"""Baselines: the models, and their place in a search."""

import dataclasses
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import data
import models
from data.base.errors import UserError
from data.encoded import ALL_WORDS, TEXTS, WHOLE_TEXTS, EncodedCorpus, PackedTexts
from models import estimator_contract
from models.baselines import nbsvm
from models.baselines.counting import Grams, counted
from models.baselines.linear import TOLERANCE, Linear
from search.base import schema
from search.base.schema import Outcome
from search.prove import audit, replay
from search.run import confirm
from search.run.progress import Progress
from search.run.setting import make_setting
from search.run.state import outcome_of
from search.serve import export, loading
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.studies import Studies
from search.train import estimating
from search.train.length import Length
from search.train.running import run_trial
from tests.conftest import as_read, command
from tests.test_search_studies import HERE, epoch_result

NAMES = list(models.BASELINES)
LINEAR = [name for name in NAMES if issubclass(models.BASELINES[name], Linear)]


@pytest.fixture(scope="module")
def corpus() -> EncodedCorpus:
    return data.load("imdb", limit=600, max_words=30, texts=True, whole=True, progress=False)


def texts_of(corpus: EncodedCorpus, split: str = "train", words: str = TEXTS) -> tuple[list[str], np.ndarray]:
    examples = getattr(corpus, split)
    return [*examples.arrays[words]], examples.labels_N


def fitted(name: str, texts: list[str], labels_N: np.ndarray, **hyperparameters: Any) -> Any:
    estimator = models.build_estimator(name, **hyperparameters)
    estimator.fit(texts, labels_N)
    return estimator


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract_of_estimators(name: str) -> None:
    problems = [problem for _, problem in estimator_contract.check(models.BASELINES[name]) if problem]
    assert problems == []


@pytest.mark.parametrize("name", NAMES)
def test_its_grid_is_small_and_in_its_domains(name: str) -> None:
    architecture = models.BASELINES[name]
    assert set(architecture.grid) <= set(architecture.hyperparameters)
    points = [
        dict(zip(architecture.grid, each, strict=True)) for each in itertools.product(*architecture.grid.values())
    ]
    assert len(points) <= 6
    for point in points:
        models.check(name, point)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_any_number_of_classes_is_learned_and_comes_back_from_plain_files(name: str, num_classes: int) -> None:
    rng = np.random.default_rng(1)
    labels_N = np.arange(200) % num_classes
    texts = [" ".join([f"class{label}", *(f"word{n}" for n in rng.integers(0, 30, 5))]) for label in labels_N]
    estimator = fitted(name, as_read(name, texts), labels_N)
    asked = as_read(name, [*texts[:5], "", "not one known word"])
    said_NC = estimator.predict_proba(asked)
    assert said_NC.shape == (7, num_classes)
    assert said_NC.sum(axis=1) == pytest.approx(np.ones(7))
    if name != "majority":
        assert (estimator.predict_proba(as_read(name, texts)).argmax(1) == labels_N).all()
    files = estimator.files()
    assert not any(b"pickle" in content or b"csklearn" in content for content in files.values())
    again = models.build_estimator(name)
    again.restore(files)
    assert (again.predict_proba(asked) == said_NC).all()
    assert again.num_parameters() == estimator.num_parameters()


@pytest.mark.parametrize("ngrams", [1, 2])
def test_counts_are_those_of_scikit_learn(corpus: EncodedCorpus, ngrams: int) -> None:
    texts, _ = texts_of(corpus)
    grams, counts_NF, _ = counted(tuple(texts), ngrams)
    theirs = CountVectorizer(ngram_range=(1, ngrams), tokenizer=str.split, lowercase=False, token_pattern=None)
    wanted_NF = theirs.fit_transform(texts)
    named = [" ".join(grams.words[place] for place in gram if place >= 0) for gram in grams.grams_F2]
    order = [theirs.vocabulary_[name] for name in named]
    assert sorted(order) == list(range(wanted_NF.shape[1]))
    assert (counts_NF.toarray() == wanted_NF[:, order].toarray()).all()


def test_ngrams_are_found_among_those_that_are_known() -> None:
    known = counted(("a b c", "b c"), 2)[0]
    others = counted(("c d b c a b",), 2)[0]
    found = {
        tuple(others.words[place] for place in gram if place >= 0): place
        for gram, place in zip(others.grams_F2, known.find(others), strict=True)
    }
    names = [tuple(known.words[place] for place in gram if place >= 0) for gram in known.grams_F2]
    assert {name: names[place] for name, place in found.items() if place >= 0} == {
        each: each for each in (("a",), ("b",), ("c",), ("a", "b"), ("b", "c"))
    }
    kept = known.only(np.flatnonzero([name == ("b", "c") for name in names]))
    assert (kept.words, kept.grams_F2.tolist()) == (["b", "c"], [[0, 1]])
    assert Grams(["x"], np.array([[0, -1]])).find(others).tolist() == [-1] * len(others)


@pytest.mark.parametrize(("ngrams", "C"), [(1, 1.0), (2, 4.0)])
def test_tfidf_is_the_pipeline_of_scikit_learn(corpus: EncodedCorpus, ngrams: int, C: float) -> None:
    texts, labels_N = texts_of(corpus)
    options: dict[str, Any] = {"tokenizer": str.split, "lowercase": False, "token_pattern": None}
    theirs = make_pipeline(
        TfidfVectorizer(ngram_range=(1, ngrams), min_df=2, sublinear_tf=True, **options),
        LogisticRegression(C=C, solver="liblinear", dual=True, tol=TOLERANCE, random_state=0),
    ).fit(texts, labels_N)
    ours = fitted("tfidf", texts, labels_N, ngrams=ngrams, C=C)
    asked, _ = texts_of(corpus, "test")
    assert ours.predict_proba(asked) == pytest.approx(theirs.predict_proba(asked), abs=1e-3)
    assert ours.num_parameters() == theirs[-1].coef_.size + 1


def test_nbsvm_between_naive_bayes_and_the_regression(corpus: EncodedCorpus) -> None:
    """With an interpolation of 0 it ranks texts like Bernoulli naive Bayes; with 1 it is the logistic regression."""
    texts, labels_N = texts_of(corpus)
    vectorizer = CountVectorizer(
        ngram_range=(1, 2), min_df=2, binary=True, tokenizer=str.split, lowercase=False, token_pattern=None
    )
    features_NF = csr_array(vectorizer.fit_transform(texts).astype(float))
    of_2F = [1 + features_NF[labels_N == label].sum(axis=0) for label in (0, 1)]
    ratios_F = np.log(of_2F[1] / of_2F[1].sum()) - np.log(of_2F[0] / of_2F[0].sum())
    assert nbsvm.log_ratios(features_NF, labels_N == 1) == pytest.approx(ratios_F)

    asked, _ = texts_of(corpus, "test")
    asked_NF = csr_array(vectorizer.transform(asked))
    bayes = fitted("nbsvm", texts, labels_N, interpolation=0.0).predict_proba(asked)[:, 1]
    scores = asked_NF @ ratios_F
    assert ((scores > 0) == (bayes > 0.5)).mean() > 0.99
    theirs = LogisticRegression(C=1.0, solver="liblinear", dual=True, tol=TOLERANCE, random_state=0)
    theirs.fit(features_NF.multiply(ratios_F).tocsr(), labels_N)
    ours = fitted("nbsvm", texts, labels_N, C=1.0, interpolation=1.0).predict_proba(asked)
    assert ours == pytest.approx(theirs.predict_proba(asked_NF.multiply(ratios_F).tocsr()), abs=1e-3)


def test_whole_texts_are_there_only_where_some_are_cut(corpus: EncodedCorpus) -> None:
    for split in (corpus.train, corpus.val, corpus.test):
        cut, whole = [*split.arrays[TEXTS]], [*split.arrays[WHOLE_TEXTS]]
        assert len(whole) == len(cut) == len(split)
        assert [" ".join(text.split()[:30]) for text in whole] == cut
    uncut = data.load("imdb", limit=60, max_words=5000, texts=True, whole=True, progress=False)
    assert WHOLE_TEXTS not in uncut.train.arrays
    spec = specs.validate({"architectures": ["mlp"]})
    assert spec.baselines == ["majority", "tfidf", "nbsvm"]
    told = specs.fitted(spec, corpus)
    assert told.baselines == ["majority", "tfidf", "nbsvm", "tfidf_whole", "nbsvm_whole"]
    assert specs.fitted(told, corpus) == told
    assert specs.fitted(told, uncut).baselines == spec.baselines
    assert (told.words_of("nbsvm_whole"), told.words_of("nbsvm")) == (ALL_WORDS, 100)


def test_each_number_of_words_that_is_read_has_its_baselines(corpus: EncodedCorpus) -> None:
    words = {"mlp": 10, "gru": 10, "cnn": 20, "ngram": 30, "rnn": 5}
    asked = {"architectures": ["mlp", "gru", "cnn", "ngram"], "max_words": words, "baselines": ["majority", "nbsvm"]}
    told = specs.fitted(specs.validate(asked), corpus)
    assert told.baselines == ["majority", "nbsvm", "nbsvm_10", "nbsvm_20", "nbsvm_whole"]
    assert [told.words_of(name) for name in told.baselines] == [30, 30, 10, 20, ALL_WORDS]
    assert make_setting(told, Path()).words == {"nbsvm_10": 10, "nbsvm_20": 20, "mlp": 10, "gru": 10, "cnn": 20}
    assert specs.fitted(told, corpus) == told == specs.load(specs.dump(told), "spec.yaml")
    # Where no text is longer, there is nothing to tell apart.
    short = specs.fitted(specs.validate(asked), corpus.first_words(10))
    assert short.baselines == ["majority", "nbsvm", "nbsvm_whole"]


def test_a_name_says_the_words() -> None:
    assert models.architecture("nbsvm_200") is models.architecture("nbsvm_whole") is models.BASELINES["nbsvm"]
    assert [models.words_named(name) for name in ("nbsvm", "nbsvm_200", "tfidf_whole")] == ["", "200", "whole"]
    for name in ("nbsvm_0", "nbsvm_02", "nbsvm_", "majority_200", "gru_200", "nbsvm_200_whole"):
        assert (models.find(name), models.is_baseline(name), models.words_named(name)) == (None, False, "")
    with pytest.raises(UserError, match="'nbsvm_200' is the name of a built-in architecture"):
        models.register("nbsvm_200", models.BASELINES["tfidf"])


def test_it_learns_from_the_words_that_it_is_said_to_read(corpus: EncodedCorpus) -> None:
    spec = specs.validate(
        {"architectures": ["mlp"], "max_words": 30, "baselines": ["nbsvm_10", "nbsvm", "nbsvm_whole"]}
    )
    for name, words in (("nbsvm_10", TEXTS), ("nbsvm", TEXTS), ("nbsvm_whole", WHOLE_TEXTS)):
        config = {schema.ARCHITECTURE: name, schema.SEED: 3, "ngrams": 1, "C": 1.0, "interpolation": 0.5}
        (found,) = run_trial(config, corpus, make_setting(spec, Path()))
        train, test = (
            [" ".join(text.split()[: spec.words_of(name)]) for text in texts_of(corpus, split, words)[0]]
            for split in ("train", "test")
        )
        said_NC = fitted(name, train, corpus.train.labels_N, ngrams=1, C=1.0).predict_proba(test)
        assert found.best["test_accuracy"] == pytest.approx((said_NC.argmax(1) == corpus.test.labels_N).mean())


def test_its_seconds_are_those_that_it_takes_alone(corpus: EncodedCorpus) -> None:
    """A grid shares the counts of words, which only the first point computes."""
    config = {schema.ARCHITECTURE: "nbsvm_whole", schema.SEED: 3, "ngrams": 2, "C": 1.0, "interpolation": 0.5}
    texts, labels_N = texts_of(corpus, "train", WHOLE_TEXTS)
    counted.cache_clear()
    assert fitted("nbsvm_whole", texts, labels_N).spared_seconds == 0
    seconds = counted(tuple(texts), 2)[2]
    assert 0.5 * seconds < fitted("nbsvm_whole", texts, labels_N).spared_seconds <= seconds
    for _ in range(2):
        found = estimating.fit(config, corpus, threads=1)
        own = [counted(tuple(texts_of(corpus, split, WHOLE_TEXTS)[0]), 2)[2] for split in schema.SPLITS]
        assert found.seconds > sum(own)


@pytest.mark.parametrize("name", ["nbsvm_whole", "tfidf", "majority"])
def test_it_learns_from_the_texts_that_are_held_and_is_asked_about_parts_of_the_others(
    name: str, corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {key: array[:100] for key, array in corpus.train.arrays.items()}
    held = dataclasses.replace(corpus, train=dataclasses.replace(corpus.train, arrays=arrays))
    config = {schema.ARCHITECTURE: name, schema.SEED: 3, **models.defaults(name)}
    result = estimating.fit(config, held, threads=1)
    if name != "majority":
        first = dataclasses.replace(corpus, train=corpus.train.first_texts(100))
        wanted = estimating.fit(config, first, threads=1)
        assert result.best == wanted.best
        assert result.test_outputs_N is not None
    asked: list[int] = []
    unpacked = PackedTexts.unpacked

    def watched(self: PackedTexts) -> list[str]:
        asked.append(len(self))
        return unpacked(self)

    monkeypatch.setattr(PackedTexts, "unpacked", watched)
    monkeypatch.setattr(estimating, "AT_ONCE", 37)
    parts = estimating.fit(config, held, threads=1)
    assert max(asked[2:]) == 37
    assert parts.test_outputs_N is not None
    assert result.test_outputs_N is not None
    assert torch.allclose(parts.test_outputs_N, result.test_outputs_N, atol=1e-6)


def test_a_search_of_more_words_than_baselines_take_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.csv").write_text("\n".join(["text,label", *(f"good {n} good,{n % 2}" for n in range(100))]))
    asked = {"corpus": f"csv:{tmp_path}/some.csv", "architectures": ["mlp"], "embeddings": "learned"}
    spec = specs.validate(asked)
    assert specs.load_corpus(spec, to_train=True).num_train_held == 80
    monkeypatch.setattr(specs, "MOST_WORDS", 100)
    corpus = specs.load_corpus(spec, to_train=True)
    assert corpus.num_train_held == 33
    assert specs.load_corpus(specs.validate(asked | {"baselines": ["majority"]}), to_train=True).num_train_held == 80
    assert [len(corpus.first_share(share).train.arrays[TEXTS]) for share in (0.25, 0.5)] == [20, 33]
    assert [len(split.arrays[TEXTS]) for split in (corpus.val, corpus.test)] == [10, 10]


# --- In a spec


def test_classifiers_have_them_unless_told_otherwise() -> None:
    assert specs.validate({}).baselines == ["majority", "tfidf", "nbsvm"]
    assert specs.read("text-to-image").baselines == []
    assert specs.validate({"baselines": "none"}).baselines == specs.validate({"baselines": []}).baselines == []
    assert specs.read("smoke", ["baselines=none"]).baselines == []
    assert specs.read("smoke", ["baselines=[none]"]).baselines == []
    assert specs.load(specs.dump(specs.validate({})), "spec.yaml") == specs.validate({})
    assert specs.load("{architectures: [gru]}", "spec.yaml").baselines == []  # a search older than baselines


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"baselines": ["nbsvn"]}, "baselines: unknown baseline 'nbsvn' (did you mean 'nbsvm'?)"),
        (
            {"baselines": "tfidf"},
            "baselines: should be none or a list, such as [majority, tfidf, nbsvm]; got 'tfidf'",
        ),
        ({"baselines": ["nbsvm_wole"]}, "baselines: unknown baseline 'nbsvm_wole' (did you mean 'nbsvm'?)"),
        (
            {"baselines": ["nbsvm_200"]},
            "baselines: nbsvm_200 reads more than max_words 100; nearest: nbsvm",
        ),
        ({"architectures": ["gru", "nbsvm_9"]}, "nbsvm_9 is a baseline, not an architecture to search; write"),
        ({"baselines": ["none", "tfidf"]}, "baselines: none cannot be combined with others; got [none, tfidf]"),
        ({"baselines": ["tfidf", "tfidf"]}, "baselines: should name each baseline once"),
        ({"architectures": ["gru", "nbsvm"]}, "nbsvm is a baseline, not an architecture to search; write"),
        ({"space": {"C": {"nbsvm": [1, 2]}}}, "space.C: unknown key 'nbsvm'"),
        ({"space": {"C": [1, 2]}}, "unknown hyperparameter 'C'"),
        (
            {"architectures": ["text_to_image"], "corpus": "captions", "baselines": ["tfidf"]},
            "baselines: tfidf is for classification, not text_to_image; write baselines: none",
        ),
    ],
)
def test_a_mistake_is_one_line(content: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as raised:
        _ = specs.validate(content).spaces
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampler": "random", "match_parameters": 5000},
        {"sampler": "grid", "seeds": 2, "trials": None, "space": {"hidden_size": [8, 16]}},
        {"sampler": "grid", "trials": None, "configurations": {"mlp": {"one": {}}}},
    ],
)
def test_each_has_a_grid_of_its_own_that_comes_first_and_is_neither_pruned_nor_counted(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = specs.validate({"architectures": ["mlp"], "trials": 2, "epochs": 3} | changes)
    studies = Studies("s", spec, tmp_path, "new")
    asked = []
    while trial := studies.ask():
        asked.append(trial)
        for epoch in range(1, 4):
            if not studies.report(trial, epoch_result(epoch, epoch / 10), HERE):
                break
    names = [trial.architecture for trial in asked]
    num_own = {name: len([*itertools.product(*models.BASELINES[name].grid.values())]) for name in spec.baselines}
    assert names[: sum(num_own.values())] == [name for name, num in num_own.items() for _ in range(num)]
    assert set(names[sum(num_own.values()) :]) == {"mlp"}
    for name in spec.baselines:
        its = studies.trials(name)
        points = [tuple(trial.hyperparameters[key] for key in models.BASELINES[name].grid) for trial in its]
        assert set(points) == set(itertools.product(*models.BASELINES[name].grid.values()))
        assert {trial.outcome for trial in its} == {Outcome.COMPLETE}
    assert studies.num_owed == 0
    assert Studies("s", spec, tmp_path).num_owed == 0


def test_the_live_table_marks_those_of_its_search() -> None:
    """Regardless of baselines of the same name in specs that this process has read since."""
    for names, marked in ((["nbsvm", "nbsvm_200"], True), ([], False)):
        console = Console(width=200, file=io.StringIO(), force_terminal=True)
        num_wanted = {"nbsvm": 6, "nbsvm_200": 6, "mlp": 1}
        with Progress(console, "val_accuracy", Length(1), num_wanted, lambda: 1, (), names):
            pass
        shown = console.file.getvalue()
        assert [f"{name} (baseline)" in shown for name in num_wanted] == [marked, marked, False]


# --- In a search

SPEC = """
name: with-baselines
corpus: imdb
limit: 300
max_words: {mlp: 10, cnn: 20}
architectures: [mlp, cnn]
space: {hidden_size: 8}
epochs: 1
trials: 1
"""


@pytest.mark.slow
def test_a_search_records_audits_replays_exports_and_confirms_beside_them(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    done = command("search", "run", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "searches").iterdir()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    studies = Studies(folder.name, read_spec(folder), folder)
    names = studies.spec.baselines
    assert names == ["majority", "tfidf", "nbsvm", "tfidf_10", "nbsvm_10", "tfidf_whole", "nbsvm_whole"]
    assert len(studies.trials()) == 1 + 6 * 6 + 2
    assert outcome_of(studies) is Outcome.COMPLETE
    assert audit.audit(folder, uri) == []

    import mlflow

    client = mlflow.MlflowClient(uri)
    for trial in studies.trials():
        assert trial.run_id
        run = client.get_run(trial.run_id)
        assert run.data.tags.get(schema.BASELINE) == (schema.IS_BASELINE if trial.architecture in names else None)
        assert run.data.metrics["num_parameters"] > 0
        assert schema.PREDICTIONS in {each.path for each in client.list_artifacts(trial.run_id)}

    best = studies.ranked("nbsvm_10")[0]
    assert loading.load(best).max_words == 10
    exported = export.export(folder.name, folder.parent, uri, "nbsvm_10")
    answered = command("analysis", "predict", exported.uri, "a great film", "the worst", cwd=tmp_path)
    assert answered.returncode == 0, answered.stderr
    assert "with 10, ahead of" in command("analysis", "leaderboard", cwd=tmp_path).stdout

    best = studies.ranked("nbsvm_whole")[0]
    assert list(replay.replay(f"{folder.name}:{best.name}", folder.parent, uri))[-1] == f"{best.name}: equal"
    model = loading.load(best)
    assert model.max_words == ALL_WORDS
    exported = export.export(folder.name, folder.parent, uri, "nbsvm_whole")
    assert exported.trial.name == best.name
    with pytest.raises(UserError, match="nbsvm gives the same numbers with every seed"):
        confirm.confirmation(folder, 1, 2, ["nbsvm"])
    assert confirm.confirmation(folder, 1, 2, []).baselines == []
    resumed = command("search", "resume", "--trials", "2", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert len(Studies(folder.name, read_spec(folder), folder).trials()) == 1 + 6 * 6 + 4


def test_no_text_is_held_for_a_baseline_that_reads_none(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("\n".join(["text,label", *(f"good {n} good,{n % 2}" for n in range(100))]))
    asked = {"corpus": f"csv:{tmp_path}/some.csv", "architectures": ["mlp"], "embeddings": "learned"}
    for names, held in ((["majority"], False), (["majority", "nbsvm"], True)):
        corpus = specs.load_corpus(specs.validate(asked | {"baselines": names}), to_train=True)
        assert (TEXTS in corpus.train.arrays) == held
        result = estimating.fit({"architecture": "majority", "seed": 0}, corpus, threads=1)
        assert result.best["test_accuracy"] == 0.5
