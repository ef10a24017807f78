"""Predicts the cost of a search from a few training steps per architecture, and compares it with the actual cost.

The steps run in Ray workers on the machines of the search, with the concurrency of its trials.
"""

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import ray

from data.base.files import default_cache, write_whole
from data.encoded import ALL_WORDS, EncodedCorpus, Split
from search.base import schema
from search.cluster import capacity as cluster
from search.run.progress import duration
from search.run.setting import make_setting
from search.run.simulation import NUM_SIMULATED, Ran, makespan, simulate
from search.spec import read as specs
from search.spec import space
from search.spec.spec import Spec
from search.study.studies import Studies
from search.train import checkpoint_archive, checkpoints
from search.train.config import TrainingConfig, learner, length_of
from search.train.device import device_of
from search.train.length import Length
from search.train.running import Setting, build_model, run_trial, splits, take_in
from search.train.tasks import task_of

NUM_STEPS = 20  # fewest training steps per epoch of a calibration, which has three epochs; the first warms up
#: Positions in every range (its minimum, middle and maximum) with their weights by Simpson's rule.
WEIGHTS = {0.0: 1 / 6, 0.5: 4 / 6, 1.0: 1 / 6}


#: A function from a config to the hyperparameters that are solved from it.
Solve = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Cost:
    """The average cost of a trial of an architecture over its space."""

    report_seconds: float  # training since the last report, and evaluation
    last_report_seconds: float  # the same for the last report, which is also evaluated on test
    checkpoint_bytes: float  # of a trial that may continue
    last_checkpoint_bytes: float
    num_points: float  # metric rows in MLflow per report
    first_seconds: float = 0.0  # to initialize a model from the texts before training (see `Architecture.start_from`)


@dataclass(frozen=True)
class Prediction:
    """The predicted cost of a search. Trial seconds are summed over all trials; wall seconds are elapsed time.

    pruned_*: with the spec's pruner. See `simulation.simulate` for the assumptions about scores.
    """

    trial_seconds: float
    wall_seconds: float
    pruned_trial_seconds: float
    pruned_wall_seconds: float
    num_trials: int
    concurrency: int
    start_seconds: float
    disk_bytes: float
    num_rows: int
    price: float | None  # of the pruned wall seconds on the spec's nodes


def calibrate(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, curve_interval: int
) -> tuple[Cost, float]:
    """Train three short epochs in a worker. Returns the cost of a trial, and the time (time.time()) at which the worker
    was ready.

    Models that are fitted in one go are fitted on all texts, since a subset may lack a class and the time is not
    proportional to the number of texts.
    """
    ready = time.time()
    take_in(config, setting)
    config = dict(config)
    corpus = corpus.first_share(config.pop(schema.TRAIN_SHARE, 1.0))
    corpus = corpus.first_words(setting.words.get(config[schema.ARCHITECTURE], ALL_WORDS))
    batch_size = TrainingConfig.of(config).batch_size
    length = length_of(config[schema.ARCHITECTURE], setting.length)
    num_steps = max(NUM_STEPS, length.reports_per_epoch)
    in_one_go = learner(config[schema.ARCHITECTURE]).in_one_go
    share = 1.0 if in_one_go else min(1.0, num_steps * batch_size / len(corpus.train))
    small = dataclasses.replace(
        corpus, train=_first(corpus.train, share), val=_first(corpus.val, share), test=_first(corpus.test, share)
    )
    share = len(small.train) / len(corpus.train)
    results = list(run_trial(config, small, setting))
    last = results[-1]
    second_epoch = results[length.reports_per_epoch :][: length.reports_per_epoch] or results
    while_on, at_end = (_size(last.to_checkpoint(last=each)) for each in (False, True))
    num_iterations = -(-len(corpus.train) // batch_size)
    num_curve = 2 * (num_iterations // curve_interval) / length.reports_per_epoch
    num_points = num_curve + len(last.metrics) + len(last.best) + 3
    plain_seconds = fmean(result.metrics[schema.EPOCH_SECONDS] for result in second_epoch) / share
    last_seconds = last.metrics[schema.EPOCH_SECONDS] / share
    first_seconds = 0.0 if in_one_go else _first_seconds(config, corpus, setting, len(small.train))
    return Cost(plain_seconds, last_seconds, while_on, at_end, num_points, first_seconds), ready


def _size(checkpoint: dict[str, Any]) -> int:
    """Bytes of a checkpoint."""
    file = io.BytesIO()
    checkpoint_archive.write(checkpoint, file)
    return file.tell()


def _first_seconds(config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, num_texts: int) -> float:
    """Seconds to initialize an untrained model from the whole training split (see `Architecture.start_from`),
    extrapolated linearly from two measurements, the second on four times as many texts."""
    device = device_of(setting.gpu)
    model = build_model(config, corpus, setting.embeddings).to(device)
    task = task_of(model.task, corpus)
    taken: dict[int, float] = {}
    for num in (num_texts, num_texts, min(4 * num_texts, len(corpus.train))):  # the first time warms up
        texts = splits(dataclasses.replace(corpus, train=corpus.train.first_texts(num)), device, task).train
        started = time.perf_counter()
        model.start_from(texts)
        taken[num] = time.perf_counter() - started
    few, more = min(taken), max(taken)
    each = (taken[more] - taken[few]) / (more - few) if more > few else 0.0
    return taken[more] + max(0.0, each) * (len(corpus.train) - more)


def _first(split: Split, share: float) -> Split:
    return split.first_texts(max(2, round(share * len(split))))


def points(spec: Spec, solve: Solve) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """The configs to calibrate, as (architecture, the share of its trials that the config represents, config)."""
    for architecture, chosen in _chosen(spec).items():
        for number, (weight, hyperparameters) in enumerate(chosen):
            config = {schema.ARCHITECTURE: architecture, schema.NUMBER: number, schema.SEED: number, **hyperparameters}
            yield architecture, weight, config | solve(config)


def _chosen(spec: Spec) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Weighted hyperparameters by architecture: all of its configurations, or three points of its space."""
    return {
        name: [(1 / len(spec.points[name]), point) for point in spec.points[name].values()]
        if name in spec.points
        else [(weight, _point(spec.of(name), name, position)) for position, weight in WEIGHTS.items()]
        for name in spec.studied
    }


def _point(spec: Spec, architecture: str, position: float) -> dict[str, Any]:
    """The point at a position of every range, with the default learning rate: another one may diverge, and the learning
    rate does not change the time."""
    picked = {name: values.at(position) for name, values in spec.spaces[architecture].items()}
    default = spec.default_point(architecture)
    return space.split_design(picked | {name: default[name] for name in ("learning_rate",) if name in default})[0]


def costs(spec: Spec, corpus: EncodedCorpus, solve: Solve) -> tuple[dict[str, Cost], float]:
    """The cost of a trial by architecture, and the seconds until the first worker was ready."""
    setting = dataclasses.replace(make_setting(spec, Path()), length=Length(3, spec.reports_per_epoch))
    shared, asked_at = ray.put(corpus), time.time()
    # The first task of a worker includes its imports, so workers are reused, as in the search.
    remote = ray.remote(num_cpus=spec.resources.cpu, num_gpus=spec.resources.gpu, max_retries=0)(calibrate)
    chosen = list(points(spec, solve))
    measured = ray.get([remote.remote(config, shared, setting, spec.curve_interval) for _, _, config in chosen])
    totals = {architecture: [0.0] * len(dataclasses.fields(Cost)) for architecture in spec.studied}
    for (architecture, weight, _), (cost, _) in zip(chosen, measured, strict=True):
        parts = dataclasses.astuple(cost)
        totals[architecture] = [sum_ + weight * part for sum_, part in zip(totals[architecture], parts, strict=True)]
    start = min(ready for _, ready in measured) - asked_at
    return {architecture: Cost(*total) for architecture, total in totals.items()}, max(0.0, start)


def predict(
    spec: Spec, num_wanted: Mapping[str, int], cost: Mapping[str, Cost], concurrency: int, start_seconds: float
) -> Prediction:
    """The prediction for `num_wanted` trials of each architecture."""
    unpruned = _seconds_of_trials(cost, _simulated(spec.model_copy(update={"pruner": "none"}), num_wanted))
    simulated = _simulated(spec, num_wanted)
    pruned = _seconds_of_trials(cost, simulated)
    num_trials = sum(num_wanted.values())
    num_reports = {name: fmean(sum(each.reports for each in ran) for ran in simulated[name]) for name in num_wanted}
    wall = fmean(makespan(each, concurrency) for each in pruned) + start_seconds
    hourly = sum(kind.count * kind.price for kind in spec.nodes)
    return Prediction(
        trial_seconds=fmean(map(sum, unpruned)),
        wall_seconds=fmean(makespan(each, concurrency) for each in unpruned) + start_seconds,
        pruned_trial_seconds=fmean(map(sum, pruned)),
        pruned_wall_seconds=wall,
        num_trials=num_trials,
        concurrency=concurrency,
        start_seconds=start_seconds,
        disk_bytes=sum(_disk_bytes(spec, cost[name], simulated[name]) for name in num_wanted),
        num_rows=round(sum(num_reports[name] * cost[name].num_points for name in num_wanted)),
        price=hourly * wall / 3600 if hourly else None,
    )


def _simulated(spec: Spec, num_wanted: Mapping[str, int]) -> dict[str, list[list[Ran]]]:
    """The simulated trials of each architecture, by search."""
    simulated = {num: simulate(spec, num) for num in set(num_wanted.values())}
    lengths = {name: length_of(name, spec.length) for name in num_wanted}
    return {
        name: [[each.at_most(lengths[name]) for each in ran] for ran in simulated[num]]
        for name, num in num_wanted.items()
    }


def _seconds_of_trials(cost: Mapping[str, Cost], simulated: Mapping[str, list[list[Ran]]]) -> list[list[float]]:
    """The seconds of all trials, by simulated search."""
    return [
        [seconds_of(cost[name], each) for name, of_each in simulated.items() for each in of_each[i]]
        for i in range(NUM_SIMULATED)
    ]


def _disk_bytes(spec: Spec, cost: Cost, simulated: list[list[Ran]]) -> float:
    """Bytes of an architecture's remaining checkpoints, averaged over the simulated searches. Checkpoints of pruned
    trials remain only if all checkpoints are kept."""
    ended = [min(sum(each.complete for each in ran), spec.num_kept) for ran in simulated]
    files = [sum(min(each.reports, checkpoints.NUM_KEPT) for each in ran if not each.complete) for ran in simulated]
    pruned = fmean(files) if spec.num_kept == float("inf") else 0.0
    return fmean(ended) * cost.last_checkpoint_bytes + pruned * cost.checkpoint_bytes


def seconds_of(cost: Cost, ran: Ran) -> float:
    """The seconds of a trial with these reports."""
    last = cost.last_report_seconds if ran.complete else cost.report_seconds
    return cost.first_seconds + (ran.reports - 1) * cost.report_seconds + last


def plan(
    spec: Spec, address: str | None, corpus: EncodedCorpus, solve: Solve, folder: Path
) -> tuple[Prediction, dict[str, Cost]]:
    """Calibrate on the cluster that this process is connected to, predict, and store the prediction for `find`."""
    listed = sum(kind.count * cluster.num_fitting(spec.resources, kind.cpu, kind.gpu) for kind in spec.nodes)
    here = cluster.Room(spec, address)()  # raises if no trial fits, since the search would wait forever
    concurrency = min(spec.concurrency or listed, listed) if listed else here
    studies = Studies("plan", spec, folder)
    cost, start_seconds = costs(spec, corpus, solve)
    num_wanted = {name: studies.num_wanted(name) for name in spec.studied}
    prediction = predict(spec, num_wanted, cost, concurrency, start_seconds)
    path = _path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(json.dumps(asdict(prediction)).encode())
    return prediction, cost


def find(spec: Spec) -> Prediction | None:
    """The last prediction for this spec on this machine, if any."""
    try:
        return Prediction(**json.loads(_path(spec).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _path(spec: Spec) -> Path:
    digest = hashlib.sha256(specs.dump(specs.freeze(spec)).encode()).hexdigest()
    return default_cache() / "plans" / f"{digest[:32]}.json"


def lines(spec: Spec, prediction: Prediction, cost: Mapping[str, Cost]) -> Iterator[str]:
    """The prediction as lines of text."""
    for name, each in cost.items():
        length = length_of(name, spec.length)
        seconds = seconds_of(each, Ran(length.num_reports, True))
        yield f"{name:<12} {seconds:8.1f} s per trial of {length.epochs} epoch{'s' * (length.epochs > 1)}"
    yield ""
    yield f"{'':<12} {'trial-hours':>12} {'wall time':>10}   with {prediction.concurrency} concurrent trials"
    for pruner, trial_seconds, wall_seconds in (
        ("no pruning", prediction.trial_seconds, prediction.wall_seconds),
        (spec.pruner, prediction.pruned_trial_seconds, prediction.pruned_wall_seconds),
    ):
        if pruner != "none":
            yield f"{pruner:<12} {trial_seconds / 3600:>12.2f} {duration(wall_seconds):>10}"
    yield ""
    megabytes = prediction.disk_bytes / 1e6
    yield f"Disk         {megabytes:,.1f} MB of checkpoints (keep_checkpoints: {spec.keep_checkpoints})"
    yield f"MLflow       {prediction.num_trials + 1} runs, {prediction.num_rows:,} metric rows"
    if prediction.price is not None:
        yield f"Money        {prediction.price:,.2f} for {sum(kind.count for kind in spec.nodes)} nodes"
    else:
        yield "Money        give nodes with hourly prices in the spec: nodes: [{cpu: 8, count: 4, price: 0.17}]"
    if spec.stop != "none":
        yield "These are upper bounds: stop: decided skips trials that cannot change the answer."
    if spec.time_budget is not None and spec.time_budget < prediction.pruned_wall_seconds:
        yield f"The time budget of {duration(spec.time_budget)} ends the search earlier."


def compare(prediction: Prediction, trial_seconds: float, wall_seconds: float) -> tuple[str, dict[str, str]]:
    """The error of a prediction, as a line of text and as tags of the search's run."""
    planned = {"trial_seconds": prediction.pruned_trial_seconds, "wall_seconds": prediction.pruned_wall_seconds}
    took = {"trial_seconds": trial_seconds, "wall_seconds": wall_seconds}
    tags = {schema.PLANNED_PREFIX + key: f"{value:.1f}" for key, value in planned.items()}
    tags |= {schema.TOOK_PREFIX + key: f"{value:.1f}" for key, value in took.items()}
    off = {key: took[key] / planned[key] - 1 for key in planned}
    line = (
        f"{duration(planned['wall_seconds'])} predicted, {duration(took['wall_seconds'])} taken "
        f"({off['wall_seconds']:+.0%}); {planned['trial_seconds'] / 3600:.2f} trial-hours predicted, "
        f"{took['trial_seconds'] / 3600:.2f} taken ({off['trial_seconds']:+.0%})"
    )
    return line, tags
