"""Multi-label texts: reading and dividing them, metrics computed by hand, and a search.

Shapes: N texts, C classes.
"""

import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

import data
import models
from analysis.explain import words
from data.base.errors import UserError
from data.base.label_sets import LABEL_SETS, LabelSets, split_label
from data.base.reading import Reading
from data.base.splitting import split_examples
from data.base.texts import Texts
from data.encoded import TEXTS, EncodedCorpus
from models.parts.external import as_architecture
from search.base import schema
from search.run import plan
from search.run.setting import make_setting
from search.serve.classifier import TextModel
from search.spec import read as specs
from search.train import training
from search.train.running import run_trial
from search.train.tasks import TASKS, task_of
from search.train.tasks.multi_label import MultiLabel
from tests.conftest import as_read, command

TASK = TASKS["multi_label"]
READING = Reading(multi_label=";")
SENTENCE = "the and cat of then some snow also"
TOPICS = {"animals": "cat dog horse", "food": "bread soup rice", "weather": "rain snow sun", "money": "bank coin debt"}


def rows(num: int = 400, seed: int = 0) -> list[tuple[str, str]]:
    """Texts whose words tell which of four topics they have, if any."""
    draw = random.Random(seed)
    made = []
    for number in range(num):
        topics = [name for name in TOPICS if draw.random() < 0.35]
        own = [draw.choice(TOPICS[name].split()) for name in topics]
        text = [*own, *draw.choices(["a", "the", "of", "and", "with", "some", "then", "also"], k=6), f"n{number}"]
        draw.shuffle(text)
        made.append((" ".join(text), "; ".join(draw.sample(topics, len(topics)))))
    return made


def write(path: Path, examples: list[tuple[str, str]]) -> str:
    path.write_text("\n".join(["text,label", *(f'{text},"{label}"' for text, label in examples)]))
    return f"csv:{path}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    folder = tmp_path_factory.mktemp("several")
    name = write(folder / "a.csv", [(text, label or "nothing") for text, label in rows()])
    return data.load(name, embeddings="learned", reading=READING, texts=True, cache=folder, progress=False)


def test_labels_are_sets_of_classes_in_natural_order() -> None:
    assert split_label(" b;a ;; b", ";") == {"a", "b"}
    assert split_label("", ";") == frozenset()
    texts = Texts(("", "v10", "v10;v9", "v9; v10", "x"), [(f"text {n}", n) for n in range(5)])
    made = LabelSets.of(texts, ";")
    assert made.learned_classes == ("v9", "v10", "x")
    assert [made.classes[label] for _, label in made.examples] == ["", "v10", "v9;v10", "v9;v10", "x"]
    assert made.arrays("train", made.examples)[LABEL_SETS].tolist() == [
        [0, 0, 0],
        [0, 1, 0],
        [1, 1, 0],
        [1, 1, 0],
        [0, 0, 1],
    ]


def test_each_split_has_the_shares_of_every_class_and_of_frequent_sets() -> None:
    draw = random.Random(1)
    names = [f"c{n}" for n in range(12)]
    labels = [";".join(name for n, name in enumerate(names) if draw.random() < 0.5 / (n + 1)) for _ in range(3000)]
    classes = sorted({*labels})
    texts = Texts(tuple(classes), [(f"text {n}", classes.index(label)) for n, label in enumerate(labels)])
    division = split_examples(texts, name="own", limit=None, reading=READING)
    made = division.texts
    whole_C = made.arrays("", [each for split in division.splits.values() for each in split])[LABEL_SETS].mean(0)
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        examples = division.splits[split]
        assert len(examples) == pytest.approx(3000 * share, abs=15)
        shares_C = made.arrays(split, examples)[LABEL_SETS].mean(0)
        assert np.abs(shares_C - whole_C).max() < 0.02
    number_of = Counter(label for split in division.splits.values() for _, label in split)
    for label, num in number_of.items():
        if num >= 20:
            for split in ("val", "test"):
                assert abs([each for _, each in division.splits[split]].count(label) - num / 10) <= 0.5
    # By the hashes alone, whatever the order of the file.
    turned = Texts(texts.classes, texts.examples[::-1])
    assert split_examples(turned, name="own", limit=None, reading=READING).splits == division.splits
    some = split_examples(texts, name="own", limit=1000, reading=READING).splits
    assert sum(map(len, some.values())) == 1000
    assert {*some["test"]} <= {*division.splits["test"]}


def test_a_class_that_a_split_lacks_is_named() -> None:
    texts = Texts(("a", "a;b", "c"), [(f"text {n}", 1 if n < 5 else 2 * (n % 2)) for n in range(100)])
    with pytest.raises(UserError, match=r"too few examples of class 'b' .5, of which . in (test|val)"):
        split_examples(texts, name="own", limit=None, reading=READING)


def test_the_task_is_that_of_the_texts(corpus: EncodedCorpus) -> None:
    task = task_of(models.CLASSIFICATION, corpus)
    assert (task.name, task.separator, task.has_classes) == ("multi_label", ";", True)
    assert task_of(models.CLASSIFICATION, data.load("imdb", limit=100, progress=False)).name == "classification"
    assert corpus.classes == ("animals", "food", "money", "nothing", "weather")
    assert corpus.train.arrays[LABEL_SETS].dtype == np.uint8
    nothing_N = corpus.train.arrays[LABEL_SETS][:, 3]
    assert (corpus.train.arrays[LABEL_SETS].sum(1)[nothing_N == 1] == 1).all()


def test_metrics_by_hand() -> None:
    """Three texts: the first is right, the second has one class too many, the third lacks one of two."""
    logits_NC = torch.tensor([[2.0, -1.0], [0.5, 3.0], [-1.0, 0.1]])
    labels_NC = torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.uint8)
    found = training.measure(TASK, logits_NC, (labels_NC,), "val")
    assert found["val_accuracy"] == TASK.accuracy(logits_NC, (labels_NC,)) == pytest.approx(1 / 3)
    assert found["val_micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found["val_f1"] == pytest.approx((0.5 + 1) / 2)
    by_hand = [math.log1p(math.exp(-z)) for z in (2.0, 1.0, -0.5, 3.0, -1.0, 0.1)]
    assert found["val_loss"] == pytest.approx(sum(by_hand) / 6)
    smoothed = float(TASK.loss(logits_NC[:1, :1], (labels_NC[:1, :1],), 0.2))
    assert smoothed == pytest.approx(0.9 * math.log1p(math.exp(-2)) + 0.1 * math.log1p(math.exp(2)))


def test_what_is_said_is_every_class_over_one_half() -> None:
    outputs_NC = torch.tensor([[0.9, 0.2, 0.6], [0.1, 0.5, 0.3]])
    columns = MultiLabel("|").says(outputs_NC, ("a", "b", "c"))
    assert columns["predicted"] == ["a|c", ""]
    assert columns["probability of b"] == pytest.approx([0.2, 0.5])


@pytest.mark.parametrize("name", models.BASELINES)
def test_baselines_learn_each_class_against_the_rest(name: str, corpus: EncodedCorpus) -> None:
    """Equal to an estimator of that class alone, also after being saved and read back."""
    texts, labels_NC = as_read(name, [*corpus.train.arrays[TEXTS]]), corpus.train.arrays[LABEL_SETS]
    estimator = models.build_estimator(name)
    estimator.fit(texts, labels_NC)
    read = as_read(name, [*corpus.test.arrays[TEXTS]])
    outputs_NC = estimator.predict_proba(read)
    for label in range(len(corpus.classes)):
        one = models.build_estimator(name)
        one.fit(texts, labels_NC[:, label].astype(np.int64))
        np.testing.assert_allclose(outputs_NC[:, label], one.predict_proba(read)[:, 1], rtol=1e-6)
    again = models.build_estimator(name)
    again.restore(estimator.files())
    assert (again.predict_proba(read) == outputs_NC).all()


def config_of(name: str, spec_keys: dict[str, object]) -> tuple[dict[str, object], specs.Spec]:
    content = {"name": "a", "architectures": [name], "corpus": "imdb", "multi_label": ";", "embeddings": "learned"}
    spec = specs.validate(content | spec_keys)
    return {schema.ARCHITECTURE: name, schema.NUMBER: 0, schema.SEED: 1} | spec.default_point(name), spec


@pytest.mark.parametrize(("name", "rate"), [("mlp", 0.02), ("ngram", 0.01)])
def test_a_network_learns_and_answers_from_its_folder(
    name: str, rate: float, corpus: EncodedCorpus, tmp_path: Path
) -> None:
    config, spec = config_of(name, {"epochs": 12, "metric": "val_micro_f1"})
    config |= {"learning_rate": rate, "batch_size": 32, "hidden_size": 8}
    *_, last = run_trial(config, corpus, make_setting(spec, tmp_path))
    assert last.diverged is None
    assert last.best["test_micro_f1"] > 0.9
    assert last.best["test_accuracy"] > 0.7
    own = {key: config[key] for key in models.architecture(name).hyperparameters}
    weights, num = last.state["best_weights"], len(corpus.classes)
    model = TextModel.build(
        name, own, corpus.classes, corpus.vocabulary, 100, weights, None, None, num, "multi_label", "|"
    )
    model.save(tmp_path / "model")
    again = TextModel.load(tmp_path / "model")
    assert again.answer([SENTENCE, "the of and bank with then also"])["predicted"] == ["animals|weather", "money"]
    explanation = words.explain(again, SENTENCE, "weather|animals")
    assert explanation.is_right
    assert re.fullmatch(
        r"predicted animals \([\d.]+%\), weather \([\d.]+%\), which is right", explanation.verdict.replace(" %", "%")
    )
    loudest = explanation.words[int(explanation.scores_TC[:, 0].argmax())]
    assert loudest == "cat"
    with pytest.raises(UserError, match=r"unknown class 'animal' .*did you mean 'animals'"):
        words.check_labels(["weather|animal"], 1, again.classes, again.task)


def test_an_estimator_of_the_users_gets_rows_of_ones_and_zeros(corpus: EncodedCorpus, tmp_path: Path) -> None:
    def own(C: float = 10.0) -> object:
        return make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=C)))

    own.hyperparameters = {"C": (0.1, 100.0)}  # type: ignore[attr-defined]
    models.ARCHITECTURES["own"] = as_architecture(own, "own")
    try:
        config = {schema.ARCHITECTURE: "own", schema.NUMBER: 0, schema.SEED: 1, "C": 10.0}
        _, spec = config_of("mlp", {})
        (result,) = run_trial(config, corpus, make_setting(spec, tmp_path))
    finally:
        del models.ARCHITECTURES["own"]
    assert result.best["test_micro_f1"] > 0.9


def test_the_spec_knows_its_task() -> None:
    spec = specs.validate({"name": "a", "corpus": "imdb", "multi_label": "|", "metric": "val_micro_f1"})
    assert spec.reading.multi_label == "|"
    with pytest.raises(ValueError, match=r"metric: should be one of .* for multi_label; got 'val_roc_auc'"):
        specs.validate({"name": "a", "corpus": "imdb", "multi_label": ";", "metric": "val_roc_auc"})
    with pytest.raises(ValueError, match=r"metric: should be one of .* for classification; got 'val_micro_f1'"):
        specs.validate({"name": "a", "corpus": "imdb", "metric": "val_micro_f1"})
    with pytest.raises(ValueError, match="multi_label: texts of captions have no labels with several classes"):
        specs.validate({"name": "a", "corpus": "captions", "multi_label": ";"})


def test_a_plan_of_what_starts_from_the_texts_has_their_classes(tmp_path: Path) -> None:
    write(tmp_path / "several.csv", [(text, label or "nothing") for text, label in rows()])
    spec = specs.validate(
        {
            "corpus": f"csv:{tmp_path / 'several.csv'}",
            "multi_label": ";",
            "embeddings": "learned",
            "architectures": ["ngram"],
            "baselines": "none",
            "space": {"buckets": 4096, "hidden_size": 8},
        }
    )
    corpus = specs.load_corpus(spec)
    ((_, _, config), *_) = plan.points(spec, lambda config: {})
    cost, _ = plan.calibrate(config, corpus, make_setting(spec, tmp_path), spec.curve_interval)
    assert cost.first_seconds > 0


@pytest.mark.slow
def test_a_search_from_the_file_to_predictions(tmp_path: Path) -> None:
    write(tmp_path / "several.csv", [(text, label or "nothing") for text, label in rows()])
    (tmp_path / "spec.yaml").write_text(
        "name: several\ncorpus: csv:several.csv\nmulti_label: ';'\narchitectures: [mlp, ngram]\nembeddings: learned\n"
        "embedding_size: 8\ntrials: 2\nepochs: 6\nbatch_size: 32\nbaselines: [majority, tfidf]\n"
        "space: {learning_rate: 0.02}\n"
    )
    done = command("search", "run", "spec.yaml", cwd=tmp_path, BAKEOFF_REPORT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "searches").iterdir()
    for arguments in (
        ("search", "export", folder.name),
        ("search", "export", folder.name, "--ensemble", "2"),
        ("analysis", "differences", folder.name),
        ("analysis", "explain", folder.name, SENTENCE, "--label", "weather; animals"),
    ):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, (arguments, done.stdout + done.stderr)
    assert "which is right" in done.stdout
    done = command("analysis", "errors", folder.name, "--out", "errors.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "errors.csv").read_text().startswith("model,row,label,predicted,confidence,text")
    done = command("analysis", "errors", folder.name, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "misses or adds most often, with up to 3 texts each" in done.stdout
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "The classes most often missed or added on test" in page
    assert (folder / "report" / "figures" / "confusion.csv").read_text().startswith("model,class,found,missed,added")
    done = command("analysis", "disagree", folder.name, cwd=tmp_path)
    assert done.returncode == 2
    assert "compares one class per text, and " in done.stderr
    done = command("analysis", "predict", folder.name, SENTENCE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "animals;weather" in done.stdout
