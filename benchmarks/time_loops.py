"""The time of a training iteration, compared with code that one would write without this project (`make bench`).

    python -m benchmarks.time_loops [--out FILE.json] [--rounds 5] [--only rnn]

An iteration is forward, backward and Adam on 32 texts of 100 words with vectors of size 50 and two classes, in one
thread. Times are CPU milliseconds of this process, on which other processes have little effect. The candidates of a row
take turns; results are medians over rounds. The table is also written to docs/performance.md.

Candidates: ours, with and without the compiled kernels (`models.native`); a plain loop over cells with autograd (for
attention: all neighbours gathered by rolling a padded copy); torch's recurrent layer, if it supports the activation;
and only the iteration's matrix products in torch, as an estimate of the remaining potential. `attention` is also
compared with `mlp` of the same layers.

Shapes: B batch, T words, E embedding, D input of a layer, H hidden.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

import models
from benchmarks.measure import processor, write_section
from models.native import kernels
from models.native.padding import real_words
from models.parts.layers import ACTIVATIONS, Activation

B, T, E = 32, 100, 50
HIDDEN_SIZES, NUM_LAYERS, WINDOW = (64, 96, 128), (1, 2), 5
# As in the workers of a search.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "500000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}
PLAIN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {**ACTIVATIONS, "tanh": torch.tanh}
Step = Callable[[], object]


def rows() -> Iterator[dict[str, Any]]:
    """The rows of the table: an architecture and its hyperparameters."""
    for hidden_size in HIDDEN_SIZES:
        for num_layers in NUM_LAYERS:
            shape = {"hidden_size": hidden_size, "num_layers": num_layers}
            for architecture in ("rnn", "gru"):
                for activation in ACTIVATIONS:
                    yield {"architecture": architecture, "activation": activation, **shape}
        for architecture in ("mlp", "attention"):
            yield {"architecture": architecture, "activation": "relu", "hidden_size": hidden_size, "num_layers": 2}


def measure(row: dict[str, Any], num_rounds: int) -> dict[str, float]:
    """Milliseconds of an iteration, by candidate."""
    architecture = row["architecture"]
    hyperparameters = {key: value for key, value in row.items() if key != "architecture"}
    without = partial(patch.object, kernels, "usable", lambda tensor: False)
    everywhere: Callable[[], AbstractContextManager[object]] = nullcontext
    candidates = {
        "ours": (iteration(build(architecture, hyperparameters)), everywhere),
        "without kernels": (iteration(build(architecture, hyperparameters)), without),
        "plain": (iteration(PLAIN[architecture](build(architecture, hyperparameters))), without),
    }
    if row["activation"] in TORCH_LAYERS.get(architecture, {}):
        model = build(architecture, hyperparameters)
        model.layers = nn.ModuleList(
            TorchLayer(TORCH_LAYERS[architecture][row["activation"]](layer.W.shape[1], row["hidden_size"]))
            for layer in map(Weights, model.layers)
        )
        candidates["torch"] = (iteration(model), without)
    if architecture == "attention":
        candidates["mlp"] = (iteration(build("mlp", hyperparameters)), everywhere)
    if architecture in TORCH_LAYERS:
        candidates["products"] = (products(architecture, row["hidden_size"], row["num_layers"]), without)
    for step, context in candidates.values():
        with context():
            step()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(num_rounds):
        for name, (step, context) in candidates.items():
            with context():
                times[name].append(milliseconds(step))
    return {name: statistics.median(own) for name, own in times.items()}


def milliseconds(step: Step, at_least: float = 20.0) -> float:
    """Mean CPU time of a step, in milliseconds, over enough steps to fill `at_least` milliseconds."""
    started, number = time.process_time(), 0
    while (taken := 1000 * (time.process_time() - started)) < at_least:
        step()
        number += 1
    return taken / number


def build(architecture: str, hyperparameters: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    vectors_VE = torch.randn(1000, E)
    vectors_VE[0] = 0
    return models.build(architecture, models.WordVectors(vectors_VE), 2, **hyperparameters).train()


def iteration(model: nn.Module) -> Step:
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), fused=True)
    tokens_BT, labels_B = torch.randint(1, 1000, (B, T)), torch.randint(0, 2, (B,))
    lengths_B = torch.full((B,), T)

    def step() -> None:
        loss = cross_entropy(model(tokens_BT, lengths_B), labels_B)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


class Weights:
    """The weights of any of our recurrent layers."""

    def __init__(self, layer: Any) -> None:
        own = dict(layer.named_parameters())
        self.W, self.U, self.b = (next(own[name] for name in own if name.startswith(letter)) for letter in "WUb")


class TorchLayer(nn.Module):
    def __init__(self, layer: nn.RNN | nn.GRU) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs_TBD: Tensor, padding_TB: Tensor | None) -> Tensor:
        return self.layer(inputs_TBD)[0]


TORCH_LAYERS: dict[str, dict[str, Callable[[int, int], nn.RNN | nn.GRU]]] = {
    "rnn": {name: partial(nn.RNN, nonlinearity=name) for name in ("relu", "tanh")},
    "gru": {"tanh": nn.GRU},  # resets after the product instead of before
}


def plain_rnn(model: Any) -> Any:
    def forward(layer: Any, inputs_TBD: Tensor, padding_TB: Tensor | None) -> Tensor:
        own, s = Weights(layer), PLAIN_ACTIVATIONS[layer.activation]
        state_BH = inputs_TBD.new_zeros(inputs_TBD.shape[1], own.U.shape[1])
        states = []
        for x_BD in inputs_TBD:
            state_BH = s(torch.addmm(own.b, x_BD, own.W.t()) + state_BH @ own.U.t())
            states.append(state_BH)
        return torch.stack(states)

    for layer in model.layers:
        layer.forward = partial(forward, layer)
    return model


def plain_gru(model: Any) -> Any:
    def forward(layer: Any, inputs_TBD: Tensor, padding_TB: Tensor | None) -> Tensor:
        own, s = Weights(layer), PLAIN_ACTIVATIONS[layer.activation]
        num_hidden = own.U.shape[1]
        state_BH = inputs_TBD.new_zeros(inputs_TBD.shape[1], num_hidden)
        states = []
        for x_BD in inputs_TBD:
            inputs_B3H = torch.addmm(own.b, x_BD, own.W.t())
            gates_B2H = torch.sigmoid(inputs_B3H[:, num_hidden:] + state_BH @ own.U[num_hidden:].t())
            z, r = gates_B2H.chunk(2, 1)
            candidate = s(inputs_B3H[:, :num_hidden] + (r * state_BH) @ own.U[:num_hidden].t())
            state_BH = (1 - z) * state_BH + z * candidate
            states.append(state_BH)
        return torch.stack(states)

    for layer in model.layers:
        layer.forward = partial(forward, layer)
    return model


def plain_layers(model: Any) -> Any:
    """Replace the layers by torch's."""
    for module in model.modules():
        if isinstance(module, Activation):
            module.forward = PLAIN_ACTIVATIONS[module.name]  # type: ignore[method-assign]
    return model


def plain_attention(model: Any) -> Any:
    """Attention with query, key and value of every word, and all neighbours of every word gathered."""

    def neighbours(x_BTH: Tensor) -> Tensor:
        padded = pad(x_BTH, (0, 0, WINDOW, WINDOW))
        rolled = [padded.roll(WINDOW - j, 1)[:, WINDOW : WINDOW + T] for j in range(2 * WINDOW + 1)]
        return torch.stack(rolled, 2)

    def classify(words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        hidden_BTH = model.first(words_BTE)
        query, key, value = model.query(hidden_BTH), model.key(hidden_BTH), model.value(hidden_BTH)
        real_BT = real_words(lengths_B, T)
        scores_BTJ = (query.unsqueeze(2) * neighbours(key)).sum(3) / math.sqrt(query.shape[2])
        real_BTJ = neighbours(real_BT.unsqueeze(2)).squeeze(3)
        weights_BTJ = scores_BTJ.masked_fill(~real_BTJ, torch.finfo(scores_BTJ.dtype).min).softmax(2)
        scores_BTC = model.tapered((weights_BTJ.unsqueeze(3) * neighbours(value)).sum(2))
        return (scores_BTC * real_BT.unsqueeze(2)).sum(1) / lengths_B.unsqueeze(1)

    model.classify = classify
    return plain_layers(model)


PLAIN: dict[str, Callable[[Any], Any]] = {
    "rnn": plain_rnn,
    "gru": plain_gru,
    "mlp": plain_layers,
    "attention": plain_attention,
}


def products(architecture: str, num_hidden: int, num_layers: int) -> Step:
    """Only the matrix products of an iteration of the time loops, into preallocated memory."""
    num_parts = 3 if architecture == "gru" else 1
    width = num_parts * num_hidden
    calls: list[Callable[[], object]] = []

    def product(a: Tensor, b: Tensor) -> None:
        calls.append(partial(torch.mm, a, b, out=torch.empty(a.shape[0], b.shape[1])))

    for number in range(num_layers):
        size_in = num_hidden if number else E
        inputs, weight = torch.randn(T * B, size_in), torch.randn(width, size_in) / 10
        U, delta = torch.randn(width, num_hidden) / 10, torch.randn(T * B, width)
        parts = (slice(0, num_hidden), slice(num_hidden, width)) if num_parts == 3 else (slice(0, width),)
        state = torch.randn(B, num_hidden)
        product(inputs, weight.t())
        product(delta.t(), inputs)
        if number:
            product(delta, weight)
        for part in parts:
            product(delta[:, part].t(), torch.randn(T * B, num_hidden))
            for _ in range(T - 1):
                product(state, U[part].t())
                product(delta[:B, part], U[part])

    def step() -> None:
        for call in calls:
            call()

    return step


def markdown(measured: list[dict[str, Any]], kernels_name: str) -> str:
    """One row per architecture, activation, hidden size and depth: our time, and the ratios of the others to it."""
    others = ("without kernels", "plain", "torch", "products")
    lines = [
        f"`python -m benchmarks.time_loops` on {processor()}, torch {torch.__version__}, {kernels_name}.",
        "Milliseconds of CPU time for an iteration with the kernels, and the ratios of the others' times to it.",
        "`torch` is `nn.RNN` or `nn.GRU`; `products` is the bare matrix products of the time loops by torch: below 1,",
        "the whole iteration with the kernels takes longer, above 1 it takes less.",
        *summary(measured),
        "",
        "| architecture | activation | H | layers | ms | without kernels | plain loop | torch | products |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in measured:
        took = row["milliseconds"]
        ratios = [f"{took[other] / took['ours']:.2f}" if other in took else "" for other in others]
        what = [row["architecture"], row["activation"], str(row["hidden_size"]), str(row["num_layers"])]
        lines.append(f"| {' | '.join([*what, format(took['ours'], '.2f'), *ratios])} |")
    return "\n".join(lines)


def summary(measured: list[dict[str, Any]]) -> Iterator[str]:
    """The range of ratios for each recurrent architecture, and the ratio of `attention` to `mlp`."""
    for architecture in TORCH_LAYERS:
        took = [row["milliseconds"] for row in measured if row["architecture"] == architecture]
        for other, what in (
            ("plain", "the time of the plain loop"),
            ("torch", "the time of torch's layer"),
            ("products", "the time of the bare products"),
        ):
            ratios = [own[other] / own["ours"] for own in took if other in own]
            if ratios:
                yield f"`{architecture}`: {what} is {min(ratios):.2f} to {max(ratios):.2f} times ours."
    for row in measured:
        if "mlp" in row["milliseconds"]:
            ratio = row["milliseconds"]["ours"] / row["milliseconds"]["mlp"]
            yield f"`attention` takes {ratio:.2f} times as long as `mlp` of equal layers at H = {row['hidden_size']}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_loops", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures to this json file")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each candidate (default 5)")
    parser.add_argument(
        "--only", choices=models.ARCHITECTURES, help="measure one architecture, without writing the page"
    )
    options = parser.parse_args()
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:  # read by the C library before this line
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.time_loops", *sys.argv[1:]], os.environ | ALLOCATOR
        )
    torch.set_num_threads(1)
    measured = []
    for row in rows():
        if options.only in (None, row["architecture"]):
            measured.append(row | {"milliseconds": measure(row, options.rounds)})
            print(json.dumps(measured[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"kernels": kernels.name(), "rows": measured}, indent=1), encoding="utf-8")
    if options.only is None:
        write_section("time loops", markdown(measured, kernels.name()))


if __name__ == "__main__":
    main()
