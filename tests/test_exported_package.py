"""The code of an exported model is a separate package, next to an application's `data` and `models`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import models
from data.base.imports import inside
from data.base.plugins import Plugin
from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble
from search.serve.export import write

VOCABULARY = ("<pad>", "<unk>", "this", "movie", "is", "bad", "good")
CLASSES = ("negative", "positive")
TEXTS = ["this movie is bad", "good", "qzxqz"]
NET = """import models
from torch import nn

class Net(models.Architecture):
    hyperparameters = {{"size": (1, 64)}}

    def __init__(self, embedding, num_outputs, *, size=8):
        super().__init__(embedding)
        self.layer = nn.Linear(embedding.size, num_outputs)

    def forward(self, tokens_BT, lengths_B):
        return {sign}self.layer(self.embedding(tokens_BT).mean(1))
"""
COUNTED = """class Lengths:
    def __init__(self):
        self.mean = 0.0

class Counted:
    hyperparameters = {}

    def fit(self, texts, labels):
        self.lengths = Lengths()
        self.lengths.mean = float(sum(map(len, texts)) / len(texts))
        return self

    def predict_proba(self, texts):
        return [[0.9, 0.1] if len(text) > self.lengths.mean else [0.2, 0.8] for text in texts]
"""

# An application that has its own modules by our names, and loads models of ours.
APPLICATION = """
import json, sys
import data, models, search
import mlflow, pandas
texts = pandas.DataFrame({"text": json.loads(sys.argv[1])})
loaded = [mlflow.pyfunc.load_model(folder) for folder in sys.argv[2:]]
loaded += [mlflow.pyfunc.load_model(sys.argv[2])]
for module in (data, models, search):
    assert sys.modules[module.__name__] is module and module.OWN == "the application's"
assert not [name for name in sys.modules if name.startswith(("data.", "models.", "search."))]
print(json.dumps([model.predict(texts).to_dict("list") for model in loaded]))
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = dict(models.ARCHITECTURES)
    torch.manual_seed(0)
    yield
    models.ARCHITECTURES.clear()
    models.ARCHITECTURES.update(before)


def network(architecture: str, code: Plugin | None = None, num_outputs: int = 2, **hyperparameters: Any) -> TextModel:
    """A classifier with its initial weights."""
    if code:
        models.register(architecture, code.load())
    vectors_VE = torch.randn(len(VOCABULARY), 4)
    vectors_VE[0] = 0
    drawn = models.build(architecture, models.WordVectors(vectors_VE), num_outputs, **hyperparameters)
    parts = (architecture, hyperparameters, CLASSES, VOCABULARY, 10, drawn.state_dict(), vectors_VE.numpy(), code)
    return TextModel.build(*parts, num_outputs=num_outputs)


def estimator(architecture: str, code: Plugin | None = None) -> TextModel:
    """A classifier fitted to a few texts."""
    if code:
        models.register(architecture, code.load())
    fitted = models.build_estimator(architecture)
    fitted.fit(["this movie is bad", "bad bad", "good", "a good movie"] * 2, np.array([0, 0, 1, 1] * 2))
    files = {name: torch.frombuffer(bytearray(file), dtype=torch.uint8) for name, file in fitted.files().items()}
    return TextModel.build(architecture, {}, CLASSES, VOCABULARY, 10, files, None, code)


@pytest.mark.slow
def test_several_models_answer_in_an_application_with_modules_of_our_names(tmp_path: Path) -> None:
    nets = [network("Net", Plugin("/gone/net.py:Net", NET.format(sign=sign)), size=3) for sign in ("", "-")]
    expected = [pd.DataFrame(each.answer(TEXTS)) for each in nets]  # before another of its name is taken in
    others: list[TextModel | Ensemble] = [
        network("gru", hidden_size=4),
        estimator("Counted", Plugin("/gone/counted.py:Counted", COUNTED)),
        estimator("tfidf"),
        network("text_to_image", num_outputs=16, hidden_size=4, heads=2),
    ]
    others.append(Ensemble({"gru-0": others[0], "tfidf-1": others[2]}))  # type: ignore[dict-item]
    expected += [pd.DataFrame(each.answer(TEXTS)) for each in others]
    folders = [tmp_path / f"model-{number}" for number in range(len(expected))]
    for model, folder in zip([*nets, *others], folders, strict=True):
        write(model, folder)
    packages = [next((folder / "code").iterdir()).name for folder in folders]
    assert len(set(packages)) == len(packages)
    assert all(name.startswith("bakeoff_model_") for name in packages)
    # As a version of the code that answers otherwise would be.
    task = folders[2] / "code" / packages[2] / "search" / "train" / "tasks" / "classification.py"
    task.write_text(task.read_text(encoding="utf-8").replace("[classes[label] for", "['new ' + classes[label] for"))
    expected[2]["predicted"] = "new " + expected[2]["predicted"]

    application = tmp_path / "application"
    (application / "data").mkdir(parents=True)
    for name in ("data/__init__.py", "models.py", "search.py"):
        (application / name).write_text('OWN = "the application\'s"\n', encoding="utf-8")
    (application / "main.py").write_text(APPLICATION, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "main.py", json.dumps(TEXTS), *map(str, folders)],
        cwd=application,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [pd.DataFrame(each) for each in json.loads(done.stdout.splitlines()[-1])]
    for answer, wanted in zip(answers, [*expected, expected[0]], strict=True):
        pd.testing.assert_frame_equal(answer, wanted, rtol=1e-5)
    assert not answers[0].equals(answers[1])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import models", "from p import models"),
        ("import os, models as m", "import os; from p import models as m"),
        ("import data.base.errors", "import p.data.base.errors; from p import data"),
        ("import data.base.errors as e", "import p.data.base.errors as e"),
        ("from models import (\n    A,  # é\n    B,\n)", "from p.models import (\n    A,  # é\n    B,\n)"),
        ("def f():\n    'é'; from search.x import y", "def f():\n    'é'; from p.search.x import y"),
        ("import modelsx\nfrom . import data\nfrom .models import x", None),
        ("'import models'  # from data import x", None),
    ],
)
def test_imports_of_ours_are_those_of_the_package(before: str, after: str | None) -> None:
    assert inside(before, "p") == (before if after is None else after)
    assert inside(before, "") == before
