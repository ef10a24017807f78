"""Do the verdicts on architectures have the error rates that they claim? Simulated comparisons with a known truth.

    python -m benchmarks.calibration [--repetitions 1000] [--real SEARCH --tracking-uri URI]

The model: an answer is right if the sum of four normal effects is positive: of the text, of architecture and text, of
the seed, and noise. With any number of seeds, the 2,490 texts leave a standard error of about 0.42 points in the
difference of two architectures; two seeds of an architecture disagree on 11 % of the texts. The standard deviation over
seeds, in points of accuracy, is one, a half, that of the default search's winners, zero, or very unequal between
architectures.

The benchmark fails (exit status 1) unless at most 5 % of families have a false verdict (at most 64 of 1,000, which a
true rate of 5 % exceeds with a probability of 2.5 %) and at least 93 % of intervals cover the truth. It also prints the
power of this rule and of two others: the previous rule (McNemar's test of the two models with the median score and a
bootstrap interval must both be significant), and Welch's test over seeds only.

With --real, the confirmed seeds of an architecture of a recorded search are split at random into two halves, which are
equal by construction: how often is one called better?
"""

import sys
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Annotated, NamedTuple

import numpy as np
import typer
from scipy import stats as distributions

from analysis.base import pairs, stats
from analysis.base.pairs import Models, Verdict
from analysis.verdicts import until
from data.base.errors import UserError
from search.base import console, mlflow_uri

NUM_TEXTS, ACCURACY = 2490, 0.8
OF_TEXTS, OF_BOTH = 0.8, 0.1  # shares of the variance: of the text; of architecture and text
SPREADS = {
    "one point": (1.0, 1.0, 1.0, 1.0, 1.0),
    "half a point": (0.5, 0.5, 0.5, 0.5, 0.5),
    "as recorded": (0.35, 0.7, 0.35, 0.7, 0.35),
    "none": (0.0, 0.0, 0.0, 0.0, 0.0),
    "unequal": (0.2, 1.5, 0.2, 0.2, 0.2),
}
MOST_FALSE, LEAST_COVERED = 0.064, 0.93
MARGIN = pairs.MARGIN


def draw(rng: np.random.Generator, gaps: Sequence[float], spreads: Sequence[float], num_seeds: int) -> list[np.ndarray]:
    """`correct_SN` for each architecture. gaps: expected accuracy minus ACCURACY. spreads: sd over seeds, in points."""
    density = distributions.norm.pdf(distributions.norm.ppf(ACCURACY))

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    text_N = np.sqrt(OF_TEXTS) * normal(NUM_TEXTS)
    drawn = []
    for gap, spread in zip(gaps, spreads, strict=False):
        deviation = spread / 100 / density
        level = distributions.norm.ppf(ACCURACY + gap) * np.sqrt(1 + deviation**2)  # keeps the expected accuracy
        latent_SN = deviation * normal(num_seeds, 1) + text_N + np.sqrt(OF_BOTH) * normal(NUM_TEXTS)
        latent_SN = latent_SN + np.sqrt(1 - OF_TEXTS - OF_BOTH) * normal(num_seeds, NUM_TEXTS)
        drawn.append(latent_SN > -level)
    return drawn


def is_false(verdict: Verdict, truth: float) -> bool:
    """Whether a verdict is wrong. truth: the true difference of first and second."""
    wrong = {Verdict.FIRST: truth <= 0, Verdict.SECOND: truth >= 0, Verdict.EQUAL: abs(truth) >= MARGIN}
    return wrong.get(verdict, False)


class Counted(NamedTuple):
    """The shares of families with a false verdict, of intervals that cover the truth, of pairs with a better one, and
    of pairs that are called equal."""

    false: float
    covered: float
    better: float
    equal: float


def counted(gaps: Sequence[float], spreads: Sequence[float], num_seeds: int, repetitions: int) -> Counted:
    """The results of simulated families at a single look."""
    rng, rows = np.random.default_rng(1), []
    truths = [a - b for a, b in combinations(gaps, 2)]
    for _ in range(repetitions):
        samples = [pairs.sample(Models(each)) for each in draw(rng, gaps, spreads, num_seeds)]
        found = [pairs.gap(a, b) for a, b in combinations(samples, 2)]
        verdicts = [each.verdict for each in pairs.decide(found, MARGIN)]
        intervals = [each.interval() for each in found]
        rows.append(
            (
                any(is_false(verdict, truth) for verdict, truth in zip(verdicts, truths, strict=True)),
                np.mean([each.low <= truth <= each.high for each, truth in zip(intervals, truths, strict=True)]),
                np.mean([verdict.is_better for verdict in verdicts]),
                np.mean([verdict is Verdict.EQUAL for verdict in verdicts]),
            )
        )
    return Counted(*map(float, np.mean(rows, axis=0)))


def stopped(gaps: Sequence[float], spreads: Sequence[float], looks: Sequence[int], repetitions: int) -> float:
    """The share of families with a false verdict at any look. looks: the number of seeds at each look, on the same
    texts."""
    rng, false = np.random.default_rng(4), 0
    truths = [a - b for a, b in combinations(gaps, 2)]
    for _ in range(repetitions):
        drawn = draw(rng, gaps, spreads, looks[-1])
        for num_seeds in looks:
            samples = [pairs.sample(Models(each[:num_seeds])) for each in drawn]
            found = [pairs.gap(a, b) for a, b in combinations(samples, 2)]
            decided = pairs.decide(found, MARGIN, len(looks))
            if any(is_false(each.verdict, truth) for each, truth in zip(decided, truths, strict=True)):
                false += 1
                break
    return false / repetitions


class Ended(NamedTuple):
    """Results of sequential confirmation: the share of families with a false verdict at any look, the share of pairs
    decided at the end, and the seeds used, as a share of the most allowed."""

    false: float
    decided: float
    seeds: float


def decided(gaps: Sequence[float], spreads: Sequence[float], most: int, repetitions: int) -> Ended:
    """Simulate `search confirm --until-decided --max-seeds`: seeds are added adaptively, all looks use the same
    texts."""
    rng, rows = np.random.default_rng(5), []
    truths = [a - b for a, b in combinations(gaps, 2)]
    for _ in range(repetitions):
        drawn = {str(name): each for name, each in enumerate(draw(rng, gaps, spreads, most))}
        seeds, looks, false = dict.fromkeys(drawn, 0), until.planned(most), False
        wanted, add = list(drawn), until.step(most, looks)
        for left in range(looks - 1, -1, -1):
            seeds |= {name: seeds[name] + add for name in wanted}
            models = {name: Models(each[: seeds[name]]) for name, each in drawn.items()}
            look = until.look_at(models, MARGIN, looks)
            verdicts = [pair.decision.verdict for pair in look.pairs]
            false |= any(is_false(verdict, truth) for verdict, truth in zip(verdicts, truths, strict=True))
            if not (wanted := look.wanted(most)) or not left:
                break
            add = until.step(look.room(most), left)
        rows.append((false, 1 - len(look.open) / len(truths), sum(seeds.values()) / (most * len(seeds))))
    return Ended(*map(float, np.mean(rows, axis=0)))


# --- Rules for two architectures: whether either of them is called better


def earlier(drawn: Sequence[np.ndarray], rng: np.random.Generator) -> bool:
    """The previous rule: McNemar's test of the median models, and a bootstrap over texts and seeds."""
    medians = [each[np.argsort(each.mean(axis=1))[(len(each) - 1) // 2]] for each in drawn]
    if stats.mcnemar(*medians) >= 0.05:
        return False
    num_texts = len(medians[0])
    kinds_SK, counts_K = np.unique(np.concatenate(drawn), axis=1, return_counts=True)
    drawn_RK = rng.multinomial(num_texts, counts_K / num_texts, size=500) / num_texts
    halves = np.split(drawn_RK @ kinds_SK.T.astype(float), [len(drawn[0])], axis=1)
    means = []
    for seeds_RS in halves:
        num_seeds = seeds_RS.shape[1]
        weights_RS = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=500) / num_seeds
        wider = distributions.t.ppf(0.975, 2 * num_seeds - 2) / distributions.norm.ppf(0.975)
        wider *= np.sqrt(num_seeds / (num_seeds - 1))
        means.append((seeds_RS * (1 / num_seeds + (weights_RS - 1 / num_seeds) * wider)).sum(axis=1))
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return bool(low > 0 or high < 0)


def welch(drawn: Sequence[np.ndarray], rng: np.random.Generator) -> bool:
    """Welch's test over seeds only, as if the test texts were the whole population."""
    return stats.mean_difference(*([each.mean(axis=1)] for each in drawn)).p < 0.05


def ours(drawn: Sequence[np.ndarray], rng: np.random.Generator) -> bool:
    return pairs.gap(*(pairs.sample(Models(each)) for each in drawn)).p_better() < 0.05


Rule = Callable[[Sequence[np.ndarray], np.random.Generator], bool]
RULES: dict[str, Rule] = {"ours": ours, "earlier": earlier, "Welch": welch}


def power(rule: Rule, gap: float, num_seeds: int, repetitions: int) -> float:
    rng = np.random.default_rng(2)
    return float(np.mean([rule(draw(rng, (gap, 0), (1.0, 1.0), num_seeds), rng) for _ in range(repetitions)]))


# --- Real runs


def halves(uri: str, search: str, repetitions: int) -> None:
    """Prints how often one of two halves of an architecture's seeds is called better. Raises UserError without
    seeds."""
    from analysis.base import runs
    from analysis.boards import confirmation
    from analysis.verdicts.differences import best_configurations, models_of

    recorded = confirmation.read(uri, runs.find_search(uri, search))
    if recorded.repeated.empty:
        raise UserError(f"{recorded.origin.id} has no seeds to split: search confirm {recorded.origin.id} --seeds 12")
    best = best_configurations(recorded.repeated)
    rng, shares = np.random.default_rng(3), []
    for name, own in best.items():
        predictions = {run_id: runs.read_predictions(uri, run_id) for run_id in own["run_id"]}
        correct_SN = np.asarray(models_of(own, predictions).correct_SN)
        size = len(correct_SN) // 2
        if size < 2:
            print(f"{name}: {len(correct_SN)} seeds; at least four are needed")
            continue
        false = 0
        for _ in range(repetitions):
            order = rng.permutation(len(correct_SN))
            both = correct_SN[order[:size]], correct_SN[order[size : 2 * size]]
            false += ours(both, rng)
        shares.append(false / repetitions)
        print(f"{name}: one half of {size} seeds called better in {shares[-1]:.1%} of {repetitions} splits")
    if shares:
        print(f"mean over architectures: {np.mean(shares):.1%}")


# --- The command


@console.command
def main(
    repetitions: Annotated[int, typer.Option(min=10, help="simulated comparisons of each kind")] = 1000,
    real: Annotated[str | None, typer.Option(help="also split the seeds of this confirmed search")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow tracking URI of that search")] = None,
) -> None:
    started, failures = time.perf_counter(), 0
    if real:  # first, so that a wrong name fails at once
        halves(mlflow_uri.tracking_uri(tracking_uri), real, repetitions)
    slack = MOST_FALSE if repetitions >= 1000 else 0.05 + 2 * np.sqrt(0.05 * 0.95 / repetitions)
    print(f"{repetitions} families of equal architectures, one look: false verdicts, coverage of 95 % intervals")
    for label, spreads in SPREADS.items():
        for num in (2, 5):
            for num_seeds in (2, 3, 5, 10):
                false, covered, _, equal = counted([0.0] * num, spreads, num_seeds, repetitions)
                wrong = false > slack or covered < LEAST_COVERED
                failures += wrong
                print(
                    f"  {label:<13} {num} architectures, {num_seeds:>2} seeds: {false:6.1%} false, "
                    f"{covered:6.1%} covered, {equal:6.1%} equal within {MARGIN:g}{'  TOO MANY' * wrong}",
                    flush=True,
                )
    print(f"Two architectures that differ by the margin ({MARGIN:g}): called equal")
    for label, spreads in SPREADS.items():
        rates = [counted([MARGIN, 0.0], spreads, num_seeds, repetitions).equal for num_seeds in (3, 10)]
        failures += max(rates) > slack
        print(f"  {label:<13} {rates[0]:6.1%} with 3 seeds, {rates[1]:6.1%} with 10")
    print("Two equal architectures, looks at 3, 6, 9, 12 and 15 seeds on the same texts: false verdicts at any look")
    for label, spreads in SPREADS.items():
        false = stopped([0.0, 0.0], spreads, (3, 6, 9, 12, 15), repetitions)
        failures += false > slack
        print(f"  {label:<13} {false:6.1%}", flush=True)
    few = max(10, repetitions // 5)
    print(f"{few} families, sequential confirmation with at most 15 seeds per architecture")
    for label, spreads in SPREADS.items():
        for gaps in ([0.0] * 2, [0.0] * 5, [0.02, 0.02, 0.0, 0.0, 0.0]):
            ended = decided(gaps, spreads, 15, few)
            wrong = bool(ended.false > 0.05 + 2 * np.sqrt(0.05 * 0.95 / few))
            failures += wrong
            print(
                f"  {label:<13} {len(gaps)} architectures, gaps to {100 * max(gaps):.0f} points: {ended.false:6.1%} "
                f"false at any look, {ended.decided:6.1%} of pairs decided, with {ended.seeds:4.0%} of the seeds"
                f"{'  TOO MANY' * wrong}",
                flush=True,
            )
    print("Two architectures with an sd over seeds of one point: called different, by rule")
    for gap in (0.0, 0.01, 0.02, 0.023):
        for num_seeds in (3, 5, 10):
            found = {name: power(rule, gap, num_seeds, few) for name, rule in RULES.items()}
            rates = ", ".join(f"{name} {share:6.1%}" for name, share in found.items())
            print(f"  {100 * gap:.1f} points, {num_seeds:>2} seeds: {rates}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    typer.run(main)
