"""Runs one trial in this process, from its config and the encoded corpus to its results."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

import models
from data.base.plugins import Plugin
from data.encoded import EncodedCorpus, Split
from models import Architecture, WordVectors, num_parameters
from models.baselines.counting import counted
from search.base import schema
from search.train import costs, metrics
from search.train.checkpoints import Folder
from search.train.config import TrainingConfig
from search.train.device import device_of, on_device, prepare, round_products
from search.train.estimating import fit
from search.train.examples import Examples, Splits
from search.train.length import Length
from search.train.stepping import Steps, alone, mapped
from search.train.tasks import Task, task_of
from search.train.training import Result, train
from search.train.weighting import ClassWeights, class_weights


@dataclass(frozen=True)
class Setting:
    """The settings shared by all trials of a search."""

    length: Length
    metric: str
    curve_interval: int
    embeddings: str
    threads: int
    gpu: bool  # whether trials have a share of one
    precision: str  # one of `device.PRECISIONS`
    checkpoints: Folder  # must be reachable by every worker
    architectures: Mapping[str, Plugin]  # from outside, by name
    metrics: Mapping[str, Plugin]  # likewise
    class_weights: ClassWeights
    costs: tuple[str, ...]  # measured for each model (see `search.train.costs`)
    words: Mapping[str, int]  # number of words read by each architecture that does not read all encoded words


def build_model(
    config: dict[str, Any], corpus: EncodedCorpus, embeddings: str, device: torch.device | None = None
) -> Architecture:
    """The untrained model of a trial, by default on the processor; the trial's seed fixes its initial weights."""
    device = device or torch.device("cpu")
    torch.manual_seed(config[schema.SEED])
    if corpus.vectors_VE is None:
        embedding = WordVectors.learned(len(corpus.vocabulary), corpus.embedding_size)
    else:
        embedding = WordVectors(on_device(corpus.vectors_VE, device), trainable=embeddings == "finetuned")
    architecture = models.architecture(config[schema.ARCHITECTURE])
    hyperparameters = models.built_with(config[schema.ARCHITECTURE], config)
    num_outputs = task_of(architecture.task, corpus).num_outputs(corpus)
    return models.build(config[schema.ARCHITECTURE], embedding, num_outputs, **hyperparameters).to(device)


def run_trial(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, state: dict[str, Any] | None = None
) -> Iterator[Result]:
    """Train one trial in this process, from the start or from the state of an earlier result."""
    return alone(trial_in_steps(config, corpus, setting, state))


def trial_in_steps(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, state: dict[str, Any] | None = None
) -> Steps[Result, None]:
    """Like `run_trial`, except that the caller executes the steps (see `stepping`)."""
    take_in(config, setting)
    torch.set_num_threads(setting.threads)
    corpus = corpus.first_share(config.get(schema.TRAIN_SHARE, 1.0))
    if num_words := setting.words.get(config[schema.ARCHITECTURE]):
        corpus = corpus.first_words(num_words)
    yield from LEARN[models.architecture(config[schema.ARCHITECTURE]).learner](config, corpus, setting, state)


def take_in(config: dict[str, Any], setting: Setting) -> None:
    """Execute the external code that a trial needs: its architecture and the metrics, nothing else."""
    models.reset()  # the process may have run trials of another search before
    name = config[schema.ARCHITECTURE]
    if plugin := setting.architectures.get(name):
        models.register(name, plugin.load(), plugin.reference, kept=True)
    for plugin in setting.metrics.values():
        metrics.register(plugin)


def _train_network(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, state: dict[str, Any] | None
) -> Steps[Result, None]:
    counted.cache_clear()  # baselines run first, and their counts may take gigabytes
    device = device_of(setting.gpu)
    prepare(device, setting.precision)
    model = build_model(config, corpus, setting.embeddings, device)
    if setting.precision == "bf16":
        round_products(model)
    known = {schema.NUM_PARAMETERS: float(num_parameters(model))} | costs.of_model(setting.costs, model)
    weights_C = class_weights(setting.class_weights, corpus.classes, corpus.train.labels_N)
    texts = splits(corpus, device, task_of(model.task, corpus))
    known |= state.get("costs", {}) if state else costs.of_answers(setting.costs, partial(_answer, model, texts.val))
    torch.set_num_threads(setting.threads)

    def with_costs(result: Result) -> Result:
        return dataclasses.replace(result, metrics=result.metrics | known, state=result.state | {"costs": known})

    steps = train(
        model,
        texts,
        TrainingConfig.of(config),
        length=setting.length,
        metric=setting.metric,
        curve_interval=setting.curve_interval,
        seed=config[schema.SEED],
        state=state,
        weights_C=None if weights_C is None else torch.from_numpy(weights_C).to(device),
    )
    yield from mapped(steps, with_costs)


def _fit_estimator(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, state: dict[str, Any] | None
) -> Steps[Result, None]:
    if state is None:  # otherwise the only epoch is done
        yield fit(config, corpus, setting.threads, setting.class_weights, setting.metric, setting.costs)


def _answer(model: Architecture, texts: Examples, i: int) -> None:
    """Classify one text on one thread, including the transfer of the result to the CPU."""
    torch.set_num_threads(1)
    model.eval()
    with torch.inference_mode():
        model(*texts.batch(slice(i % len(texts), i % len(texts) + 1))).cpu()


LEARN = {"network": _train_network, "estimator": _fit_estimator}


def predictions_csv(rows: Iterable[list[str]]) -> str:
    """The predictions for the test texts as CSV (see `schema.PREDICTIONS`)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def splits(corpus: EncodedCorpus, device: torch.device, task: Task) -> Splits:
    learned, val, test = (_examples(split, device, task) for split in (corpus.train, corpus.val, corpus.test))
    return Splits(learned, val, test, task)


def _examples(split: Split, device: torch.device, task: Task) -> Examples:
    tokens_W, starts_N, lengths_N, *targets = (
        on_device(array, device) for array in (split.tokens_W, split.starts_N, split.lengths_N, *task.targets(split))
    )
    return Examples(tokens_W, starts_N, lengths_N, tuple(targets))
