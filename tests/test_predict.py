"""A file to predict comes back row by row, with the scores of those that have labels."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

import models
from analysis.base.formats import to_csv
from analysis.base.table import Table
from analysis.explain import labelled, predict
from analysis.explain.labelled import Rows
from bakeoff import looking
from data.base.plugins import Plugin
from data.base.reading import Reading
from search.serve.classifier import TextModel
from search.serve.export import write
from search.train.tasks import TASKS

VOCABULARY = ("<pad>", "<unk>", "the", "card", "works", "well", "nobody", "answered", "help", "was", "quick")
CLASSES = ("bad", "good")
AVERAGES = """import models

class Averages(models.Architecture):
    hyperparameters = {}

    def __init__(self, embedding, num_outputs):
        super().__init__(embedding)

    def forward(self, tokens_BT, lengths_B):
        return self.embedding(tokens_BT).sum(1) / lengths_B.unsqueeze(1)
"""
ROWS = "text,label\nthe card works well,good\nnobody answered, bad\n\nthe help was quick,\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An exported one that says what its vectors say: nobody and answered are bad, all other words good."""
    vectors_VE = torch.zeros(len(VOCABULARY), 2)
    vectors_VE[2:, 1] = 1.0
    vectors_VE[6:8] = torch.tensor([1.0, 0.0])
    code = Plugin("/gone/net.py:Averages", AVERAGES)
    made = TextModel.build("Averages", {}, CLASSES, VOCABULARY, 10, {}, vectors_VE.numpy(), code)
    folder = tmp_path_factory.mktemp("exported") / "model"
    write(made, folder)
    del models.ARCHITECTURES["Averages"]
    return mlflow.pyfunc.load_model(str(folder))


def predicted(model: Any, path: Path, **reading: Any) -> Table:
    rows = labelled.read(path, Reading(**reading))
    return predict.table("m", model, rows, predict.predict(model, rows.texts), long=True)


def test_every_row_stays_in_its_place_and_labelled_ones_are_scored(model: Any, tmp_path: Path) -> None:
    (tmp_path / "to-predict.csv").write_text(ROWS, encoding="utf-8")
    table = predicted(model, tmp_path / "to-predict.csv")
    lines = to_csv(table.frame).split("\n")
    assert lines[0] == "text,label,predicted,probability of bad,probability of good,unknown_share"
    assert [line[: len(start)] for line, start in zip(lines[1:], starts(), strict=True)] == starts()
    assert table.notes[0].startswith("2 labelled texts: loss ")
    assert ", accuracy 1.0000, F1 1.0000, ROC AUC 1.0000" in table.notes[0]
    assert table.notes[1:] == ["Rows without a label: 1."]


def starts() -> list[str]:
    """How the lines of the answer begin: a blank one stays blank."""
    return ["the card works well,good,good,", "nobody answered, bad,bad,", "", "the help was quick,,good,", ""]


def test_columns_of_the_users_by_the_names_of_ours_are_kept(model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "text,predicted,predicted in the file,unknown_share\nnobody answered,x,y,z\n", encoding="utf-8"
    )
    table = predicted(model, tmp_path / "a.csv", label_column="predicted")
    row = dict(table.frame.iloc[0])
    assert row["predicted"] == "bad"
    kept = {"predicted in the file 2": "x", "predicted in the file": "y", "unknown_share in the file": "z"}
    assert {name: row[name] for name in kept} == kept
    assert table.notes == ["Texts whose label is not a class of the model, which are not scored: 1 ('x')."]


def test_texts_of_mostly_unknown_words_are_marked(model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nqzxqz xqqzx card\nthe card works\n", encoding="utf-8")
    table = predicted(model, tmp_path / "a.csv")
    assert table.frame["unknown_share"].tolist() == pytest.approx([2 / 3, 0.0])
    assert table.notes[0].startswith("Texts with mostly unknown words (unknown_share over 0.5): 1;")
    assert "unknown_share" in table.columns


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "a.csv.gz", "a.parquet", "latin1.csv", "huge.csv"])
def test_any_file_that_a_search_reads(model: Any, name: str, tmp_path: Path) -> None:
    content = [("nobody answered", "bad"), ("the help was quick", "good")]
    frame, path, reading = pd.DataFrame(content, columns=["review", "sentiment"]), tmp_path / name, {}
    match name:
        case "a.tsv":
            frame.to_csv(path, sep="\t", index=False)
        case "a.jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")), encoding="utf-8")
        case "a.csv.gz":
            path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
        case "a.parquet":
            frame.to_parquet(path)
        case "latin1.csv":
            path.write_bytes(frame.assign(note="café").to_csv(index=False).encode("latin-1"))
            reading = {"encoding": "latin-1"}
        case "huge.csv":  # cut, as in training
            frame.assign(review=frame["review"] + " the" * 250_000).to_csv(path, index=False)
    table = predicted(model, path, **reading)
    assert table.frame["predicted"].tolist() == (["good", "good"] if name == "huge.csv" else ["bad", "good"])
    assert table.notes[0].startswith("2 labelled texts: ")


def test_a_file_without_rows_or_the_column_that_is_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(ROWS, encoding="utf-8")
    with pytest.raises(ValueError, match=r"has no column 'labl' \(did you mean 'label'\?\)"):
        labelled.read(tmp_path / "b.csv", Reading(label_column="labl"))
    with pytest.raises(ValueError, match="no file"):
        labelled.read(tmp_path / "c.csv", looking.reading_of(tmp_path / "c.csv", {"text_column": "1"}))
    (tmp_path / "a.csv").write_text("text,label\n\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no row"):
        labelled.read(tmp_path / "a.csv", Reading())


def test_scores_are_those_of_a_search_for_any_task() -> None:
    draw = random.Random(0)
    probabilities_NC = np.array([[draw.random() for _ in range(3)] for _ in range(40)])
    columns = {f"probability of {name}": probabilities_NC[:, i] for i, name in enumerate("abc")}
    several = TASKS["multi_label"]
    wanted = pd.Series(["a;b" if draw.random() < 0.5 else "c" for _ in range(40)])
    says = several.says(torch.tensor(probabilities_NC), tuple("abc"))["predicted"]
    (line,) = labelled.scores(wanted, pd.DataFrame({"predicted": says, **columns}), several, "abc")
    right = sum(several.parts(one) == several.parts(str(other)) for one, other in zip(wanted, says, strict=True)) / 40
    assert f"accuracy {right:.4f}" in line
    assert "micro F1" in line
    one_class = labelled.scores(pd.Series(["a"] * 40), pd.DataFrame({"predicted": "a", **columns}), several, "abc")
    assert "accuracy 1.0000" in one_class[0]
    assert labelled.scores(wanted, pd.DataFrame({"predicted": says}), None, "abc") == []


def test_all_scores_are_of_what_is_said_whatever_the_threshold() -> None:
    positive = [0.1, 0.3, 0.35, 0.8]
    columns = {"probability of ham": [1 - each for each in positive], "probability of spam": positive}
    answer = pd.DataFrame({"predicted": ["ham", "spam", "spam", "spam"], **columns})  # from 0.25 on
    wanted = pd.Series(["ham", "spam", "spam", "spam"])
    (line,) = labelled.scores(wanted, answer, TASKS["classification"], ("ham", "spam"))
    assert "accuracy 1.0000" in line
    assert "F1 1.0000" in line


def test_a_text_of_the_command_line_is_a_row(model: Any) -> None:
    rows = Rows(pd.DataFrame({"text": ["nobody answered"]}), "text")
    table = predict.table("m", model, rows, predict.predict(model, rows.texts))
    assert table.columns == ["predicted", "probability of bad", "probability of good", "unknown_share", "beginning"]
    assert table.notes == []
