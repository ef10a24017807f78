"""Tasks: what is measured of images by hand, what is kept of them, and that a training loop goes by its model's task.

Shapes: N images, Q quadrants, Y rows, X columns.
"""

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import data
import models
from analysis.explain.explainers import EXPLAINERS
from data.base.reading import Reading
from data.corpora.captions import EMPTY, handwritten, join_quadrants
from data.encoded import EncodedCorpus, Split
from models.parts.hyperparameters import Domain, Real
from search.base import schema
from search.run.setting import make_setting
from search.serve.classifier import TextModel
from search.spec import read as specs
from search.train import checkpoints, length, training
from search.train.config import TrainingConfig
from search.train.metrics import measured_in
from search.train.running import build_model, predictions_csv, run_trial, splits
from search.train.stepping import alone
from search.train.tasks import TASKS, task_of
from search.train.tasks.base import Columns, Observation, Targets, Task
from search.train.tasks.text_to_image import TextToImage
from search.train.training import train

TASK = TASKS["text_to_image"]
ASKED = [[7, EMPTY, 3, EMPTY], [1, EMPTY, EMPTY, EMPTY]]
DRAWN = [[7, EMPTY, 3, EMPTY], [2, EMPTY, EMPTY, 8]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    cache = tmp_path_factory.mktemp("cache")
    return data.load("captions", embeddings="learned", embedding_size=8, limit=400, cache=cache, progress=False)


def images(digits: list[list[int]]) -> Tensor:
    """Images (N, Y, X) of real digits that the reader has learned."""
    written_DYX, labels_D = handwritten("train")
    empty_YX = np.zeros_like(written_DYX[0])
    quadrants = [
        [empty_YX if digit == EMPTY else written_DYX[np.flatnonzero(labels_D == digit)[0]] for digit in each]
        for each in digits
    ]
    return torch.from_numpy(join_quadrants(np.array(quadrants)))


def targets() -> tuple[Tensor, Tensor]:
    return images(ASKED), torch.tensor(ASKED)


def measure(logits_NYX: Tensor, wanted: tuple[Tensor, Tensor]) -> dict[str, float]:
    measured = training.measure(TASK, logits_NYX, wanted, "val")
    return {name.removeprefix("val_"): value for name, value in measured.items()}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_knows_itself(name: str) -> None:
    """Its architectures name it, a corpus has what it asks for, and its answers are a table."""
    task = TASKS[name]
    assert task.name == name
    assert models.of_task(task.kind)
    corpus, reading = ("imdb", Reading(multi_label=task.separator)) if task.separator else ("captions", Reading())
    assert set(task.arrays) <= set(data.arrays_of(corpus, reading))
    encoded = data.load(corpus, embeddings="learned", limit=100, reading=reading, progress=False)
    if task.arrays:  # else another may ask for more of this corpus
        assert task_of(task.kind, encoded).name == name
    targets_N = tuple(map(torch.from_numpy, task.targets(encoded.test)))
    model = models.build(
        next(iter(models.of_task(task.kind))), models.WordVectors.learned(9, 4), task.num_outputs(encoded)
    )
    tokens_NT = torch.randint(9, (len(encoded.test), 5))
    logits_N = model(tokens_NT, torch.full((len(tokens_NT),), 5)).detach()
    assert torch.isfinite(task.loss(logits_N, targets_N))
    assert 0 <= task.accuracy(logits_N, targets_N) <= 1
    assert (task.picture(logits_N, targets_N) is not None) == task.has_pictures
    if task.has_classes:
        again_N = task.outputs(task.logits(task.outputs(logits_N)))
        torch.testing.assert_close(again_N, task.outputs(logits_N), rtol=1e-4, atol=1e-5)
    header, *rows = task.predictions(task.outputs(logits_N), encoded)
    assert header[:2] == ["label", "predicted"]
    assert len(rows) == len(encoded.test)
    answer = task.answer(task.outputs(logits_N), encoded.classes)
    assert answer["predicted"] == [row[1] for row in rows]
    assert {len(column) for column in answer.values()} == {len(rows)}
    assert set(EXPLAINERS) == set(TASKS)


def test_images_by_hand() -> None:
    """Of 8 quadrants, one shows another digit and one a digit where none was asked for."""
    logits_NYX = images(DRAWN).logit(eps=1e-6)
    measured = measure(logits_NYX, targets())
    assert measured["accuracy"] == 6 / 8
    # 7 and 3: 1. 1, 2 and 8: 0. Empty: 4 of 5, and none too many.
    assert measured["f1"] == pytest.approx((1 + 1 + 2 * 4 / (2 * 4 + 1)) / 6)
    assert TASK.accuracy(logits_NYX, targets()) == 6 / 8
    right = measure(images(ASKED).logit(eps=1e-6), targets())
    assert right == pytest.approx({"loss": right["loss"], "accuracy": 1, "f1": 1, "pixel_error": 0}, abs=1e-5)


def test_loss_and_pixel_error_by_hand() -> None:
    """Half ink everywhere, where all or none is wanted: ln 2, and wrong by a half."""
    wanted_NYX = (torch.arange(2 * 16 * 16).view(2, 16, 16) % 3 == 0).float()
    half = measure(torch.zeros(2, 16, 16), (wanted_NYX, torch.tensor(ASKED)))
    assert half["pixel_error"] == pytest.approx(0.5)
    assert float(TASK.loss(torch.zeros(2, 16, 16), (wanted_NYX, torch.tensor(ASKED)))) == pytest.approx(math.log(2))
    # Nine tenths of the ink where it is wanted, none elsewhere: of the 171 pixels of 512, wrong by a tenth.
    logits_NYX = torch.where(wanted_NYX == 1, math.log(9), -30.0)
    measured = measure(logits_NYX, (wanted_NYX, torch.tensor(ASKED)))
    assert measured["pixel_error"] == pytest.approx(0.1 * math.sqrt(171 / 512))
    loss = float(TASK.loss(logits_NYX, (wanted_NYX, torch.tensor(ASKED))))
    assert loss == pytest.approx(-math.log(0.9) * 171 / 512, rel=1e-5)


def test_so_many_images_are_read_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextToImage, "MOST_READ", 1)
    monkeypatch.setattr(TextToImage, "MOST_READ_FOR_CURVE", 1)
    logits_NYX = images(DRAWN).logit(eps=1e-6)
    assert measure(logits_NYX, targets())["accuracy"] == 2 / 4  # the last one
    assert TASK.accuracy(logits_NYX, targets()) == 2 / 4


def test_all_that_is_held_out_is_read() -> None:
    encoded = data.load("captions", embeddings="learned", progress=False)
    assert max(len(encoded.val), len(encoded.test)) <= TextToImage.MOST_READ


def test_the_picture_has_what_was_drawn_above_what_was_asked_for() -> None:
    picture = TASK.picture(images(DRAWN).logit(eps=1e-6), targets())
    assert picture
    with Image.open(io.BytesIO(picture)) as image:
        grid_YX = np.asarray(image)
    tile = 16 * TextToImage.SCALE + TextToImage.GAP
    assert grid_YX.shape == (2 * tile, 2 * tile)
    for row, of in enumerate((DRAWN, ASKED)):
        for column, wanted_YX in enumerate(1 - images(of).numpy()):
            shown_YX = grid_YX[row * tile :, column * tile :][: 16 * TextToImage.SCALE : TextToImage.SCALE]
            shown_YX = shown_YX[:, : 16 * TextToImage.SCALE : TextToImage.SCALE] / 255
            np.testing.assert_allclose(shown_YX, wanted_YX, atol=1 / 255 + 1e-5)


def test_predictions_are_the_digits_of_each_image(corpus: EncodedCorpus) -> None:
    digits_NQ = corpus.test.arrays["digits_NQ"]
    asked = [" ".join("-" if digit == EMPTY else str(digit) for digit in each) for each in digits_NQ]
    drawn = images(DRAWN[1:]).expand(len(corpus.test), -1, -1)
    lines = predictions_csv(TASK.predictions(drawn, corpus)).splitlines()
    assert lines == ["label,predicted", *(f"{each},2 - - 8" for each in asked)]


def test_training_draws_and_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    corpus: EncodedCorpus, tmp_path: Path
) -> None:
    spec = specs.read("text-to-image", ["epochs=3", "curve_interval=5", "metric=val_pixel_error"])
    setting = make_setting(spec, tmp_path)
    values = spec.default_point("text_to_image")
    config = {schema.ARCHITECTURE: "text_to_image", schema.NUMBER: 0, schema.SEED: 1} | values | {"dropout": 0.1}
    whole = list(run_trial(config, corpus, setting))
    losses = [result.metrics["train_loss"] for result in whole]
    assert losses == sorted(losses, reverse=True)
    errors = [result.metrics["val_pixel_error"] for result in whole]
    assert whole[-1].best["val_pixel_error"] == min(errors)
    assert {name for name in whole[-1].best if name.startswith("test_")} == {
        f"test_{metric.name}" for metric in measured_in(TASK.name)
    }
    assert len(whole[-1].curve) == 2  # 10 iterations an epoch
    assert len({result.picture for result in whole}) == 3

    for result in itertools.islice(run_trial(config, corpus, setting), 1):
        checkpoints.save(tmp_path, result.step, {"state": result.state})
    saved = checkpoints.load_last(tmp_path)
    assert saved
    rest = list(run_trial(config, corpus, setting, saved["state"]))
    for again, before in zip(rest, whole[1:], strict=True):
        assert {**again.metrics, "epoch_seconds": 0} == {**before.metrics, "epoch_seconds": 0}
        assert (again.curve, again.best, again.picture) == (before.curve, before.best, before.picture)


def test_an_image_that_is_not_finite_is_not_read(corpus: EncodedCorpus) -> None:
    """The reader would raise an error of its own."""
    spec = specs.read("text-to-image")
    values = spec.default_point("text_to_image")
    model = build_model({schema.ARCHITECTURE: "text_to_image", schema.SEED: 0} | values, corpus, "learned")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    on_cpu = splits(corpus, torch.device("cpu"), TASK)
    (result,) = alone(
        train(model, on_cpu, TrainingConfig(), length=length.Length(2), metric=spec.metric, curve_interval=1000, seed=0)
    )
    assert result.diverged == "train loss became nan in epoch 1"
    assert result.picture is None


class Length(Task):
    """How many words a text has. Logits (N, 1)."""

    name = "length"
    usual_outputs = 1

    def num_outputs(self, corpus: EncodedCorpus) -> int:
        return 1

    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        return (split.lengths_N.astype(np.float32),)

    def loss(
        self, logits_N: Tensor, targets: Targets, smoothing: float = 0.0, weights_C: Tensor | None = None
    ) -> Tensor:
        return (logits_N[:, 0] - targets[0]).square().mean()

    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        return float((logits_N[:, 0].round() == targets[0]).float().mean())

    def outputs(self, logits_N: Tensor) -> Tensor:
        return logits_N.round().clamp(0, 99)

    def observe(self, logits_N: Tensor, targets: Targets, loss: float) -> Observation:
        said_N = self.outputs(logits_N)
        return Observation(loss, targets[0].long(), said_N[:, 0].long(), 100, said_N, targets[0])

    def labels(self, split: Split, classes: Sequence[str]) -> list[str]:
        return [str(length) for length in split.lengths_N]

    def says(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        return {"predicted": [f"{length:.0f}" for length in outputs_N[:, 0].tolist()]}


class WordCounter(models.Architecture):
    """Starts as the sum of something that every word has."""

    task = "length"
    hyperparameters: ClassVar[dict[str, Domain]] = {"start": Real(0.0, 2.0)}

    def __init__(self, embedding: models.WordVectors, num_outputs: int, *, start: float = 0.5) -> None:
        super().__init__(embedding)
        self.of_word = nn.Parameter(torch.full((num_outputs,), start))

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        return self.of_word * lengths_B.unsqueeze(1)


def test_one_file_is_all_that_a_task_needs(
    corpus: EncodedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trained, measured, recorded, read back, and answers, through what there is."""
    monkeypatch.setitem(TASKS, "length", Length())
    monkeypatch.setitem(models.ARCHITECTURES, "counter", WordCounter)
    monkeypatch.setattr("search.spec.spec.OURS", (*models.OURS, "counter"))
    content = {"name": "a", "architectures": ["counter"], "corpus": "captions", "embeddings": "learned"}
    settings = {"metric": "val_loss", "epochs": 10, "space": {"start": [0.5], "learning_rate": [0.02]}}
    spec = specs.validate(content | settings)
    with pytest.raises(ValueError, match="should be one of val_loss, val_accuracy, val_f1 for length"):
        specs.validate(content | {"metric": "val_roc_auc"})

    config = {schema.ARCHITECTURE: "counter", schema.NUMBER: 0, schema.SEED: 1, "start": 0.5, "learning_rate": 0.02}
    rest = {"batch_size": 32, "max_grad_norm": None, "schedule": "linear"}
    *_, last = run_trial(config | rest, corpus, make_setting(spec, tmp_path))
    assert last.best["test_accuracy"] == 1.0
    assert last.test_outputs_N is not None
    header, *rows = Length().predictions(last.test_outputs_N, corpus)
    assert header == ["label", "predicted"]
    assert all(label == predicted for label, predicted in rows)

    made = TextModel.build(
        "counter", {"start": 0.5}, corpus.classes, corpus.vocabulary, 100, last.state["best_weights"], None, None, 1
    )
    made.save(tmp_path / "model")
    assert TextModel.load(tmp_path / "model").answer(["draw a seven", "nothing"])["predicted"] == ["3", "1"]
