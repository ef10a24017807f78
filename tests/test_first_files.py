"""Files as people have them: what is not quite as it should be is read right, or refused in a line."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import data
import models
from analysis.explain import labelled
from bakeoff.__main__ import app
from data.base.errors import UserError
from data.base.reading import Reading
from data.corpora.files import read_rows
from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble
from search.spec import read as specs
from search.train.tasks import TASKS


def test_a_space_before_a_quoted_cell_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('text, label\n"good, really", pos\nplain words, "neg"\n"it said ""no""", "neg"\n')
    assert read_rows(file).cells == [["good, really", "pos"], ["plain words", "neg"], ['it said "no"', "neg"]]
    file.write_text('label, text\npos, "good, really"\nneg, bad\n')
    assert read_rows(file).cells == [["pos", "good, really"], ["neg", "bad"]]
    for plain in ('a, "word" in it', ' a "quote"', ""):  # these are words of the text
        file.write_text(f"label;text\npos;{plain} here\nneg;bad\n")
        assert read_rows(file).cells[0] == ["pos", f"{plain} here"]
    file.write_text('text,label\n"a, ""b"", c",pos\n')
    assert read_rows(file).cells == [['a, "b", c', "pos"]]


def test_a_column_of_json_lines_may_come_late(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    lines = [{"text": f"text {n}", **({"stars": n % 2, "author": f"a{n % 9}"} if n > 150 else {})} for n in range(200)]
    file.write_text("\n".join(map(json.dumps, lines)))
    found = read_rows(file)
    assert (found.columns, found.label) == (("text", "stars", "author"), 1)
    lines[150:] = [{"text": f"text {n}", "label": n % 2, "who": n} for n in range(50)]
    file.write_text("\n".join(json.dumps({"label": 0, **each}) for each in lines))
    assert read_rows(file, Reading(text_column="text", group_column="who")).columns == ("label", "text", "who")
    with pytest.raises(UserError, match=r"no column 'whom'.*did you mean 'who'"):
        data.read(str(file), reading=Reading(group_column="whom"), progress=False)


def test_an_empty_label_is_no_class_where_texts_have_several(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    labels = ["good", "urgent", "good; urgent", ""]
    file.write_text("text,label\n" + "".join(f'text {n},"{labels[n % 4]}"\n' for n in range(200)))
    division = data.read(str(file), reading=Reading(multi_label=";"), progress=False)
    assert division.texts.learned_classes == ("good", "urgent")
    none = division.texts.classes.index("")
    assert sum(label == none for split in division.splits.values() for _, label in split) == 50
    found = data.inspect(
        str(file), embeddings="learned", reading=Reading(multi_label=";"), cache=tmp_path, progress=False
    )
    assert found.understood["no class"] == "50 texts (25.0%), whose label is empty"
    with pytest.raises(UserError, match="has an empty label in line 5"):
        data.read(str(file), progress=False)


def test_a_tilde_may_stand_between_cells() -> None:
    assert specs.read("csv", ["separator=~"], files=False).separator == "~"
    assert specs.read("csv", ["separator=null"], files=False).separator is None


def test_a_metric_that_never_ranks_names_those_of_its_own_task() -> None:
    with pytest.raises(UserError, match="choose from val_loss, val_accuracy") as error:
        specs.validate({"metric": "val_ece"}, files=False)
    assert "pixel" not in str(error.value)
    assert "micro" not in str(error.value)  # which texts of several classes have


def test_what_cannot_be_read_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(60)))
    done = CliRunner().invoke(app, ["run", "mine.csv", "--text", "nothere"])
    assert done.exit_code == 2
    assert "Search" not in done.output
    assert "'nothere'" in done.output


def test_labels_that_mean_a_class_are_scored_as_that(tmp_path: Path) -> None:
    keys = {"hidden_size": 4, "num_layers": 2}
    weights = models.build("mlp", models.WordVectors.learned(3, 5), 2, **keys).state_dict()
    vocabulary = ("<pad>", "<unk>", "good")
    model = TextModel.build("mlp", keys, ("0", "1"), vocabulary, 5, weights, None, labels={"1.0": "1"})
    Ensemble({"a": model, "b": model}).save(tmp_path / "both")
    meant = Ensemble.load(tmp_path / "both").labels
    labels, answer = pd.Series(["1", "1.0", "0", "2"]), pd.DataFrame({"predicted": ["1", "1", "1", "1"]})
    notes = labelled.scores(labels, answer, TASKS["classification"], ["0", "1"], meant)
    assert notes[0].startswith("3 labelled texts: accuracy 0.6667")
    assert "'2'" in notes[1]
