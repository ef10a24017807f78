"""A real search for a model that draws: with attention and without, through the commands that every search has."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import FinishedSearch, command
from mlflow.entities import Run
from PIL import Image

from analysis.base import runs
from analysis.explain import disagree, drawing, inspection, lookup, memory_curves
from search.base import mlflow_uri, schema
from search.run import confirm
from search.serve import export, loading
from search.train import checkpoints

EPOCHS = 2


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> FinishedSearch:
    cwd = tmp_path_factory.mktemp("drawn")
    settings = ["limit=400", f"epochs={EPOCHS}", "sampler=grid", "trials=null", "pruner=none", "curve_interval=5"]
    space = "space={heads: [0, 2], hidden_size: 16, learning_rate: 0.005}"
    arguments = [part for each in [*settings, space] for part in ("--set", each)]
    done = command("search", "run", "text-to-image", *arguments, cwd=cwd, BAKEOFF_REPORT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (cwd / "searches").iterdir()
    return FinishedSearch(folder.name, cwd, f"sqlite:///{cwd / 'mlflow.db'}", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def trials(search: FinishedSearch) -> pd.DataFrame:
    return runs.read_trials(search.uri, search.id).set_index("trial")


def read(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def pictures(uri: str, run: Run, folder: Path) -> dict[int, np.ndarray]:
    """What MLflow's UI shows with a slider: an image for each step."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    paths = [each.path for each in client.list_artifacts(run.info.run_id, "images") if each.path.endswith(".png")]
    found = {}
    for path in paths:
        key, _, step, *_ = Path(path).name.split("+")
        assert key == schema.PICTURE
        found[int(step)] = read(Path(client.download_artifacts(run.info.run_id, path, str(folder))).read_bytes())
    assert len(found) == len(paths)
    return found


def test_mlflow_has_what_was_drawn_after_each_epoch(search: FinishedSearch, tmp_path: Path) -> None:
    """Also when it has lost everything: the pictures lie beside the checkpoints."""
    shutil.copytree(search.folder, tmp_path / "searches" / search.id)
    repaired = command("search", "audit", search.id, "--repair", cwd=tmp_path)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    for uri in (search.uri, f"sqlite:///{tmp_path / 'mlflow.db'}"):
        found = mlflow.MlflowClient(tracking_uri=uri).search_runs(["1"], "tags.kind = 'trial'")
        assert len(found) == 2
        for run in found:
            assert run.data.tags["mlflow.loggedImages"] == "True"
            drawn = pictures(uri, run, tmp_path)
            assert sorted(drawn) == list(range(1, EPOCHS + 1))
            folder = checkpoints.folder_of(search.folder, run.data.tags["trial"])
            for epoch, image in drawn.items():
                assert (image == read((folder / schema.picture(epoch)).read_bytes())).all()  # type: ignore[union-attr]


def test_the_leaderboard_shows_what_is_measured_of_images(search: FinishedSearch, trials: pd.DataFrame) -> None:
    assert "Traceback" not in search.output
    assert (trials["outcome"] == "complete").all()
    assert trials["test_pixel_error"].between(0.1, 0.5).all()
    assert trials["test_roc_auc"].isna().all()
    done = command("analysis", "leaderboard", "--rank-by", "val_pixel_error", "--format", "json", cwd=search.cwd)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows[0]["val_pixel_error"] < rows[1]["val_pixel_error"]
    assert {"test_accuracy", "test_f1", "test_pixel_error"} <= set(rows[0])
    assert "test_roc_auc" not in rows[0]
    refused = command("analysis", "leaderboard", "--rank-by", "val_roc_auc", cwd=search.cwd)
    assert refused.returncode == 2
    measured = "val_loss, val_accuracy, val_f1, val_pixel_error"
    assert refused.stderr.endswith(f"these trials do not measure it; choose from {measured}\n")
    page = (search.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "test pixel error" in page
    assert "test ROC AUC" not in page


def test_kept_predictions_are_of_whole_images(search: FinishedSearch, trials: pd.DataFrame) -> None:
    for trial in trials.itertuples():
        found = runs.read_predictions(search.uri, trial.run_id)
        assert found is not None
        assert list(found.columns) == ["label", "predicted"]
        asked, drawn = (np.array([each.split() for each in found[name]]) for name in ("label", "predicted"))
        assert asked.shape == (40, 4)
        assert (asked == drawn).mean() == pytest.approx(trial.test_accuracy)
    compared = command("analysis", "differences", cwd=search.cwd)
    assert compared.returncode == 0, compared.stderr
    assert "1 architecture with complete trials, none to compare" in compared.stdout


def test_explain_says_what_each_quadrant_attended_to(
    search: FinishedSearch, trials: pd.DataFrame, tmp_path: Path
) -> None:
    heads = trials["heads"]
    (name,), (without,) = (heads.index[heads == number] for number in (2, 0))
    out, png = tmp_path / "a.json", tmp_path / "a.png"
    text = "a seven at the top left qzxqz"
    arguments = [f"latest:{name}", text, "--out", str(out), "--png", str(png)]
    done = command("analysis", "explain", *arguments, cwd=search.cwd)
    assert done.returncode == 0, done.stderr
    rows = pd.DataFrame(json.loads(out.read_text(encoding="utf-8")))
    assert rows["word"].tolist() == text.split()
    assert rows["unknown"].tolist() == [False] * 6 + [True]
    assert rows[list(drawing.QUADRANTS)].sum().tolist() == pytest.approx([1] * 4)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(png.with_suffix(".csv"))) == 7

    shown = drawing.explain_all(lookup.find(search.uri, f"{search.id}:{name}"), None)
    assert len(shown) == drawing.NUM_CAPTIONS
    table = drawing.drawing_table(shown[0])
    assert table.columns == ["word", "top left", "top right", "bottom left", "bottom right"]
    assert len(table.frame) == len(shown[0].words)
    with pytest.raises(ValueError, match=f"{without} of {search.id} has no attention \\(heads: 0\\)"):
        drawing.explain_all(lookup.find(search.uri, f"{search.id}:{without}"), [text])


def test_what_needs_classes_says_so_in_one_line(search: FinishedSearch) -> None:
    best = lookup.best_of_each(search.uri, runs.find_search(search.uri))
    with pytest.raises(ValueError, match="two architectures with a model are needed"):
        disagree.load_all(best)
    with pytest.raises(ValueError, match="no checkpoint of a recurrent model"):
        memory_curves.find(search.uri, search.id)
    with pytest.raises(ValueError, match="only for rnn and gru"):
        memory_curves.find(search.uri, f"{search.id}:text_to_image")
    labelled = command("analysis", "explain", search.id, "a seven", "--label", "7", cwd=search.cwd)
    assert (labelled.returncode, labelled.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_an_exported_model_draws_without_the_project(search: FinishedSearch, tmp_path: Path) -> None:
    exported = export.export("latest", search.cwd / "searches", search.uri)
    assert exported.uri == "models:/text-to-image-captions@best"
    texts = ["a seven at the top left and a 3 at the bottom right", "qzxqz", ""]
    model = loading.load(lookup.find(search.uri, f"{search.id}:{exported.trial.name}"))
    expected = model.answer(texts)
    shown = [each.split() for each in expected["predicted"]]  # type: ignore[union-attr]
    assert {len(digits) for digits in shown} == {4}

    with mlflow_uri.mlflow_at(search.uri):
        model_folder = Path(mlflow.artifacts.download_artifacts(exported.uri, dst_path=str(tmp_path)))
    code = (
        "import json, sys, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "answer = model.predict(pandas.DataFrame({'text': json.loads(sys.argv[2])}))\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('data', 'models', 'search')]\n"
        "print(json.dumps(answer.to_dict('list')))"
    )
    arguments = [sys.executable, "-c", code, str(model_folder), json.dumps(texts)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == expected
    for image, ink_YX in zip(answer["image"], model.outputs(texts).numpy(), strict=True):
        np.testing.assert_allclose(read(base64.b64decode(image)) / 255, 1 - ink_YX, atol=1 / 255 + 1e-6)
    requirements = (model_folder / "requirements.txt").read_text(encoding="utf-8")
    assert {"scikit-learn", "pillow"} <= {line.partition("==")[0] for line in requirements.splitlines()}

    predicted = command("analysis", "predict", "latest", *texts[:2], cwd=search.cwd)
    assert predicted.returncode == 0, predicted.stderr
    assert " ".join(shown[0]) in predicted.stdout
    assert answer["image"][0][:20] not in predicted.stdout  # for programs
    whole = command("analysis", "predict", "latest", texts[0], "--format", "json", cwd=search.cwd)
    assert json.loads(whole.stdout)[0]["image"] == answer["image"][0]


def test_it_is_inspected_confirmed_and_audited_like_others(search: FinishedSearch, trials: pd.DataFrame) -> None:
    found = inspection.find(search.uri, f"{search.id}:text_to_image")
    number = lookup.find(search.uri, f"{search.id}:text_to_image").num_parameters
    assert inspection.layers(found)["num_parameters"].sum() == number
    assert found.num_outputs == 16
    again = confirm.confirmation(search.folder, 2, 3, [])
    assert [point["heads"] for point in (again.configurations or {})["text_to_image"].values()] == [
        trials.loc[name, "heads"] for name in (again.configurations or {})["text_to_image"]
    ]
    audited = command("search", "audit", cwd=search.cwd)
    assert audited.returncode == 0, audited.stdout
