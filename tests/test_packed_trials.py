"""Trials that share a process: each gives the numbers that it gives alone, whoever comes, goes or fails beside it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.encoded import EncodedCorpus
from search.base import schema
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.spec import Spec
from search.train.pack import Failure, Pack
from search.train.running import Setting
from search.train.stepping import Steps, alone
from search.train.training import Result
from search.tune.worker import run_on

ARCHITECTURES = ["gru", "mlp", "attention"]


def write_texts(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    words = {"good": ["great", "fine"], "bad": ["awful", "poor"]}
    rows = [
        f"{' '.join(rng.choice(['the', 'film', 'was', 'a', 'story'], 6))} {rng.choice(words[label])} {i},{label}"
        for i in range(100)
        for label in words
    ]
    path = folder / "texts.csv"
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return path


def spec_of(texts: Path, **keys: Any) -> Spec:
    small = {"name": "small", "corpus": f"csv:{texts}", "embeddings": "learned", "embedding_size": 6, "epochs": 3}
    return specs.validate({**small, "architectures": ARCHITECTURES, "baselines": "none", "pruner": "none"} | keys)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, EncodedCorpus]:
    folder = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(folder / "cache"))
        spec = spec_of(write_texts(folder))
        return spec, specs.load_corpus(spec, to_train=True)


def config_of(spec: Spec, architecture: str, number: int) -> dict[str, Any]:
    own = {"dropout": 0.3, "word_dropout": 0.1, "learning_rate": 0.002 * (number + 1), "batch_size": 16}
    identity = {schema.ARCHITECTURE: architecture, schema.NUMBER: number, schema.SEED: number}
    return identity | spec.default_point(architecture) | own


def setting_in(folder: Path, spec: Spec) -> Setting:
    folder.mkdir(exist_ok=True)
    setting = make_setting(spec, folder)
    setting.checkpoints.mkdir(exist_ok=True)
    return setting


def numbers(result: Result) -> tuple[Any, ...]:
    """All that a report says but times."""
    plain = {name: value for name, value in result.metrics.items() if name != schema.EPOCH_SECONDS}
    return result.step, plain, result.curve, result.best, result.diverged


def packed(pack: Pack[tuple[Result, str | None]]) -> Iterator[tuple[str, Result]]:
    """The reports of a pack; raises what a member raised."""
    while pack:
        for name, report in pack.next_reports():
            if isinstance(report, Failure):
                raise report.error
            yield name, report[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_trials_give_the_numbers_that_they_give_alone(
    architecture: str, searched: tuple[Spec, EncodedCorpus], tmp_path: Path
) -> None:
    spec, corpus = searched
    configs = [config_of(spec, architecture, number) for number in range(3)]
    setting = setting_in(tmp_path / "alone", spec)
    by_itself = [[numbers(result) for result, _ in alone(run_on(config, corpus, setting))] for config in configs]

    setting = setting_in(tmp_path / "packed", spec)
    pack: Pack[tuple[Result, str | None]] = Pack()
    for number in (0, 1):
        pack.join(str(number), run_on(configs[number], corpus, setting))
    found: dict[str, list[Any]] = {"0": [], "1": [], "2": []}
    for name, result in packed(pack):
        found[name].append(numbers(result))
        if len(found["1"]) == 2 and name == "1":  # one leaves between two reports, and another takes its place
            pack.leave("1")
            pack.join("2", run_on(configs[2], corpus, setting))
    assert found == {"0": by_itself[0], "1": by_itself[1][:2], "2": by_itself[2]}

    # The one that left goes on from its checkpoint.
    goes_on = [numbers(each) for each, _ in alone(run_on(configs[1], corpus, setting, attempt=2))]
    assert goes_on == by_itself[1][1:]


def drawing(seed: int) -> Steps[tuple[float, float, float], None]:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    for _ in range(3):
        yield random.random(), np.random.random(), torch.rand(()).item()


def test_packed_members_draw_from_generators_of_their_own() -> None:
    pack: Pack[tuple[float, float, float]] = Pack()
    for seed in range(3):
        pack.join(str(seed), drawing(seed))
    found: dict[str, list[Any]] = {str(seed): [] for seed in range(3)}
    while pack:
        for name, report in pack.next_reports():
            found[name].append(report)
    assert found == {str(seed): list(alone(drawing(seed))) for seed in range(3)}


def failing(error: BaseException) -> Steps[int, None]:
    yield 1
    raise error


def counting() -> Steps[int, None]:
    yield from range(3)


def test_a_packed_member_fails_alone() -> None:
    pack: Pack[int] = Pack()
    pack.join("fails", failing(ValueError("no")))
    pack.join("counts", counting())
    told = [each for _ in range(8) for each in pack.next_reports()]
    assert [report for name, report in told if name == "counts"] == [0, 1, 2]
    first, failure = (report for name, report in told if name == "fails")
    assert first == 1
    assert isinstance(failure, Failure)
    assert repr(failure.error) == "ValueError('no')"
    assert not pack
    assert pack.next_reports() == []


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), torch.AcceleratorError("illegal access")])
def test_what_is_meant_for_the_process_is_no_failure_of_a_packed_member(error: BaseException) -> None:
    pack: Pack[int] = Pack()
    pack.join("ends", failing(error))
    pack.join("counts", counting())
    pack.next_reports()
    pack.next_reports()
    with pytest.raises(type(error)):
        pack.next_reports()


def test_a_packed_member_that_leaves_is_closed() -> None:
    closed = []

    def open_() -> Steps[int, None]:
        try:
            yield from range(9)
        finally:
            closed.append(True)

    pack: Pack[int] = Pack()
    pack.join("one", open_())
    pack.next_reports()
    pack.leave("one")
    pack.leave("one")  # once more does no harm
    assert closed == [True]
    assert len(pack) == 0
