"""`vectors: encoder.py:embed`: a user's encoder as word vectors, and as a baseline on embeddings of whole texts."""

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import data
import models
from analysis.explain import leave_out
from data.base.errors import UserError
from data.base.plugins import Plugin
from data.base.reading import Reading
from data.encoded import ALL_WORDS, EMBEDDED, Embedded, EncodedCorpus
from data.encoder import Encoder, embed
from search.base import schema
from search.run.setting import make_setting
from search.serve import export, loading
from search.serve.classifier import ENCODER_CODE, TextModel
from search.serve.ensemble import Ensemble
from search.spec import kept
from search.spec import read as specs
from search.train import estimating
from search.train.running import run_trial
from tests.conftest import ROOT, answer_alone, command

HASHED = '''import zlib

import numpy as np

def embed(texts):
    """Words of two letters mean nothing; the number of texts that it was asked for is kept in a file."""
    vectors = np.zeros((len(texts), 64))
    for vector, text in zip(vectors, texts):
        for word in text.split():
            vector[zlib.crc32(word.encode()) % 64] += len(word) > 2
    with open({log!r}, "a") as log:
        log.write(f"{{len(texts)}}\\n")
    return vectors
'''


def hashed(folder: Path) -> tuple[str, Path]:
    """A small encoder in a file, and the file in which it logs the number of texts of every call."""
    log = folder / "calls.txt"
    (folder / "encoder.py").write_text(HASHED.format(log=str(log)))
    return f"{folder / 'encoder.py'}:embed", log


def encoder(source: str) -> Encoder:
    return Encoder(Plugin("/home/me/encoder.py:embed", f"import numpy as np\n\ndef embed(texts):\n    {source}\n"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """120 texts of two classes, in upper case and with tags."""
    words = {0: ("awful", "dull", "boring"), 1: ("great", "lovely", "superb")}
    rows = [f"<b>The</b> FILM of {n} is {words[n % 2][n // 2 % 3]},{n % 2}\n" for n in range(120)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(rows))
    return tmp_path / "texts.csv"


def load(file: Path, vectors: str, **options: Any) -> EncodedCorpus:
    folder = file.parent / "cache"
    return data.load(f"csv:{file}", vectors=vectors, embedded=True, cache=folder, progress=False, **options)


def taken_in(vectors: str, **content: Any) -> Any:
    return specs.validate({"architectures": ["mlp"], "vectors": vectors, **content})


# --- The function


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("return np.zeros((3, 4))", "should return an array (2, size) for 2 texts; got (3, 4)"),
        ("return np.zeros(2)", "should return an array (2, size) for 2 texts; got (2,)"),
        ("return np.zeros((2, 0))", "should return an array (2, size) for 2 texts; got (2, 0)"),
        ("return [[1.0], [1.0, 2.0]]", "should return an array of numbers; got list"),
        ("return 'no'", "should return an array of numbers; got str"),
        ("pass", "should return an array (2, size) for 2 texts; got ()"),
        (
            "return np.where([[True], [t == 'good' for t in texts[1:]]], 1.0, np.nan)",
            "should return finite numbers; got NaN or infinity for 'bad'",
        ),
        ("return np.full((2, 3), 1e300)", "should return finite numbers; got NaN or infinity for 'good'"),
    ],
)
def test_what_a_function_does_wrong_is_a_line_that_names_it(source: str, line: str) -> None:
    with pytest.raises(UserError) as raised:
        encoder(source)(["good", "bad"])
    assert str(raised.value) == f"vectors: /home/me/encoder.py:embed {line}"


def test_what_a_function_raises_names_its_line() -> None:
    with pytest.raises(UserError, match=r"^vectors: /home/me/encoder.py, line 4: ModuleNotFoundError: No module named"):
        encoder("import no_such_encoder")(["good"])
    with pytest.raises(UserError, match="should return arrays of one width; got 512 numbers per text, then 1"):
        encoder("return np.ones((len(texts), len(texts)))")(["good"] * 513)


def test_any_array_of_numbers_will_do() -> None:
    for source in ("np.ones((2, 3))", "[[1, 1, 1], [1, 1, 1]]", "__import__('torch').ones(2, 3)"):
        found_NE = encoder(f"return {source}")(["good", "bad"])
        assert (found_NE.dtype, found_NE.tolist()) == (np.float32, [[1, 1, 1], [1, 1, 1]])
    assert encoder("return 'never called'")([]).shape == (0, 0)


def test_texts_are_embedded_once_for_each_encoder(tmp_path: Path) -> None:
    reference, log = hashed(tmp_path)
    own = Encoder(data.base.plugins.read(reference))
    texts = [f"text number {n}" for n in range(600)]
    first, again = (embed(own, texts, tmp_path / "cache") for _ in range(2))
    assert log.read_text() == "512\n88\n"
    assert (first.vectors_NE == again.vectors_NE).all()
    assert first.seconds == again.seconds > 0
    embed(own, texts[::-1], tmp_path / "cache")
    embed(Encoder(replace(own.plugin, source=own.plugin.source + "\n")), texts, tmp_path / "cache")
    assert log.read_text() == "512\n88\n" * 3
    for path in (tmp_path / "cache" / "embeddings").iterdir():
        path.write_bytes(path.read_bytes()[:-300])
    assert (embed(own, texts, tmp_path / "cache").vectors_NE == first.vectors_NE).all()
    assert log.read_text() == "512\n88\n" * 4


# --- In an encoded corpus


def test_words_have_its_vectors_and_those_of_zeros_none(file: Path) -> None:
    reference, _ = hashed(file.parent)
    taken_in(reference)
    corpus = load(file, reference)
    assert corpus.vectors_VE is not None
    assert corpus.embedding_size == 64
    assert {"film", "great", "awful"} <= {*corpus.vocabulary}
    assert not {"of", "is"} & {*corpus.vocabulary}
    own = Encoder(data.base.plugins.read(reference))
    assert (corpus.vectors_VE[2:] == own(corpus.vocabulary[2:])).all()
    assert not corpus.vectors_VE[:2].any()


def test_texts_are_embedded_whole_cleaned_and_not_cut(file: Path) -> None:
    reference, log = hashed(file.parent)
    taken_in(reference)
    corpus = load(file, reference, max_words=2)
    log.unlink()
    assert (load(file, reference, max_words=2).train.arrays[EMBEDDED].vectors_NE > 0).any()
    assert not log.exists()
    own = Encoder(data.base.plugins.read(reference))
    for split in schema.SPLITS:
        written = [text for text, _ in data.read_examples(f"csv:{file}", split)]
        plain = [text.replace("<b>", "").replace("</b>", "") for text in written]
        found: Embedded = getattr(corpus, split).arrays[EMBEDDED]
        assert (found.vectors_NE == own(plain)).all()
        raw = load(file, reference, reading=Reading(clean=False))
        assert (getattr(raw, split).arrays[EMBEDDED].vectors_NE == own(written)).all()
    assert len(corpus.train.first_texts(7).arrays[EMBEDDED]) == 7
    assert corpus.train.first_words(1).arrays[EMBEDDED] is corpus.train.arrays[EMBEDDED]


def test_embeddings_are_handed_out_without_copying() -> None:
    buffers: list[Any] = []
    embedded = Embedded(np.ones((100, 50), dtype=np.float32), 1.0)
    pickled = pickle.dumps(embedded, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 1000
    assert pickle.loads(pickled, buffers=buffers).vectors_NE.base is not None


def test_embeddings_of_texts_need_a_function(file: Path) -> None:
    with pytest.raises(
        UserError, match=r"^vectors: should be an encoder of texts, path/encoder.py:embed; got 'glove.6B.50d'$"
    ):
        load(file, "glove.6B.50d")


# --- In a spec


def test_a_spec_keeps_its_source_and_has_one_more_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reference, _ = hashed(tmp_path)
    spec = taken_in("encoder.py:embed")
    assert spec.vectors == reference
    assert spec.baselines == ["majority", "tfidf", "nbsvm", "embedding"]
    assert spec.words_of("embedding") == ALL_WORDS
    (tmp_path / "encoder.py").unlink()
    frozen = specs.freeze(spec)
    assert specs.load(specs.dump(frozen), "spec.yaml") == frozen == spec
    assert taken_in("glove.6B.50d").baselines == ["majority", "tfidf", "nbsvm"]
    (tmp_path / "vectors.txt").write_text("good 1 2\n")
    assert taken_in("file:vectors.txt").baselines == ["majority", "tfidf", "nbsvm"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"vectors": "nowhere.py:embed"}, "vectors: no file "),
        (
            {"vectors": "json.decoder:NaN"},
            "vectors: json.decoder:NaN should be a function from a list of texts to an a",
        ),
        ({"vectors": "json.decoder:embed"}, "vectors: json.decoder has no 'embed'"),
        ({"baselines": ["embedding"]}, "embedding learns from the output of a text encoder; write vectors: path/enc"),
        ({"baselines": ["embeding"]}, "baselines: unknown baseline 'embeding' (did you mean 'embedding'?)"),
        ({"baselines": ["embedding_whole"]}, "baselines: unknown baseline 'embedding_whole'"),
    ],
)
def test_a_mistake_in_a_spec_is_one_line(content: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as raised:
        specs.validate({"architectures": ["mlp"], **content})
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


# --- The baseline


@pytest.mark.parametrize("num_classes", [2, 3])
def test_it_is_scikit_learns_regression_on_standardised_numbers(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    vectors_NE = rng.normal(3, [1, 10, 0.1, 1, 1, 0], (300, 6)).astype(np.float32)
    labels_N = (
        np.argsort(np.argsort(vectors_NE[:, 0] + vectors_NE[:, 1] / 10 + rng.normal(size=300))) * num_classes // 300
    )
    ours = models.build_estimator("embedding", C=0.1)
    ours.fit(vectors_NE[:200], labels_N[:200])
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(vectors_NE[:200], labels_N[:200])
    asked = vectors_NE[200:]
    assert ours.predict_proba(asked) == pytest.approx(theirs.predict_proba(asked), abs=1e-3)
    assert ours.num_parameters() == theirs[-1].coef_.size + theirs[-1].intercept_.size


def test_its_seconds_have_those_of_the_encoder(file: Path) -> None:
    reference, _ = hashed(file.parent)
    spec = taken_in(reference)
    corpus = load(file, reference, texts=True)
    slow = {
        split: replace(
            getattr(corpus, split),
            arrays={EMBEDDED: replace(getattr(corpus, split).arrays[EMBEDDED], seconds=100.0)},
        )
        for split in schema.SPLITS
    }
    config = {schema.ARCHITECTURE: "embedding", schema.SEED: 3, "C": 1.0}
    (found,) = run_trial(config, replace(corpus, **slow), make_setting(spec, Path()))
    assert 300 < found.seconds < 400
    assert found.best["val_accuracy"] == 1
    assert estimating.fit(config, corpus, threads=1).seconds < 100


def model(file: Path) -> TextModel:
    reference, _ = hashed(file.parent)
    spec = taken_in(reference)
    corpus = load(file, reference)
    fitted = models.build_estimator("embedding", C=1.0)
    fitted.fit(corpus.train.arrays[EMBEDDED].vectors_NE, corpus.train.labels_N)
    weights = {name: torch.frombuffer(bytearray(each), dtype=torch.uint8) for name, each in fitted.files().items()}
    parts = ("embedding", {"C": 1.0}, corpus.classes, corpus.vocabulary, ALL_WORDS, weights, None)
    return TextModel.build(*parts, encoder=spec.code.vectors[reference])


def test_a_model_has_its_encoder_with_it(file: Path) -> None:
    own = model(file)
    texts = ["<b>The</b> FILM is great", "so dull", ""]
    (file.parent / "encoder.py").unlink()
    own.save(file.parent / "model")
    assert (file.parent / "model" / ENCODER_CODE).is_file()
    again = TextModel.load(file.parent / "model")
    assert again.answer(texts) == own.answer(texts)
    assert again.answer(texts)["predicted"][:2] == ["1", "0"]
    ensemble = Ensemble({"one": own, "two": own})
    ensemble.save(file.parent / "ensemble")
    assert (Ensemble.load(file.parent / "ensemble").outputs(texts) - own.outputs(texts)).abs().max() < 1e-6


def test_it_is_explained_by_leaving_words_out(file: Path) -> None:
    found = leave_out.explain(model(file), "the film is great")
    assert found.words == ["the", "film", "is", "great"]
    assert found.scores_TC[3, 1] > 1
    assert found.scores_TC[2].tolist() == [0, 0]


def test_an_exported_model_needs_what_its_encoder_imports(file: Path) -> None:
    own = model(file)
    source = (
        "import os, json\nimport models\n\ndef embed(texts):\n    import numpy.linalg, yaml\n    from torch import nn\n"
    )
    changed = replace(own, encoder=Plugin("encoder.py:embed", source))
    assert changed.requirements == ("scikit-learn", "skops", "PyYAML", "numpy", "torch")
    assert Ensemble({"one": changed}).requirements == changed.requirements


def test_the_encoder_of_the_page_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wordllama")
    page = (ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8")
    (source,) = (
        each for each in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "def embed(" in each
    )
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it goes to the network"))
    own = Encoder(Plugin("/home/me/my_encoder.py:embed", source))
    found_NE = own(["a wonderful film", "a great movie", "the tax return", ""])
    assert found_NE.shape == (4, 256)
    assert not found_NE[3].any()
    near, far = (float(found_NE[0] @ found_NE[place]) / np.linalg.norm(found_NE[place]) for place in (1, 2))
    assert near > far


# --- In a search


@pytest.mark.slow
def test_a_search_with_an_encoder_goes_on_without_its_file(file: Path) -> None:
    """The baseline and a network on the word vectors are searched, exported, and used in another process."""
    folder = file.parent
    hashed(folder)
    spec = {"name": "own", "corpus": "csv:texts.csv", "vectors": "encoder.py:embed", "architectures": ["mlp"]}
    spec |= {"epochs": 8, "trials": 1, "space": {"learning_rate": 0.02}, "baselines": ["embedding"]}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    done = command("search", "run", "spec.yaml", cwd=folder, BAKEOFF_CACHE=str(folder / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ *\d+ +embedding-\d +baseline +1\.0000", done.stdout, re.MULTILINE)
    _, *asked = (folder / "calls.txt").read_text().split()  # the first call: the words
    assert asked == ["96", "12", "12"]
    (folder / "encoder.py").unlink()
    file.unlink()
    (search,) = (folder / "searches").iterdir()
    assert EMBEDDED not in kept.corpus(search).test.arrays
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for architecture in ("mlp", "embedding"):
        exported = export.export(search.name, search.parent, uri, architecture)
        texts = ["the film is great", "dull and <i>boring</i>"]
        answer = answer_alone(exported.uri, texts, uri, folder)
        assert answer["predicted"] == ["1", "0"]
        own = loading.load(exported.trial)
        if architecture == "embedding":  # calibrated, a temperature apart
            assert own.answer(texts)["predicted"] == ["1", "0"]
