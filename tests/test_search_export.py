"""An exported model equals the checkpoint's model, does not need this project, and rejects invalid input."""

import csv
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from safetensors.torch import load_file

import models
from analysis.explain import lookup
from analysis.explain.predict import find
from search.base import schema
from search.base.schema import Outcome
from search.prove import audit
from search.run.confirm import trials_of
from search.serve import export, loading
from search.serve.classifier import TextModel
from search.spec import read as specs
from search.study.trial import Trial
from search.track import registry
from tests.conftest import FinishedSearch, here

TEXTS = ["this movie is great", "the worst film ever, really bad", "qzxqz", ""]


@pytest.fixture(scope="module")
def exported(smoke_search: FinishedSearch) -> export.Exported:
    return export.export("latest", smoke_search.cwd / "searches", smoke_search.uri)


@pytest.fixture(scope="module")
def model_folder(exported: export.Exported, smoke_search: FinishedSearch) -> Path:
    version = mlflow.MlflowClient(smoke_search.uri).get_model_version_by_alias("smoke-imdb", "best")
    model = mlflow.MlflowClient(smoke_search.uri).get_logged_model(version.source.removeprefix("models:/"))
    return Path(model.artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def checkpoint(smoke_search: FinishedSearch) -> TextModel:
    """The checkpoint's model, calibrated as in the export."""
    trial = lookup.find(smoke_search.uri, "latest")
    return dataclasses.replace(loading.load(trial), temperature=trial.best[schema.TEMPERATURE])


def test_the_best_is_registered_under_the_searchs_name(
    exported: export.Exported, smoke_search: FinishedSearch, model_folder: Path
) -> None:
    best = lookup.find(smoke_search.uri, "latest")
    client = mlflow.MlflowClient(smoke_search.uri)
    version = client.get_model_version_by_alias("smoke-imdb", "best")
    assert (exported.uri, exported.version) == ("models:/smoke-imdb@best", str(version.version))
    assert exported.trial.name == best.name
    assert version.run_id == best.run_id
    standing = {"data_digest": best.provenance["data_digest"], "metric": "val_accuracy", "score": repr(best.score)}
    assert version.tags == {"search": smoke_search.id, "trial": best.name, **standing}
    assert sum(path.stat().st_size for path in model_folder.rglob("*") if path.is_file()) == exported.num_bytes
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert [output.model_id for output in run.outputs.model_outputs] == [version.source.removeprefix("models:/")]


def test_best_moves_only_to_a_better_model_of_the_same_data_and_metric(
    smoke_search: FinishedSearch, tmp_path: Path
) -> None:
    (tmp_path / "MLmodel").touch()
    first, other = (lookup.find(smoke_search.uri, f"latest:{name}").run_id for name in ("mlp", "gru"))

    def register(run_id: str | None, *standing: Any, name: str = "guarded") -> tuple[str, str]:
        assert run_id
        made = registry.Standing(*standing) if standing else None
        return registry.register(smoke_search.uri, name, "best", tmp_path, run_id, {}, made)

    digest, another = "a" * 64, "b" * 64
    assert register(first, digest, "val_accuracy", 0.8) == ("1", "")
    assert register(first, digest, "val_accuracy", 0.8) == ("2", "")  # the same model once more
    told = "best stays at version 2, which "
    worse = f"{told}has val_accuracy 0.8000, this one 0.7900, which is not better"
    assert register(other, digest, "val_accuracy", 0.79) == ("3", worse)
    elsewhere = f"{told}was trained on other data (aaaaaaaaaaaa, this one on bbbbbbbbbbbb)"
    assert register(other, another, "val_accuracy", 0.9) == ("4", elsewhere)
    by_another = f"{told}was chosen by val_accuracy, this one by val_loss"
    assert register(other, digest, "val_loss", 0.3) == ("5", by_another)
    assert register(other, digest, "val_accuracy", 0.81) == ("6", "")
    assert register(first, digest, "val_loss", 0.5, name="losses") == ("1", "")
    assert register(other, digest, "val_loss", 0.4, name="losses") == ("2", "")  # less is better
    register(first, name="unknown")
    unknown = "best stays at version 1, which does not say what it was measured on"
    assert register(other, digest, "val_loss", 0.4, name="unknown") == ("2", unknown)
    aliases = mlflow.MlflowClient(smoke_search.uri).get_registered_model("guarded").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"best": "6"}


@pytest.mark.parametrize(
    ("corpus", "name"),
    [
        ("imdb", "mine-imdb"),
        ("csv:/data/my reviews #2.csv", "mine-my-reviews-2"),
        ("csv:/data/reviews.v1.csv.gz", "mine-reviews"),
        ("csv:.hidden.csv", "mine-.hidden"),
    ],
)
def test_a_model_is_named_by_its_search_and_corpus(corpus: str, name: str) -> None:
    spec = specs.validate({"name": "mine", "corpus": corpus, "architectures": ["mlp"]}, files=False)
    assert export.registered_name(spec) == name


def test_a_name_of_the_users(smoke_search: FinishedSearch) -> None:
    root = smoke_search.cwd / "searches"
    exported = export.export("smoke", root, smoke_search.uri, "mlp", name="Film reviews")
    assert exported.uri == "models:/Film reviews@mlp"
    for wrong in ("a/b", "a:b", "", " ", ".", ".."):
        with pytest.raises(ValueError, match=r"--name: should have a letter or digit, and neither"):
            export.export("smoke", root, smoke_search.uri, name=wrong)


def test_an_architecture_has_its_own_alias(exported: export.Exported, smoke_search: FinishedSearch) -> None:
    done = here("search", "export", "smoke", "--architecture", "mlp", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    assert "models:/smoke-imdb@mlp" in done.stdout
    assert done.stderr == ""
    client = mlflow.MlflowClient(smoke_search.uri)
    assert client.get_model_version_by_alias("smoke-imdb", "best").version == int(exported.version)
    mlp = client.get_model_version_by_alias("smoke-imdb", "mlp")
    assert mlp.tags["trial"] == lookup.find(smoke_search.uri, "latest:mlp").name
    assert audit.audit(smoke_search.folder, smoke_search.uri) == []
    newest = f"models:/smoke-imdb/{mlp.version}"
    assert {find(smoke_search.uri, f"latest:{each}") for each in ("mlp", mlp.tags["trial"])} == {newest}
    with pytest.raises(ValueError, match=r"no model of rnn of smoke-\S+ is in the registry yet; .* --architecture rnn"):
        find(smoke_search.uri, "smoke:rnn")
    with pytest.raises(
        ValueError, match=f"no architecture or baseline 'lstm'; choose from {', '.join(smoke_search.spec.studied)}"
    ):
        export.export("smoke", smoke_search.cwd / "searches", smoke_search.uri, "lstm")


def test_any_trial_is_exported_under_its_name(exported: export.Exported, smoke_search: FinishedSearch) -> None:
    root, uri = smoke_search.cwd / "searches", smoke_search.uri
    first = lookup.find(uri, "latest")
    others = (trial for trial in trials_of(smoke_search.folder, root) if trial.outcome is Outcome.COMPLETE)
    name = next(trial.name for trial in others if trial.name != first.name)
    done = here("search", "export", "smoke", "--trial", name, cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    assert f"models:/smoke-imdb@{name}" in done.stdout
    client = mlflow.MlflowClient(uri)
    version = client.get_model_version_by_alias("smoke-imdb", name)
    assert version.tags["trial"] == name
    assert client.get_model_version_by_alias("smoke-imdb", "best").version == int(exported.version)
    assert audit.audit(smoke_search.folder, uri) == []
    with pytest.raises(ValueError, match=r"smoke-\S+ has no trial 'mlp-99' \(did you mean 'mlp-\d'\?\)"):
        export.export("smoke", root, uri, trial="mlp-99")
    with pytest.raises(ValueError, match="--prefer small: the search has one objective, val_accuracy, and no front"):
        export.export("smoke", root, uri, prefer="small")


def test_a_point_of_the_front_is_exported(tmp_path: Path) -> None:
    goals = ["val_accuracy", "num_parameters"]
    spec = specs.validate({"architectures": ["gru", "mlp"], "objectives": goals}, files=False)
    points = {"gru-0": (0.9, 1000.0), "gru-1": (0.8, 300.0), "mlp-0": (0.85, 100.0), "mlp-1": (0.6, 10.0)}
    points |= {"tfidf-0": (0.95, 5.0)}  # a baseline is no part of what was searched
    trials = [
        Trial(
            architecture=name.partition("-")[0],
            number=int(name[-1]),
            search="s",
            folder=tmp_path,
            metric="val_accuracy",
            outcome=Outcome.COMPLETE,
            best={"val_accuracy": score},
            costs={"num_parameters": size},
        )
        for name, (score, size) in points.items()
    ]
    trials += [dataclasses.replace(trials[3], number=2, costs={"num_parameters": 1.0}, outcome=Outcome.REFUSED)]

    def chosen(architecture: str | None = None, name: str | None = None, how: str | None = None) -> str:
        return export._point(trials, spec, "s", architecture, name, how).name

    assert [chosen(how=how) for how in ("accuracy", "small", "knee")] == ["gru-0", "mlp-1", "mlp-0"]
    assert chosen("gru", how="small") == "gru-1"
    assert chosen(name="gru-1") == "gru-1"
    with pytest.raises(ValueError, match="mlp-2 cannot be exported: refused"):
        chosen(name="mlp-2")


def test_it_needs_neither_the_project_nor_pickle(model_folder: Path, checkpoint: TextModel, tmp_path: Path) -> None:
    code = (
        "import json, sys, data, models, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "answer = model.predict(pandas.DataFrame({'text': json.loads(sys.argv[2])}))\n"
        "assert not [name for name in sys.modules if name.startswith(('data.', 'models.', 'search'))]\n"
        "print(answer.to_json(orient='records', double_precision=15))"
    )
    for name in ("data", "models"):  # an application's own
        (tmp_path / f"{name}.py").touch()
    arguments = [sys.executable, "-c", code, str(model_folder), json.dumps(TEXTS)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    refusing = environment | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "BAKEOFF_CACHE": str(tmp_path / "none")}
    done = subprocess.run(arguments, cwd=tmp_path, env=refusing, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none").exists()
    same_as(checkpoint, pd.DataFrame(json.loads(done.stdout.splitlines()[-1])))

    files = [path for path in model_folder.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".cloudpickle", ".pt")]
    weights = load_file(next(path for path in files if path.name == "weights.safetensors"))
    assert weights.keys() == checkpoint.model.state_dict().keys()
    vectors = np.load(next(path for path in files if path.name == "vectors.npy"), allow_pickle=False)
    assert len(vectors) == len(checkpoint.vocabulary)  # not the 400,000 of the whole file


def same_as(checkpoint: TextModel, answer: pd.DataFrame, texts: Sequence[str] = TEXTS) -> None:
    """Checks that the answer equals the predictions of the checkpoint's model."""
    expected_NC = checkpoint.outputs(texts).numpy()
    names = [f"probability of {name}" for name in checkpoint.classes]
    assert answer.columns.tolist() == ["predicted", *names, "unknown_share"]
    assert answer["unknown_share"].tolist() == [{"qzxqz": 1.0, "": 1.0}.get(text, 0.0) for text in texts]
    assert answer[names].to_numpy() == pytest.approx(expected_NC, abs=1e-6)
    assert answer["predicted"].tolist() == [checkpoint.classes[i] for i in expected_NC.argmax(1)]


def test_weights_that_an_older_version_wrote_are_read(checkpoint: TextModel, tmp_path: Path) -> None:
    checkpoint.save(folder := tmp_path / "model")
    (folder / "weights.safetensors").unlink()
    torch.save(checkpoint.model.state_dict(), folder / "weights.pt")
    assert torch.equal(TextModel.load(folder).outputs(TEXTS), checkpoint.outputs(TEXTS))


@pytest.mark.parametrize("embeddings", ["frozen", "trained"])
def test_a_classifier_is_read_back_equal(checkpoint: TextModel, tmp_path: Path, embeddings: str) -> None:
    weights = checkpoint.model.state_dict()
    vectors_VE = checkpoint.model.embedding.vectors_VE.numpy()
    if embeddings == "trained":
        weights = weights | {"embedding.vectors_VE": checkpoint.model.embedding.vectors_VE * 2}
    parts = (checkpoint.classes, checkpoint.vocabulary, checkpoint.max_words)
    made = TextModel.build(
        checkpoint.architecture,
        checkpoint.hyperparameters,
        *parts,
        weights,
        vectors_VE if embeddings == "frozen" else None,
        temperature=checkpoint.temperature,
    )
    made.save(tmp_path / "model")
    read = TextModel.load(tmp_path / "model")
    assert (read.classes, read.vocabulary, read.max_words) == parts
    assert (read.outputs(TEXTS).numpy() == made.outputs(TEXTS).numpy()).all()
    changed = np.abs(made.outputs(TEXTS).numpy() - checkpoint.outputs(TEXTS).numpy()).max()
    assert (changed > 1e-6) == (embeddings == "trained")
    assert not read.model.training


def test_texts_of_any_length_are_answered_in_their_order(checkpoint: TextModel) -> None:
    texts = ["bad " * 20, "good", "the movie was good " * 5, "bad", "", "the worst movie"]
    alone_NC = torch.cat([checkpoint.outputs([text]) for text in texts])
    torch.testing.assert_close(checkpoint.outputs(texts), alone_NC)
    assert len({tuple(each) for each in alone_NC.tolist()}) > 3


def test_a_classifier_without_word_vectors_is_read_back_equal(tmp_path: Path) -> None:
    """A network that reads no vectors, in a search that learns them: there are none in its weights or in a file."""
    network = models.build("ngram", models.WordVectors.learned(6, 50), 2, buckets=10)
    parts = (("negative", "positive"), ("<pad>", "<unk>", "this", "movie", "is", "bad"), 10)
    made = TextModel.build("ngram", {"buckets": 10}, *parts, network.state_dict(), None)
    made.save(tmp_path / "model")
    assert torch.equal(TextModel.load(tmp_path / "model").outputs(TEXTS), made.outputs(TEXTS))


def test_a_long_text_is_cut_as_in_training(model_folder: Path, checkpoint: TextModel) -> None:
    beginning = "this movie is great " * checkpoint.max_words
    answer = mlflow.pyfunc.load_model(str(model_folder)).predict(
        pd.DataFrame({"text": [beginning + "qzxqz " * 200_000]})
    )
    same_as(checkpoint, answer, [beginning])


def test_how_much_of_a_text_is_unknown(checkpoint: TextModel) -> None:
    answer = checkpoint.answer(["this movie qzxqz is", "qzxqz xqqzx", "", "good"])
    assert answer["unknown_share"] == [0.25, 1.0, 1.0, 0.0]


def test_what_cannot_be_predicted_is_refused(model_folder: Path) -> None:
    model = mlflow.pyfunc.load_model(str(model_folder))
    for texts, problem in [
        ([], "a request has from 1 to 10,000 texts; got 0"),
        (["a"] * 10_001, "a request has from 1 to 10,000 texts; got 10,001"),
        ([3], "text 1 is not text but 3"),
        (["fine", None], "text 2 is not text but"),
    ]:
        with pytest.raises(MlflowException, match=problem) as refused:
            model.predict(pd.DataFrame({"text": pd.Series(texts, dtype=object)}))
        assert refused.value.get_http_status_code() == 400
    with pytest.raises(MlflowException, match="Model is missing inputs") as refused:
        model.predict(pd.DataFrame({"review": ["fine"]}))
    assert refused.value.get_http_status_code() == 400


def test_predict_command(
    exported: export.Exported, smoke_search: FinishedSearch, checkpoint: TextModel, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    labels = [checkpoint.classes[0], checkpoint.classes[1]] * 750
    rows = [["label", "review"], *([label, f"=movie number {i}, bad"] for i, label in enumerate(labels))]
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    arguments = ["analysis", "predict", exported.uri, "--csv", str(source)]
    done = here(*arguments, "--text", "review", "--out", str(out), cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    written = pd.read_csv(out)
    assert len(written) == 1500  # more than a batch
    assert written["review"][7] == "'=movie number 7, bad"
    expected_NC = checkpoint.outputs([row[1] for row in rows[1:]]).numpy()
    names = [f"probability of {name}" for name in checkpoint.classes]
    assert written[names].to_numpy() == pytest.approx(expected_NC, abs=1e-6)
    least = exported.threshold.probability if exported.threshold else 0.5
    right = (np.array(checkpoint.classes)[(expected_NC[:, 1] > least).astype(int)] == labels).mean()
    assert "1,500 labelled texts: loss " in done.stdout
    assert f"accuracy {right:.4f}" in done.stdout

    wrong = here(*arguments, "--column", "reviews", cwd=smoke_search.cwd)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"error: {source} has no column 'reviews'")
    assert wrong.stderr.count("\n") == 1


@contextmanager
def serving(uri: str, tracking_uri: str, cwd: Path) -> Iterator[Callable[..., tuple[int, Any]]]:
    """A real `mlflow models serve`. Yields a function that posts a request, and returns status and decoded answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "MLFLOW_TRACKING_URI": tracking_uri,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    arguments = [programs / "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "--port", str(port)]

    def post(body: object, content_type: str = "application/json") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", data, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    with (cwd / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            arguments, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                        break
                except OSError:
                    assert server.poll() is None, (cwd / "server.log").read_text(encoding="utf-8")
                    time.sleep(0.2)
            yield post
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)


@pytest.mark.slow
def test_a_server_answers_as_the_checkpoint_and_refuses_in_a_sentence(
    exported: export.Exported, smoke_search: FinishedSearch, checkpoint: TextModel, tmp_path: Path
) -> None:
    with serving(exported.uri, smoke_search.uri, tmp_path) as post:
        for body in (
            {"dataframe_records": [{"text": text} for text in TEXTS]},
            {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}},
            {"inputs": {"text": TEXTS}},
        ):
            status, answer = post(body)
            assert status == 200
            same_as(checkpoint, pd.DataFrame(answer["predictions"]))
        table = pd.DataFrame({"text": TEXTS[:3]}).to_csv(index=False).encode()
        same_as(checkpoint, pd.DataFrame(post(table, "text/csv")[1]["predictions"]), TEXTS[:3])
        for bad, sentence in [
            ({"dataframe_records": [{"review": "x"}]}, "Model is missing inputs ['text']"),
            ({"dataframe_records": [{"text": 3}]}, "text 1 is not text but 3"),
            ({"dataframe_records": [{"text": None}]}, "text 1 is not text but None"),
            ({"dataframe_records": []}, "Model is missing inputs ['text']"),
            ({"inputs": {"text": []}}, "from 1 to 10,000 texts; got 0"),
            ({"inputs": {"text": ["a"] * 10_001}}, "from 1 to 10,000 texts; got 10,001"),
            ({}, "exactly one of the input fields"),
            (b"hello", "valid JSON"),
        ]:
            status, answer = post(bad)
            assert status == 400, bad
            assert sentence in answer["message"]
        assert post({"inputs": {"text": ["still there"]}})[0] == 200
