"""The gain from several reports per epoch: core-seconds until the same best validation score.

    python -m benchmarks.reports --seeds 5 --reports 1 4
    python -m benchmarks.reports --seed 3 --reports 4 --set trials=4 --out reports.jsonl

Runs searches with the real studies, samplers, pruners and training, sequentially in this process; only Ray Tune and
MLflow are left out, and need not be installed. Times are CPU time of training and evaluation. `--out` appends a line
per search and skips searches that the file contains, so that a long benchmark can be interrupted; the printed results
are of the whole file. `--encoded` is an encoded corpus from the cache, for machines without the texts.
"""

import argparse
import contextlib
import importlib
import importlib.util
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from data.cache import read_cache
from data.encoded import EncodedCorpus
from models.native import kernels
from search.base.schema import Outcome
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.read import load_corpus
from search.spec.spec import Spec
from search.study.studies import Studies
from search.study.trial import Worker
from search.train.metrics import METRICS, split_metric
from search.train.running import run_trial

HERE = Worker("127.0.0.1", 0)


def search(spec: Spec, corpus: EncodedCorpus) -> dict[str, Any]:
    """Run one search. Returns its trials, and the best score of a complete trial by core-seconds spent."""
    spent, trials, best = 0.0, [], []
    maximize = split_metric(spec.metric)[1].maximize
    with tempfile.TemporaryDirectory() as folder:
        studies = Studies("reports", spec, Path(folder), "new")
        setting = make_setting(spec, Path(folder))
        while trial := studies.ask():
            before, results = spent, run_trial(trial.config, corpus, setting)
            goes_on = True
            while goes_on:
                started = time.process_time()
                result = next(results)
                spent += time.process_time() - started
                goes_on = studies.report(trial, result, HERE)
            results.close()  # type: ignore[attr-defined]
            score = trial.score
            trials.append([trial.name, trial.outcome, trial.epochs, trial.step, score, spent - before])
            scores = [each for _, each in best] or [-math.inf if maximize else math.inf]
            if trial.outcome is Outcome.COMPLETE and score is not None and (score > scores[-1]) is maximize:
                best.append((spent, score))
            print(f"{trial.name:<14} {trial.outcome:<10} {trial.epochs:<5.4g} {score} {spent:8.1f} s", file=sys.stderr)
    return {"spent": spent, "best": best, "trials": trials}


def seconds_to(run: dict[str, Any], score: float, maximize: bool) -> float:
    """The core-seconds until a search had a complete trial with at least this score."""
    return next((spent for spent, best in run["best"] if (best >= score if maximize else best <= score)), math.inf)


def lines(runs: Sequence[dict[str, Any]], maximize: bool) -> Iterator[str]:
    """The best score and cost of each search, and the speedup from more reports at the same score."""
    yield f"{'reports':>7} {'seed':>5} {'best':>8} {'core-s':>8} {'epochs':>7}"
    for run in runs:
        epochs = sum(trial[2] for trial in run["trials"])
        yield f"{run['reports']:>7} {run['seed']:>5} {run['best'][-1][1]:>8.4f} {run['spent']:>8.1f} {epochs:>7.1f}"
    by_reports: dict[int, dict[int, dict[str, Any]]] = {}
    for run in runs:
        by_reports.setdefault(run["reports"], {})[run["seed"]] = run
    first, *others = sorted(by_reports)
    for other in others:
        ratios, both = [], sorted(by_reports[first].keys() & by_reports[other].keys())
        for seed in both:
            one, two = by_reports[first][seed], by_reports[other][seed]
            worse = (min if maximize else max)(one["best"][-1][1], two["best"][-1][1])
            took = [seconds_to(each, worse, maximize) for each in (one, two)]
            ratios.append(took[0] / took[1])
            yield f"seed {seed}: {worse:.4f} after {took[0]:.1f} core-s with {first}, {took[1]:.1f} with {other}"
        if ratios:
            wholes = [sum(by_reports[each][seed]["spent"] for seed in both) for each in (first, other)]
            yield f"{other} reports per epoch: {geometric_mean(ratios):.2f} times fewer core-seconds until equal scores"
            yield f"and {wholes[0] / wholes[1]:.2f} times fewer in all (geometric mean of {len(ratios)} seeds; all)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the spec")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each kind")
    parser.add_argument("--seed", type=int, help="only the search with this seed")
    parser.add_argument("--reports", type=int, nargs="+", default=[1, 4], help="reports per epoch")
    parser.add_argument("--out", type=Path, help="a file of JSON lines")
    parser.add_argument("--encoded", type=Path, metavar="FILE.npz")
    chosen = parser.parse_args()
    if importlib.util.find_spec("torchmetrics") is None:  # then metrics that need it are not measured
        for name in ("f1", "roc_auc"):
            del METRICS[name]
    else:
        importlib.import_module("torchmetrics.functional.classification")  # before the first trial is timed
    with contextlib.suppress(Exception):  # without a compiler, torch replaces the kernels
        kernels.build()

    overrides = ["baselines=[]", *chosen.set]  # baselines do not depend on the number of reports
    found = chosen.out.read_text(encoding="utf-8").splitlines() if chosen.out and chosen.out.exists() else []
    runs = [json.loads(line) for line in found]
    corpus = None
    for seed in [chosen.seed] if chosen.seed is not None else range(chosen.seeds):
        for reports in chosen.reports:
            key = {"spec": chosen.spec, "set": overrides, "seed": seed, "reports": reports}
            if any(key.items() <= run.items() for run in runs):
                continue
            spec = specs.read(chosen.spec, [*overrides, f"seed={seed}", f"reports_per_epoch={reports}"], files=False)
            if corpus is None:
                file = chosen.encoded
                corpus = read_cache(file, name=spec.corpus, digest=file.stem) if file else load_corpus(spec)
            if corpus is None:
                raise SystemExit(f"{chosen.encoded} is no encoded corpus")
            runs.append(key | search(spec, corpus))
            if chosen.out:
                with chosen.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    same = [run for run in runs if (run["spec"], run["set"]) == (chosen.spec, overrides)]
    metric = specs.read(chosen.spec, overrides, files=False).metric
    print("\n".join(lines(same, split_metric(metric)[1].maximize)))


if __name__ == "__main__":
    main()
