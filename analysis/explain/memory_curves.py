"""Memory curves: how much the last state of a recurrent model depends on the state, and on the word, k words before.

The Jacobian of the last state is the product of the Jacobians of the steps (`models.jacobians`), beginning with the
last. Its norm is the Frobenius norm divided by the square root of the number of units: the root mean square over units
of the norm of a unit's gradient. It is 1 at distance 0 for any hidden size. A curve that falls by a constant factor per
word means forgetting and vanishing gradients; a rising curve, exploding gradients. (The spectral norm would bound only
the worst direction.)

Shapes: N texts, T words, L layers, H hidden, S = L * H of all layers together, E embedding.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import pad

import models
from analysis.base import pictures, runs
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.explain import lookup
from analysis.figures.memory import PLOT
from analysis.figures.plot import PlotData
from data.base.errors import UserError
from models import Architecture
from search.serve.classifier import TextModel
from search.serve.loading import load
from search.spec import kept
from search.study import ranking
from search.study.trial import Trial

NUM_TEXTS = 16
TRAINED, UNTRAINED = "trained", "untrained"
COLUMNS = ["architecture", "activation", "gate_activation", "trial", "search", "run_id", "weights"]


@torch.no_grad()
def curve(model: Architecture, tokens_NT: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The norms of the Jacobians of the last state of the top layer, averaged over N texts of T words: with respect to
    the states of all layers (T), and to the word (T), 0 to T - 1 words before the last."""
    words_TNE = model.embedding(tokens_NT).transpose(0, 1)
    layers: Any = model.layers
    states_TNH, before_LTNH = words_TNE, []
    for layer in layers:
        states_TNH = layer(states_TNH)
        before_LTNH.append(torch.cat((torch.zeros_like(states_TNH[:1]), states_TNH[:-1])))

    num_texts, num_hidden = states_TNH.shape[1:]
    jacobian_NHS = torch.eye(len(layers) * num_hidden).to(words_TNE)[-num_hidden:].expand(num_texts, -1, -1)
    by_state, by_word = [], []
    for t in reversed(range(len(words_TNE))):
        by_state_NSS, by_word_NSE = _step(layers, words_TNE[t], [before_TNH[t] for before_TNH in before_LTNH])
        by_state.append(_norm(jacobian_NHS))
        by_word.append(_norm(jacobian_NHS @ by_word_NSE))
        jacobian_NHS = jacobian_NHS @ by_state_NSS
    return torch.stack(by_state).numpy(), torch.stack(by_word).numpy()


def _step(layers: Any, words_NE: Tensor, states_LNH: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The Jacobians of the states of all layers after a word, with respect to the states before it (N, S, S) and to the
    word (N, S, E).

    A layer reads its previous state and the new state of the layer below.
    """
    inputs, by_states, by_words = words_NE, list[Tensor](), list[Tensor]()
    for number, (layer, states_NH) in enumerate(zip(layers, states_LNH, strict=True)):
        inputs, by_own_NHH, by_input_NHD = layer.step(inputs, states_NH)
        num_hidden = by_own_NHH.shape[2]
        by_state_NHS = pad(by_own_NHH, (number * num_hidden, (len(layers) - number - 1) * num_hidden))
        by_states.append(by_state_NHS + by_input_NHD @ by_states[-1] if number > 0 else by_state_NHS)
        by_words.append(by_input_NHD @ by_words[-1] if number > 0 else by_input_NHD)
    return torch.cat(by_states, 1), torch.cat(by_words, 1)


def _norm(jacobian_NHX: Tensor) -> Tensor:
    return (jacobian_NHX.square().sum((1, 2)) / jacobian_NHX.shape[1]).sqrt().mean()


# --- Of trials

Trained = tuple[Trial, TextModel]


def find(uri: str, name: str) -> list[Trained]:
    """The recurrent models that a user names: by run id, SEARCH:TRIAL, SEARCH:ARCHITECTURE (its best), or a search (see
    `of_search`). Raises UserError when there is none."""
    if ":" in name or re.fullmatch(rf"[0-9a-f]{{{lookup.MIN_RUN_ID},32}}", name):
        trial = lookup.find(uri, name)
        if trial.architecture not in (known := _recurrent()):
            raise UserError(f"memory: only for {' and '.join(known)}; {trial.name} of {trial.search} has no states")
        return [(trial, load(trial))]
    search = runs.find_search(uri, name)
    found = of_search(uri, search)
    if not found:
        raise UserError(f"no checkpoint of a recurrent model (rnn, gru) of {search.id} is on this machine")
    return found


def of_search(uri: str, search: Search) -> list[Trained]:
    """The best trial with a checkpoint on this machine, by recurrent architecture, activation and gate activation."""
    groups: dict[tuple[str, ...], list[Trial]] = {}
    for trial in lookup.read(uri, search):
        if trial.architecture in _recurrent():
            values = (str(trial.hyperparameters.get(name)) for name in ("activation", "gate_activation"))
            groups.setdefault((trial.architecture, *values), []).append(trial)
    found = (_best_at_hand(groups[key], search) for key in sorted(groups))
    return [trained for trained in found if trained is not None]


def _recurrent() -> list[str]:
    return [name for name, architecture in models.ARCHITECTURES.items() if architecture.recurrent]


def _best_at_hand(trials: list[Trial], search: Search) -> Trained | None:
    for trial in ranking.candidates(trials, lookup.metric(search), search.id):
        try:
            return trial, load(trial)
        except (ValueError, KeyError, RuntimeError, OSError):  # no checkpoint, or one that this version cannot read
            continue
    return None


def read(found: Sequence[Trained], *, untrained: bool = False) -> pd.DataFrame:
    """The curves of trained models: COLUMNS, `distance` in words, the norms `state` and `word`, and `texts`, the number
    of texts averaged.

    The texts are the first NUM_TEXTS test texts of at least the median length; the model reads their last words, as
    many as the median length, from a zero state. untrained: also every model with its initial weights.
    """
    parts = []
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the many small products would only make threads wait for each other
    tokens_of: dict[tuple[Path, int], Tensor] = {}
    try:
        for trial, classifier in {(trial.search, trial.name): (trial, model) for trial, model in found}.values():
            if (texts := (trial.folder, classifier.max_words)) not in tokens_of:
                tokens_of[texts] = _texts(*texts)
            tokens_NT = tokens_of[texts]
            for weights in (TRAINED, UNTRAINED) if untrained else (TRAINED,):
                model = classifier.model if weights == TRAINED else _drawn_anew(classifier)
                by_state_T, by_word_T = curve(model, tokens_NT)
                activations = (trial.hyperparameters.get(name) for name in ("activation", "gate_activation"))
                values = (trial.architecture, *activations, trial.name, trial.search, trial.run_id, weights)
                row = dict(zip(COLUMNS, values, strict=True)) | {"distance": range(len(by_state_T))}
                parts.append(pd.DataFrame(row | {"state": by_state_T, "word": by_word_T, "texts": len(tokens_NT)}))
    finally:
        torch.set_num_threads(num_threads)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _texts(folder: Path, max_words: int) -> Tensor:
    """Test texts (N, T) of the search in this folder; T is the median length of test texts, cut to `max_words`."""
    test = kept.corpus(folder).first_words(max_words).test
    num_words = int(np.median(test.lengths_N))
    chosen_N = np.flatnonzero(test.lengths_N >= num_words)[:NUM_TEXTS]
    last = [test.tokens_NT[n, test.lengths_N[n] - num_words : test.lengths_N[n]] for n in chosen_N]
    return torch.from_numpy(np.stack(last))


def _drawn_anew(classifier: TextModel) -> Architecture:
    embedding, num_outputs = classifier.model.embedding, classifier.num_outputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.build(classifier.architecture, embedding, num_outputs, **classifier.hyperparameters).eval()


# --- As a table and a figure

SHOWN = (1, 3, 10, 30, 100, 300)  # distances in words


def table(frame: pd.DataFrame, *, long: bool = False) -> Table:
    """One row per model: the norms at some distances. long: the whole frame, for programs."""
    if long:
        return Table(frame, groups=[], key="trial")
    columns = [name for name in COLUMNS if name not in ("search", "run_id")]
    shown = [distance for distance in SHOWN if distance <= frame["distance"].max()]
    rows = []
    for _, row in frame.groupby(["search", "trial", "weights"], sort=False):
        norms = row.set_index("distance")["state"]
        rows.append({**row.iloc[0][columns], **{_words(distance): norms.get(distance) for distance in shown}})
    notes = [
        "The norm of the Jacobian of the last state with respect to the state this many words before, the mean over "
        f"{frame['texts'].max()} test texts; 1 at distance 0."
    ]
    groups = [columns, [_words(distance) for distance in shown]]
    return Table(
        pd.DataFrame(rows), groups=groups, key=["trial", "weights"], title="Memory of recurrent models", notes=notes
    )


def _words(distance: int) -> str:
    return f"{distance} word{'s' * (distance > 1)} before"


def draw(frame: pd.DataFrame, png: Path) -> list[Path]:
    """Write the curves as PNG, with SVG and csv beside it. Raises UserError when they cannot be written."""
    return pictures.save(PLOT.render(PlotData(frame, memory=frame)), png)
