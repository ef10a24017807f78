"""Many classes: predictions stay small, stored and shown.

Shapes: N texts, C classes.
"""

import io

import numpy as np
import pandas as pd
import pytest
import torch

import models
from analysis.explain import explanation
from analysis.explain.labelled import Rows
from analysis.explain.predict import table
from analysis.verdicts.confusion import Confusion
from search.serve.classifier import TextModel
from search.train.running import predictions_csv
from search.train.tasks import TASKS

NUM = 1000
CLASSES = tuple(f"class {n}" for n in range(NUM))


def test_predictions_keep_the_most_probable_classes() -> None:
    """120 bytes per text, where all probabilities would take 9,000; and the results read from them are the same."""
    generator = torch.Generator().manual_seed(0)
    outputs_NC = (4 * torch.randn(200, NUM, generator=generator)).softmax(1)
    labels_N = torch.randint(NUM, (200,), generator=generator).numpy()
    labels_N[:50] = outputs_NC[:50].argmax(1).numpy()

    class Corpus:
        classes = CLASSES
        test = type("Test", (), {"labels_N": labels_N})

    text = predictions_csv(TASKS["classification"].predictions(outputs_NC, Corpus()))  # type: ignore[arg-type]
    assert len(text) < 200 * 150
    frame = pd.read_csv(io.StringIO(text), dtype={"label": str, "predicted": str})
    assert list(frame.columns[:4]) == ["label", "predicted", "top 1", "probability 1"]
    assert (frame["top 1"] == frame["predicted"]).all()
    np.testing.assert_allclose(frame["probability 5"], outputs_NC.sort(1).values[:, -5], atol=1e-6)
    found = Confusion.of(frame)
    assert found is not None
    assert found.counts.right_C.sum() == (outputs_NC.argmax(1).numpy() == labels_N).sum()
    np.testing.assert_allclose(found.confidence_N, outputs_NC.max(1).values, atol=1e-6)


def test_a_table_of_predictions_names_the_most_probable() -> None:
    answer = pd.DataFrame(
        {"predicted": ["b"], **{f"probability of {n}": [p] for n, p in zip("abc", (0.2, 0.7, 0.1), strict=True)}}
    )

    class Model:
        def get_raw_model(self) -> object:
            raise NotImplementedError

    rows = Rows(pd.DataFrame({"text": ["some words"]}), "text")
    made = table("t", Model(), rows, answer, top=2)
    assert made.frame["most probable"].tolist() == ["b 0.70, a 0.20"]
    assert made.groups == [["predicted", "most probable", "beginning"]]
    assert "probability of a" in table("t", Model(), rows, answer, top=3).groups[0]


@pytest.mark.parametrize("name", ["mlp", "ngram"])
def test_only_the_most_probable_classes_are_explained(name: str) -> None:
    torch.manual_seed(0)
    vocabulary = ("<pad>", "<unk>", *["a", "great", "film", "of", "all", "time"])
    network = models.build(name, models.WordVectors.learned(len(vocabulary), 8), 40)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    model = TextModel.build(name, {}, CLASSES[:40], vocabulary, 20, network.state_dict(), None)
    found = explanation.explain(model, "a great film", "class 7", top=3)
    shares_C = model.outputs(["a great film"])[0]
    most = {CLASSES[place] for place in shares_C.topk(3).indices.tolist()}
    assert set(found.classes) == most | {"class 7"}
    assert found.predicted == CLASSES[int(shares_C.argmax())]
    assert found.missed < 0.01
    assert found.scores_TC.shape == (3, len(found.classes))
