"""What fits and predicts on texts, searched beside networks: recorded, ranked, explained and exported as they are."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

import data
import models
from analysis.base import runs
from analysis.explain import disagree, lookup, words
from data.base import plugins
from data.base.errors import UserError
from data.encode import word_ids
from data.encoded import TEXTS as READ
from data.encoded import UNKNOWN, EncodedCorpus
from models import estimator_contract
from models.parts.estimator import TextEstimator
from models.parts.hyperparameters import Integer, Real
from search.base import mlflow_uri, schema
from search.base.schema import Outcome
from search.prove import audit, replay
from search.run import confirm
from search.serve import export, loading
from search.spec.read import read_spec
from search.study.studies import Studies
from search.study.trial import Trial
from search.train import estimating
from search.train.metrics import measured_in
from search.train.training import Result
from tests.conftest import ROOT, command, here

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


class Unkept(TfidfLogistic):
    def __init__(self, ngrams=1, C=1.0):
        super().__init__(ngrams, C)
        self.pipeline[0].tokenizer = str.split  # which skops does not trust


class Nameless(TfidfLogistic):
    def __init__(self, ngrams=1, C=1.0):
        super().__init__(ngrams, C)
        self.pipeline[0].tokenizer = lambda text: text.split()  # which skops writes, and does not find again
"""
REFUSAL = (
    "Unkept cannot be kept without pickle: skops does not trust builtins.method_descriptor; "
    "use functions of your file instead"
)
TEXTS = ["a good film , yes", "good and great", "a bad film , no", "bad and boring"]
LABELS_N = np.array([1, 1, 0, 0])


def made(name: str, source: str = LINEAR) -> Any:
    return plugins.Plugin(f"my_linear.py:{name}", source).load()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No test leaves its architectures to another."""
    yield
    for name in set(models.ARCHITECTURES) - {*models.OURS, *models.BASELINES}:
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
    with pytest.raises(UserError) as refused:
        fitted("Unkept").files()
    assert str(refused.value) == REFUSAL


def test_what_skops_writes_and_cannot_read_is_refused_when_it_is_written() -> None:
    with pytest.raises(UserError, match="Nameless cannot be kept without pickle"):
        fitted("Nameless").files()


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


@pytest.mark.parametrize(
    ("name", "before", "after", "rule", "told"),
    [
        ("TfidfLogistic", "", "", None, ""),
        ("bayes", "", "", None, ""),
        ("Unkept", "", "", "what was fitted is kept, without pickle", "does not trust builtins.method_descriptor"),
        (
            "TfidfLogistic",
            "C=C, ",
            "",
            "every hyperparameter is live",
            "C has no effect: all of its values give the same result; use it",
        ),
        (
            "TfidfLogistic",
            "return self.pipeline",
            "return 2 * self.pipeline",
            "probabilities are of the classes",
            "sum to 1",
        ),
    ],
)
def test_the_contract_says_what_to_do(name: str, before: str, after: str, rule: str | None, told: str) -> None:
    models.register(name, made(name, LINEAR.replace(before, after) if before else LINEAR))
    found: Any = models.architecture(name)
    problems = {each: problem for each, problem in estimator_contract.check(found) if problem}
    assert list(problems) == ([rule] if rule else [])
    assert told in problems.get(rule or "", "")


def test_the_page_about_your_own_model_has_one_that_keeps_the_contract() -> None:
    page = (ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8")
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "sklearn" in block)
    models.register("linear", made("linear", source))
    found: Any = models.architecture("linear")
    assert [problem for _, problem in estimator_contract.check(found) if problem] == []


@pytest.fixture(scope="module")
def corpus() -> EncodedCorpus:
    return data.load("rotten-tomatoes", limit=200, max_words=12, texts=True, progress=False)


def test_the_texts_are_the_words_of_the_encoded_ones_known_or_not(corpus: EncodedCorpus) -> None:
    ids = word_ids(corpus.vocabulary)
    num_unknown = 0
    for split in (corpus.train, corpus.val, corpus.test):
        for text, tokens_T, length in zip(split.arrays[READ], split.tokens_NT, split.lengths_N, strict=True):
            words = text.split(" ")
            assert [ids.get(word, UNKNOWN) for word in words] == tokens_T[:length].tolist()
            num_unknown += sum(word not in ids for word in words)
    assert num_unknown > 0
    assert max(len(text.split()) for text in corpus.train.arrays[READ]) == 12
    assert data.load("rotten-tomatoes", limit=200, max_words=12, progress=False).train.arrays == {}


def test_the_first_words_are_those_of_who_reads_no_more(corpus: EncodedCorpus) -> None:
    few = data.load("rotten-tomatoes", limit=200, max_words=5, texts=True, progress=False)
    cut = corpus.first_words(5)
    for split, of_few in ((cut.train, few.train), (cut.val, few.val), (cut.test, few.test)):
        assert [*split.arrays[READ]] == [*of_few.arrays[READ]]
        assert split.lengths_N.tolist() == of_few.lengths_N.tolist()
        assert split.lengths_N.dtype == of_few.lengths_N.dtype
        assert split.tokens_NT.shape == of_few.tokens_NT.shape
        known = cut.vocabulary  # of 12 words
        said, of_few_said = (
            [[names[token] for token in tokens_T] for tokens_T in each.tokens_NT]
            for names, each in ((known, split), (few.vocabulary, of_few))
        )
        assert all(
            a == b or b == "<unk>" for texts in zip(said, of_few_said, strict=True) for a, b in zip(*texts, strict=True)
        )
    assert cut.train.tokens_W is corpus.train.tokens_W
    assert corpus.first_words(12) is corpus


THRESHOLDS = (schema.THRESHOLD, *(schema.WITH_THRESHOLD.format(split) for split in ("val", "test")))


def fit(corpus: EncodedCorpus, name: str = "TfidfLogistic", source: str = LINEAR, seed: int = 3) -> Result:
    models.register(name, made(name, source))
    values = {"ngrams": 1, "C": 2.0} if name != "bayes" else {"alpha": 1.0}
    return estimating.fit({"architecture": name, "number": 0, "seed": seed, **values}, corpus, threads=1)


def test_an_epoch_has_every_metric_of_its_task_computed_from_its_probabilities(corpus: EncodedCorpus) -> None:
    result = fit(corpus)
    names = [metric.name for metric in measured_in("classification")]
    measures = {f"{split}_{name}" for split in ("train", "val", "test") for name in names}
    assert set(result.best) == measures | {schema.TEMPERATURE, schema.CALIBRATED_ECE, *THRESHOLDS}
    assert {name for name in result.metrics if name in measures} == {name for name in measures if name[:4] != "test"}
    assert (result.step, result.best_step, result.diverged) == (1, 1, None)
    assert result.curve == [(1, result.best["train_loss"], result.best["train_accuracy"])]
    assert result.metrics["num_parameters"] > 100
    assert result.metrics["epoch_seconds"] == result.seconds > 0
    assert result.test_outputs_N is not None
    right_N = result.test_outputs_N.argmax(1).numpy() == corpus.test.labels_N
    assert result.best["test_accuracy"] == pytest.approx(right_N.mean())
    of_label_N = result.test_outputs_N[range(len(right_N)), corpus.test.labels_N.tolist()]
    assert result.best["test_loss"] == pytest.approx(float(-of_label_N.log().mean()), rel=1e-5)


def test_the_same_seed_gives_the_same_numbers_though_nothing_takes_it(corpus: EncodedCorpus) -> None:
    source = LINEAR.replace("MultinomialNB(alpha=alpha)", "RandomForestClassifier(5)").replace(
        "sklearn.naive_bayes import MultinomialNB", "sklearn.ensemble import RandomForestClassifier"
    )
    first, again, other = (fit(corpus, "bayes", source, seed).best for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_probabilities_that_are_none_diverge_and_those_of_another_shape_are_a_line(corpus: EncodedCorpus) -> None:
    says = "        return self.pipeline.predict_proba(texts)"
    result = fit(corpus, source=LINEAR.replace(says, says + " * float('nan')"))
    assert result.diverged == "train loss became nan in epoch 1"
    assert result.best == {}
    with pytest.raises(ValueError, match=r"TfidfLogistic should give \(160, 2\) probabilities; got \(160, 1\)"):
        fit(corpus, source=LINEAR.replace(says, says + "[:, :1]"))


def test_what_cannot_be_kept_is_measured_all_the_same(corpus: EncodedCorpus) -> None:
    result = fit(corpus, "Unkept")
    assert result.best["test_accuracy"] == fit(corpus).best["test_accuracy"]
    assert result.state["refused"] == REFUSAL


SPEC = {
    "name": "side-by-side",
    "corpus": "imdb",
    "limit": 300,
    "architectures": ["mlp", "my_linear.py:TfidfLogistic", "my_linear.py:Unkept"],
    "space": {
        "ngrams": [1, 2],
        "C": {"TfidfLogistic": {"low": 0.1, "high": 10, "log": True}},
        "hidden_size": 8,
        "learning_rate": 0.003,
    },
    "trials": 2,
    "epochs": 2,
    "baselines": "none",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory where a network and estimators have been searched side by side."""
    cwd = tmp_path_factory.mktemp("estimators")
    (cwd / "my_linear.py").write_text(LINEAR, encoding="utf-8")
    (cwd / "spec.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    done = command("search", "run", "spec.yaml", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2/2 epochs" in done.stdout  # mlp's
    assert "1/1 epochs" in done.stdout
    return cwd


def folder_of(cwd: Path) -> Path:
    (folder,) = (cwd / "searches").iterdir()
    return folder


def uri_of(cwd: Path) -> str:
    return f"sqlite:///{cwd / 'mlflow.db'}"


def test_it_has_a_study_of_its_own_and_is_complete_after_its_epoch(finished: Path) -> None:
    folder = folder_of(finished)
    trials = Studies(folder.name, read_spec(folder), folder).trials("TfidfLogistic")
    assert [(trial.outcome, trial.epochs) for trial in trials] == [(Outcome.COMPLETE, 1)] * 2
    assert trials[0].hyperparameters == {"ngrams": 1, "C": 1.0}  # the default comes first; none of the training loop's
    assert set(trials[1].hyperparameters) == {"ngrams", "C"}


def test_it_is_recorded_and_ranked_as_networks_are(finished: Path) -> None:
    folder, uri = folder_of(finished), uri_of(finished)
    frame = runs.read_trials(uri, folder.name).set_index("trial")
    of_estimator, of_network = frame.loc["TfidfLogistic-0"], frame.loc["mlp-0"]
    for name in ("val_accuracy", "test_accuracy", "test_f1", "test_roc_auc", "train_loss", "num_parameters", "seconds"):
        assert np.isfinite(of_estimator[name]), name
        assert np.isfinite(of_network[name]), name
    done = here("analysis", "leaderboard", "--format", "csv", cwd=finished)
    assert done.returncode == 0, done.stderr
    ranked = pd.read_csv(io.StringIO(done.stdout))
    assert {"mlp", "TfidfLogistic", "Unkept"} <= set(ranked["architecture"])
    predictions = pd.read_csv(io.StringIO(read_artifact(uri, of_estimator["run_id"], schema.PREDICTIONS)))
    assert (predictions["label"] == predictions["predicted"]).mean() == pytest.approx(of_estimator["test_accuracy"])


def read_artifact(uri: str, run_id: str, name: str) -> str:
    with mlflow_uri.mlflow_at(uri):
        return mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")


def test_a_search_is_audited_replayed_and_confirmed(finished: Path) -> None:
    folder, uri = folder_of(finished), uri_of(finished)
    assert audit.audit(folder, uri) == []
    assert list(replay.replay(f"{folder.name}:TfidfLogistic-1", folder.parent, uri))[-1] == "TfidfLogistic-1: equal"
    confirmed = confirm.confirmation(folder, 1, 2, ["TfidfLogistic"])
    ((point,),) = ((confirmed.configurations or {})["TfidfLogistic"].values(),)
    assert set(point) == {"ngrams", "C"}


def test_words_that_are_left_out_are_what_the_answer_hangs_on(finished: Path) -> None:
    model = loading.load(trial_of(finished, "TfidfLogistic-0"))
    text = "a great film , the worst I have seen"
    found = words.explain(model, text)
    assert found.words == text.lower().split()
    place = found.words.index("worst")
    without = text.lower().replace("worst ", "")
    with_NC, without_NC = np.log(model.outputs([text, without]).numpy())
    margin = found.scores_TC[place, 1] - found.scores_TC[place, 0]
    lost = (with_NC[1] - with_NC[0]) - (without_NC[1] - without_NC[0])
    assert margin / len(found.words) == pytest.approx(lost, abs=1e-5)
    assert found.probabilities_C == pytest.approx(model.outputs([text])[0].numpy(), abs=1e-6)
    assert np.isfinite(words.explain(model, "").scores_TC).all()
    done = here("analysis", "explain", "latest:TfidfLogistic-0", text, cwd=finished)
    assert done.returncode == 0, done.stderr
    assert "Scores: loss of the logits when the word is left out." in done.stdout


def trial_of(cwd: Path, name: str) -> Trial:
    return lookup.find(uri_of(cwd), f"{folder_of(cwd).name}:{name}")


def test_where_it_differs_from_a_network_is_told(finished: Path) -> None:
    trials = [trial_of(finished, name) for name in ("TfidfLogistic-0", "mlp-0")]
    models_of = disagree.load_all(trials)
    reading = disagree.read(trials, models_of)
    assert reading.right["TfidfLogistic"].mean() == pytest.approx(trials[0].best["test_accuracy"])
    frame, verdicts = disagree.side_by_side(models_of, "the worst film", "negative")
    assert frame["word"].tolist() == ["the", "worst", "film"]
    assert frame["TfidfLogistic"].abs().max() > 0
    assert set(verdicts) == set(models_of)


def test_an_exported_model_is_plain_files_and_predicts_where_nothing_of_it_is_known(finished: Path) -> None:
    folder, uri = folder_of(finished), uri_of(finished)
    exported = export.export(folder.name, folder.parent, uri, "TfidfLogistic", calibrated=False)
    (finished / "my_linear.py").rename(finished / "gone.txt")
    code = (
        "import mlflow, pandas, sys\n"
        "place = mlflow.artifacts.download_artifacts(sys.argv[1])\n"
        "answer = mlflow.pyfunc.load_model(place).predict(pandas.DataFrame({'text': ['a great film', '']}))\n"
        "print(place, *answer['probability of positive'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, exported.uri], cwd=finished, env=environment, capture_output=True, text=True
    )
    (finished / "gone.txt").rename(finished / "my_linear.py")
    assert done.returncode == 0, done.stderr
    place, *answers = done.stdout.split()[-3:]
    expected_NC = loading.load(exported.trial).outputs(["a great film", ""])
    assert [float(each) for each in answers] == pytest.approx(expected_NC[:, 1].tolist(), abs=1e-6)
    files = {path.name for path in Path(place).rglob("*") if path.is_file()}
    assert {"fitted.skops", "vocabularies.json", "architecture.py"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".joblib", ".pickle", ".pt"))]
    assert "skops==" in (Path(place) / "requirements.txt").read_text(encoding="utf-8")


def test_only_the_export_of_what_cannot_be_kept_is_refused_in_a_line(finished: Path) -> None:
    checked = here("bakeoff", "check-architecture", "my_linear.py:Unkept", cwd=finished)
    assert checked.returncode == 1
    assert f"fail  what was fitted is kept, without pickle: {REFUSAL}" in checked.stdout
    (search,) = (each.name for each in (finished / "searches").iterdir() if "-confirm-" not in each.name)
    done = here("search", "export", search, "--architecture", "Unkept", cwd=finished)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert REFUSAL in done.stderr


@pytest.mark.slow
def test_a_search_goes_on_and_is_planned(finished: Path) -> None:
    done = command("search", "resume", "--trials", "3", cwd=finished)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TfidfLogistic-2" in done.stdout
    planned = command("search", "plan", "spec.yaml", cwd=finished)
    assert planned.returncode == 0, planned.stderr
    assert "s per trial of 1 epoch\n" in planned.stdout
