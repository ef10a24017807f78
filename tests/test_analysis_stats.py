"""Statistics against known answers: textbooks, scipy, and the coverage that an interval promises."""

import numpy as np
import pytest
import scipy.stats

from analysis.base import stats


def paired(only_first: int, only_second: int, both: int = 0, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The two models' correct_N with so many texts of each kind."""
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return np.array(first), np.array(second)


# --- Means over seeds


def test_the_interval_of_a_mean_by_hand() -> None:
    """1 to 5: mean 3, standard error sqrt(2.5 / 5), t(0.975, 4) = 2.7764."""
    mean, low, high = stats.mean_interval([1, 2, 3, 4, 5])
    assert (mean, low, high) == pytest.approx((3, 3 - 1.96324, 3 + 1.96324), abs=1e-4)


def test_the_interval_of_a_mean_is_scipys() -> None:
    sample = np.random.default_rng(0).normal(0.8, 0.01, 7)
    expected = scipy.stats.t.interval(0.9, 6, sample.mean(), scipy.stats.sem(sample))
    assert stats.mean_interval(sample, confidence=0.9)[1:] == pytest.approx(expected, rel=1e-12)


def test_one_seed_has_no_interval_and_none_has_no_mean() -> None:
    assert stats.mean_interval([0.5]) == pytest.approx((0.5, np.nan, np.nan), nan_ok=True)
    with pytest.raises(ValueError, match="at least one value"):
        stats.mean_interval([])


def test_equal_seeds_have_no_interval() -> None:
    assert stats.mean_interval([0.1] * 3) == pytest.approx((0.1, np.nan, np.nan), nan_ok=True)


# --- Two models on the same texts


def test_mcnemar_by_hand() -> None:
    """Of 6 texts that one model alone got right, 5 are the first's: p = 2 (C(6,0) + C(6,1)) / 2^6 = 14 / 64."""
    assert stats.mcnemar(*paired(5, 1, both=70, neither=20)) == pytest.approx(14 / 64, rel=1e-12)
    assert stats.mcnemar(*paired(1, 5)) == pytest.approx(14 / 64, rel=1e-12)


def test_mcnemar_of_a_textbook() -> None:
    """Agresti's ratings of the prime minister: 150 against 86 changed their minds; z = -4.17, p = 3.7e-05 exactly."""
    assert stats.mcnemar(*paired(150, 86, both=794, neither=570)) == pytest.approx(3.716e-05, rel=1e-3)


def test_models_that_agree_everywhere_are_not_different() -> None:
    correct = paired(0, 0, both=5, neither=5)
    assert stats.mcnemar(*correct) == 1
    assert stats.cohens_g(*correct) == 0


# --- Means over seeds, of two


def test_a_difference_of_means_is_welchs() -> None:
    first, second = [0.80, 0.82, 0.84], [0.70, 0.71, 0.78, 0.69]
    expected = scipy.stats.ttest_ind(first, second, equal_var=False)
    found = stats.mean_difference([first], [second])
    assert found.value == pytest.approx(0.1)
    assert found[1:3] == pytest.approx(tuple(expected.confidence_interval()), rel=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)


def test_a_difference_over_strata_by_hand() -> None:
    """Differences 2 and 4, so 3. Each of the 4 means has the variance 2 / 2, so 3 has 4 / 2^2; t(0.975, 4) = 2.7764."""
    found = stats.mean_difference([[2.0, 4.0], [5.0, 7.0]], [[0.0, 2.0], [1.0, 3.0]])
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 - 2.7764, 3 + 2.7764), abs=1e-3)


def test_single_values_are_paired_over_strata() -> None:
    expected = scipy.stats.ttest_rel([3.0, 5.0, 4.0], [1.0, 2.0, 3.0])
    found = stats.mean_difference([[3.0], [5.0], [4.0]], [[1.0], [2.0], [3.0]])
    assert found.value == 2
    assert found[1:3] == pytest.approx(tuple(expected.confidence_interval()), rel=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)


def test_a_difference_from_another_bound() -> None:
    expected = scipy.stats.ttest_ind([1.0, 2.0, 3.0], [0.5, 0.5, 1.5], equal_var=False)
    found = stats.mean_difference([[1.0, 2.0, 3.0]], [[1.5, 1.5, 2.5]], null=-1)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)


def test_where_nothing_can_be_told_of_a_difference() -> None:
    assert stats.mean_difference([[2.0]], [[1.0]]) == pytest.approx((1, np.nan, np.nan, np.nan), nan_ok=True)
    assert stats.mean_difference([[2.0]], [[1.0, 3.0]]) == pytest.approx((0, np.nan, np.nan, np.nan), nan_ok=True)
    assert stats.mean_difference([[0.5, 0.5]], [[0.4, 0.4]]) == pytest.approx((0.1, 0.1, 0.1, 0))
    assert stats.mean_difference([[0.5, 0.5]], [[0.5, 0.5]]) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([True], [True, False], "same texts; got 1 and 2"),
        ([1.0, 0.0], [True, False], "booleans of .*; got float64"),
        ([[True]], [[True]], r"shape \(1, 1, 1\)"),
        (np.zeros(0, dtype=bool), np.zeros(0, dtype=bool), "at least one seed and text"),
    ],
)
def test_what_cannot_be_paired_is_refused(first: object, second: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.mcnemar(first, second)  # type: ignore[arg-type]


# --- Many tests, and effect sizes


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and may not fall: .06 at the end."""
    assert stats.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert stats.holm([0.2]) == pytest.approx([0.2])
    assert stats.holm([]).tolist() == []


def test_effect_sizes_by_hand() -> None:
    assert stats.cohens_g(*paired(15, 5, both=80)) == 0.25
    assert stats.cohens_g(*paired(5, 15, both=80)) == -0.25
    # means 3 and 2, both with variance 1: d = 1, times 1 - 3 / (4 * 4 - 1)
    assert stats.hedges_g([2, 3, 4], [1, 2, 3]) == pytest.approx(0.8)
    assert np.isnan(stats.hedges_g([1, 2], [1]))
    assert np.isnan(stats.hedges_g([1, 1], [2, 2]))
