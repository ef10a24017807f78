"""What models are made of: counts by hand, and against torch's counter; words that reach a score, against formulas."""

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import FinishedSearch, here
from torch.utils.flop_counter import FlopCounterMode

import models
from analysis.explain import inspection, lookup
from analysis.explain.inspection import Subject
from models.parts.geometry import receptive_field


def subject(name: str, **hyperparameters: object) -> Subject:
    return Subject(name, name, hyperparameters, num_outputs=3, embedding_size=5, num_words=24)


def test_layers_by_hand() -> None:
    """24 words of 5 numbers; a convolution of 3 words to 7 features, halved to 12 positions; one of those, to 6."""
    frame = inspection.layers(subject("cnn", hidden_size=7, num_layers=2)).set_index("layer")
    assert frame["kind"].tolist() == ["WordVectors", "Convolution", "Convolution", "Linear"]
    assert frame["output"].tolist() == ["24 x 5", "12 x 7", "6 x 7", "3"]
    assert frame["num_parameters"].tolist() == [0, 3 * 5 * 7 + 7, 3 * 7 * 7 + 7, 7 * 3 + 3]
    assert frame["multiply_adds"].tolist() == [0, 24 * 3 * 5 * 7, 12 * 3 * 7 * 7, 7 * 3]

    frame = inspection.layers(subject("gru", hidden_size=7)).set_index("layer")
    assert frame.loc["layers.0"].tolist() == ["GRULayer", "24 x 7", 3 * 7 * (5 + 7 + 1), 24 * 3 * 7 * (5 + 7)]

    frame = inspection.layers(subject("attention", hidden_size=7, window=2)).set_index("layer")
    assert frame.loc["attention"].tolist() == ["5 words", "24 x 7", 0, 24 * 5 * (7 + 7)]
    assert frame.loc["key"].tolist() == ["Linear", "24 x 7", 7 * 7, 24 * 7 * 7]

    trained = Subject("mlp", "mlp", {}, num_outputs=2, embedding_size=5, num_words=24, num_trained_words=100)
    assert inspection.layers(trained)["num_parameters"].iloc[0] == 100 * 5


@pytest.mark.parametrize("name", models.OURS)
def test_all_parameters_are_counted(name: str) -> None:
    inspected = dataclasses.replace(subject(name), num_outputs=8)
    frozen = models.WordVectors(torch.zeros(inspected.num_known_words, 5))
    expected = models.num_parameters(models.build(name, frozen, 8))
    assert inspection.layers(inspected)["num_parameters"].sum() == expected


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_multiply_adds_against_torchs_counter(name: str) -> None:
    inspected = subject(name, num_layers=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        inspected.build()(*inspected.text)
    assert 2 * inspection.layers(inspected)["multiply_adds"].sum() == counter.get_total_flops()


@pytest.mark.parametrize("heads", [0, 3])
def test_a_model_that_draws(heads: int) -> None:
    """6 features; with 3 heads of 2, four latents of 6, each made a quadrant of 8 by 8; else an image of 16 by 16."""
    inspected = Subject("t", "text_to_image", {"hidden_size": 6, "heads": heads}, 16, embedding_size=5, num_words=24)
    frame = inspection.layers(inspected).set_index("layer")
    images, pixels = (4, 8 * 8) if heads else (1, 16 * 16)
    small = pixels // 4
    adds = frame["multiply_adds"]
    assert adds["decoder.layers.0"] == images * 6 * 16 * small
    assert adds["decoder.layers.3"] == images * small * 16 * 16 * 4 * 4
    assert adds["decoder.layers.5"] == images * pixels * 16 * 3 * 3
    if heads:
        assert frame.loc["queries"].tolist() == ["TextToImage", "4 x 3 x 2", 4 * 6, 0]
        assert frame.loc["attention"].tolist() == ["24 words", "4 x 6", 0, 4 * 24 * (6 + 6)]
        assert frame.loc["decoder.layers.5", "output"] == "4 x 8 x 8"
    assert ("attention" in frame.index) == (heads > 0)
    decoder = inspected.build().decoder
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        decoder(torch.zeros(images, 6, dtype=torch.float64))
    assert 2 * adds[[name for name in frame.index if name.startswith("decoder")]].sum() == counter.get_total_flops()
    assert inspection.reach(inspected) == 24


@pytest.mark.parametrize(
    ("name", "hyperparameters", "expected"),
    [
        ("mlp", {"activation": "relu"}, 1),
        ("attention", {"window": 1}, 3),
        ("attention", {"window": 4}, 9),
        ("attention", {"window": 40}, 24),
        ("cnn", {"kernel_size": 3}, 4),
        ("cnn", {"kernel_size": 4, "num_layers": 2, "activation": "tanh"}, 13),
        ("rnn", {}, 24),
        ("gru", {"num_layers": 2}, 24),
        ("ngram", {"n": 1}, 1),
        ("ngram", {"n": 3}, 5),
    ],
)
def test_words_that_reach_a_score(name: str, hyperparameters: dict[str, object], expected: int) -> None:
    """1; 2 window + 1, but for the text's ends; 1 + kernel * (2 ** layers - 1); all; 2 n - 1."""
    inspected = subject(name, **hyperparameters)
    assert inspection.reach(inspected) == expected
    model = inspected.build()
    if hasattr(model, "windows"):
        assert receptive_field(model.windows) == expected


def test_inspect_command(tmp_path: Path) -> None:
    done = here("analysis", "inspect", "cnn", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Total: 9,794 parameters and 960,128 multiply-adds for a text of 100 words." in done.stdout
    assert "By formula, its receptive field is 4 words." in done.stdout
    wrong = here("analysis", "inspect", "atention", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "no architecture 'atention' (did you mean 'attention'?)" in wrong.stderr


def test_a_trained_trial_has_the_recorded_number_of_parameters(smoke_search: FinishedSearch) -> None:
    for architecture in smoke_search.spec.architectures:
        name = f"latest:{architecture}"
        found = inspection.find(smoke_search.uri, name)
        trial = lookup.find(smoke_search.uri, name)
        assert inspection.layers(found)["num_parameters"].sum() == trial.num_parameters
        assert (found.num_words, found.embedding_size, found.num_outputs) == (30, 50, 2)
