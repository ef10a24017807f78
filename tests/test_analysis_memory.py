"""The memory curve by hand and against autograd; of the real search, as a command and on its page.

Shapes: N texts, T words, E embedding, H hidden.
"""

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import FinishedSearch, here
from torch import Tensor

import models
from analysis.base import runs
from analysis.explain import memory_curves
from analysis.report import report
from models.gru import GRU
from models.rnn import RNN


def build(name: str, **hyperparameters: object) -> RNN | GRU:
    torch.manual_seed(0)
    model = models.build(name, models.WordVectors.learned(30, 4), 2, **hyperparameters)
    assert isinstance(model, RNN | GRU)
    return model.requires_grad_(False).eval()


def test_an_rnn_that_halves_by_hand() -> None:
    """h' = 2 x + h / 2 in each of 3 units, of 4 inputs: 2^-k of the state, and sqrt(4) * 2 times that of the word."""
    model = build("rnn", hidden_size=3, activation="none")
    model.layers[0].U_HH.copy_(torch.eye(3) / 2)
    model.layers[0].W_HD.fill_(2)
    by_state_T, by_word_T = memory_curves.curve(model, torch.randint(1, 30, (2, 5)))
    assert by_state_T.tolist() == [1, 0.5, 0.25, 0.125, 0.0625]
    assert by_word_T.tolist() == [4, 2, 1, 0.5, 0.25]


def test_a_gru_with_an_open_gate_keeps_everything() -> None:
    """An update gate that is shut carries the state on as it is, however the candidate may look."""
    model = build("gru", hidden_size=3)
    model.layers[0].b_3H[3:6] = -100
    by_state_T, by_word_T = memory_curves.curve(model, torch.randint(1, 30, (2, 6)))
    assert by_state_T == pytest.approx([1] * 6)
    assert by_word_T == pytest.approx([0] * 6)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("rnn", {"activation": "sigmoid"}),
        ("rnn", {"activation": "relu"}),
        ("gru", {"gate_activation": "relu"}),
        ("gru", {}),
    ],
)
def test_against_autograd(name: str, hyperparameters: dict[str, str], num_layers: int) -> None:
    model = build(name, hidden_size=5, num_layers=num_layers, **hyperparameters).double()
    tokens_NT = torch.randint(1, 30, (3, 7))

    def last_state(words_TE: Tensor) -> Tensor:
        states_T1H = words_TE.unsqueeze(1)
        for layer in model.layers:
            states_T1H = layer(states_T1H)
        return states_T1H[-1, 0]

    words_NTE = model.embedding(tokens_NT)
    expected_HTE = [torch.autograd.functional.jacobian(last_state, words_TE) for words_TE in words_NTE]
    norms_NT = torch.stack([each.square().sum((0, 2)).sqrt() for each in expected_HTE]) / math.sqrt(5)
    by_state_T, by_word_T = memory_curves.curve(model, tokens_NT)
    assert by_word_T == pytest.approx(norms_NT.mean(0).flip(0).numpy(), rel=1e-10)
    assert by_state_T[0] == 1
    assert 0 < by_state_T[-1] != 1


def test_memory_of_the_search(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    png = tmp_path / "curves.png"
    options = ["--untrained", "--png", str(png), "--out", str(tmp_path / "memory.csv")]
    done = here("analysis", "memory", smoke_search.id, f"{smoke_search.id}:gru", *options, cwd=smoke_search.cwd)
    assert (done.returncode, done.stderr) == (0, "")
    frame = pd.read_csv(tmp_path / "memory.csv")
    assert set(frame["architecture"]) == {"rnn", "gru"}
    assert set(frame["weights"]) == {"trained", "untrained"}
    assert (frame[frame["distance"] == 0]["state"] == 1).all()
    assert frame["distance"].max() == 29  # 30 words are read of a text, and most have more
    assert frame.groupby(["trial", "weights"])["state"].nunique().min() > 1
    for ending in ("png", "svg", "csv"):
        assert png.with_suffix(f".{ending}").stat().st_size > 1000
    refused = here("analysis", "memory", f"{smoke_search.id}:mlp", cwd=smoke_search.cwd)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: memory: only for rnn and gru; mlp-")


def test_a_failure_leaves_the_threads_as_they_were(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    trained = memory_curves.find(smoke_search.uri, f"{smoke_search.id}:gru")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="not on this machine"):
            memory_curves.read([(dataclasses.replace(trial, folder=tmp_path), model) for trial, model in trained])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_page_without_checkpoints(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    search = runs.find_search(smoke_search.uri)
    checkpoints = smoke_search.folder / "checkpoints"
    away = checkpoints.rename(tmp_path / "away")
    try:
        page = report.make(smoke_search.uri, search, tmp_path / "page").read_text(encoding="utf-8")
        with pytest.raises(
            ValueError, match=f"no checkpoint of a recurrent model \\(rnn, gru\\) of {search.id} is on this machine"
        ):
            memory_curves.find(smoke_search.uri, search.id)
    finally:
        away.rename(checkpoints)
    assert (
        "Memory of the recurrent models: left out, because there is no checkpoint of a recurrent model on this machine."
        in page
    )
    assert memory_curves.of_search(smoke_search.uri, search)
