"""Better, equal within a margin, or cannot tell: the model of seeds and texts by hand, right as often as it says."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import FinishedSearch
from scipy import stats

from analysis.base import looks, pairs
from analysis.base.pairs import Models, Verdict
from analysis.verdicts import robustness
from benchmarks import calibration
from data.base.errors import UserError

# Two seeds and four texts: the seeds get 3 and 2 right, and disagree on one text.
TWO_SEEDS = np.array([[True, True, True, False], [True, True, False, False]])
NONE = np.array([[False] * 4, [False] * 4])


def samples(*correct: np.ndarray) -> list[pairs.Sample]:
    return [pairs.sample(Models(each)) for each in correct]


def test_the_spread_of_seeds_by_hand() -> None:
    """Accuracies 0.75 and 0.5 vary by 1/32. Within texts the variance is 1/2 on one text of four: (1/8 - 1/32) / 3."""
    found = pairs.sample(Models(TWO_SEEDS))
    assert found.share_N.tolist() == [1, 1, 0.5, 0]
    assert (found.seeds, found.variance, found.noise) == (2, 1 / 32, pytest.approx(1 / 32))
    assert found.of_mean == 1 / 64


def test_seeds_that_agree_by_luck_are_given_the_variance_of_their_noise() -> None:
    """Both get two of four right, and disagree on all: within texts 1/2, over seeds nothing, so 1/2 / 3."""
    found = pairs.sample(Models(np.array([[True, True, False, False], [False, False, True, True]])))
    assert (found.variance, found.noise) == (pytest.approx(1 / 6), pytest.approx(1 / 6))


def test_the_variance_of_a_difference_by_hand() -> None:
    """Differences 1, 1, 0.5, 0 and the two texts more, 1 and -1: (2.25 + 2 - 2.5**2 / 6) / 36, less the noise."""
    found = pairs.gap(*samples(TWO_SEEDS, NONE))
    assert found.value == 0.625
    assert found.texts == pytest.approx((4.25 - 6.25 / 6) / 36 - 1 / 64)
    assert found.error == pytest.approx(np.sqrt(found.texts + 1 / 64))
    freedom = (found.texts + 1 / 64) ** 2 / ((1 / 64) ** 2 / 1 + found.texts**2 / 3)
    assert found.freedom == pytest.approx(freedom)
    assert found.p_better() == pytest.approx(2 * stats.t.sf(0.625 / found.error, freedom))
    assert found.p_equal(0.7) == pytest.approx(2 * stats.t.sf(0.075 / found.error, freedom))
    assert found.p_equal(0.6) == 1
    value, low, high = found.interval()
    assert (value - low, high - value) == pytest.approx([stats.t.ppf(0.975, freedom) * found.error] * 2)


def test_what_would_decide_by_hand() -> None:
    """Variances of one seed 0.0001 and 0.0002, of texts 0.00001: a difference of 0.02 leaves (0.02 / 1.96)^2."""
    first, second = (pairs.Sample(np.zeros(9), 5, variance, 0.0, True) for variance in (0.0001, 0.0002))
    found = pairs.Gap(0.02, 0.00001, first, second)
    assert found.smallest_margin() == pytest.approx(1.959964 * np.sqrt(0.00001))
    assert found.seeds_to_decide(0.01) == np.ceil(0.0003 / ((0.02 / 1.959964) ** 2 - 0.00001))
    assert found._replace(value=0.001).seeds_to_decide(0.01) == np.ceil(
        0.0003 / ((0.009 / 1.959964) ** 2 - 0.00001)
    )  # to be equal
    assert np.isinf(found._replace(value=0.005).seeds_to_decide(0.01))


def test_seeds_added_until_it_is_decided_tell_equal_ones_apart_as_seldom() -> None:
    found = calibration.stopped([0.0, 0.0], (1.0, 1.0), (3, 6, 9), 100)
    assert found <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


def test_few_texts_that_all_agree_prove_nothing() -> None:
    twice = [Models(np.ones((2, 20), dtype=bool)) for _ in range(2)]
    (found,) = pairs.decide([pairs.gap(*map(pairs.sample, twice))], margin=0.05)
    assert found.verdict is Verdict.CANNOT_TELL


def test_other_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="scored on the same texts; got 4 and 3"):
        pairs.gap(*samples(TWO_SEEDS, NONE[:, :3]))


def test_probability_of_superiority_by_hand() -> None:
    """Of 3 and 2 right against 2 and 1: better, better, level, better."""
    other = np.array([[True, True, False, False], [True, False, False, False]])
    assert pairs.probability(TWO_SEEDS, other) == 3.5 / 4


def many(rng: np.random.Generator, gap: float, num_seeds: int = 10) -> list[np.ndarray]:
    return calibration.draw(rng, (gap, 0.0), (0.2, 0.2), num_seeds)


def test_the_three_verdicts_and_one_seed() -> None:
    rng = np.random.default_rng(0)
    better = pairs.compare(dict(zip("ab", map(Models, many(rng, 0.05)), strict=True))).iloc[0]
    assert better["verdict"] == "a"
    assert better["low"] > 0.02
    assert better["first_better"] == 1
    equal = pairs.compare(dict(zip("ab", map(Models, many(rng, 0.0)), strict=True)), margin=0.03).iloc[0]
    assert equal["verdict"] == "equal within 0.03"
    assert -0.03 < equal["low"] < equal["high"] < 0.03
    few = pairs.compare(dict(zip("ab", map(Models, many(rng, 0.0, 2)), strict=True))).iloc[0]
    assert few["verdict"] == "cannot tell"
    one = pairs.compare(dict(zip("ab", map(Models, many(rng, 0.3, 1)), strict=True))).iloc[0]
    assert one["verdict"] == "one seed"
    assert one["p"] < 1e-6  # the given models differ
    assert one[["better_p", "equal_p", "first_better"]].isna().all()


def test_what_is_the_same_with_every_seed_needs_one() -> None:
    rng = np.random.default_rng(0)
    a_SN, b_SN = many(rng, 0.1)
    models = {"gru": Models(a_SN), "nbsvm": Models(b_SN[:1], 0, same_with_every_seed=True)}
    row = pairs.compare(models).iloc[0]
    assert row["verdict"] == "gru"
    assert np.isnan(row["hedges_g"])


def test_what_one_pair_shows_a_family_need_not() -> None:
    rng = np.random.default_rng(3)
    a, b = (Models(each) for each in calibration.draw(rng, (0.009, 0.0), (0.3, 0.3), 5))
    alone = pairs.gap(pairs.sample(a), pairs.sample(b))
    assert 0.01 < alone.p_better() < 0.05, "choose another seed"
    assert pairs.compare({"a": a, "b": b})["verdict"].tolist() == ["a"]
    assert pairs.compare({"a": a, "b": b}, looks=5)["verdict"].tolist() == ["cannot tell"]
    family = pairs.decide([alone] * 6)
    assert {each.verdict for each in family} == {Verdict.CANNOT_TELL}
    assert family[0].better_p == pytest.approx(6 * alone.p_better())


def test_one_architecture_has_no_pairs() -> None:
    table = pairs.compare({"gru": Models(TWO_SEEDS)})
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert {"difference", "holm_p", "verdict"} <= set(table.columns)


@pytest.mark.parametrize(("num", "bound"), [(1, 1.960), (2, 2.178), (3, 2.289), (5, 2.413), (10, 2.555)])
def test_the_bounds_are_pococks(num: int, bound: float) -> None:
    """Table 2.1 of Jennison and Turnbull (2000)."""
    assert stats.norm.isf(looks.nominal(0.05, num) / 2) == pytest.approx(bound, abs=0.001)
    assert looks.over_looks(looks.nominal(0.05, num), num) == pytest.approx(0.05, abs=1e-4)
    assert looks.over_looks(1.0, num) == 1


@pytest.mark.parametrize(("num", "num_seeds", "spreads"), [(2, 2, "unequal"), (5, 3, "as recorded")])
def test_equal_architectures_are_seldom_told_apart(num: int, num_seeds: int, spreads: str) -> None:
    found = calibration.counted([0.0] * num, calibration.SPREADS[spreads], num_seeds, 150)
    assert found.false <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)
    assert found.covered >= 0.92


def test_two_that_differ_are_found() -> None:
    assert calibration.counted([0.02, 0.0], (0.5, 0.5), 5, 60).better > 0.75


def test_the_fewest_that_flip_the_ranking() -> None:
    """The first gets three texts right that the second does not, which gets one: two have to go. By seeds, accuracies
    0.75 and 0.5 against 0.5 and 0.25: without the best of the one and the worst of the other they are level."""
    first = np.array([[True, True, True, False, True]])
    second = np.array([[False, False, False, True, True]])
    assert robustness.texts(first, second) == (2, 5)
    other = np.array([[True, True, False, False], [True, False, False, False]])
    assert robustness.seeds(TWO_SEEDS, other) == (2, 4)
    assert robustness.seeds(TWO_SEEDS, NONE) == (None, 4)
    assert robustness.trials(pd.Series([0.9, 0.8, 0.7]), pd.Series([0.75, 0.1])) == (2, 3)
    assert robustness.trials(pd.Series([0.9, 0.8]), pd.Series([0.75])) == (None, 2)
    assert robustness.trials(pd.Series([1.0, 2.0]), pd.Series([1.5]), maximize=False) == (1, 2)


def test_the_calibration_on_real_runs_takes_confirmed_seeds(smoke_search: FinishedSearch) -> None:
    with pytest.raises(UserError, match=f"{smoke_search.id} has no seeds to split: search confirm"):
        calibration.halves(smoke_search.uri, smoke_search.id, 10)


@pytest.mark.slow
def test_the_calibration_runs() -> None:
    command = [sys.executable, "-m", "benchmarks.calibration", "--repetitions", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "called different, by rule" in done.stdout, done.stderr
