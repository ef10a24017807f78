"""Statistics against known answers: textbooks, scipy, and the coverage that an interval promises."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.typing import ArrayLike

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
    assert interval(*(each[None] for each in correct), np.random.default_rng(0), 100).tolist() == [0, 0]
    assert stats.cohens_g(*correct) == 0


def interval(first: ArrayLike, second: ArrayLike, rng: np.random.Generator, num_resamples: int) -> np.ndarray:
    drawn = stats.bootstrap_accuracies({"first": first, "second": second}, rng, num_resamples)
    return np.quantile(drawn["first"] - drawn["second"], [0.025, 0.975])


def test_the_bootstrap_resamples_pairs() -> None:
    """The normal interval where N is large: the same texts are drawn for both models."""
    first, second = paired(300, 200, both=1000, neither=500)
    half = 1.96 * (first.astype(int) - second.astype(int)).std() / np.sqrt(2000)
    found = interval(first[None], second[None], np.random.default_rng(0), 4000)
    assert found == pytest.approx((0.05 - half, 0.05 + half), abs=0.002)


def test_the_difference_of_two_is_that_of_the_bootstrap() -> None:
    """Also with several seeds; and where all texts are of one kind, nothing is left to chance."""
    rng = np.random.default_rng(0)
    for num_seeds in (1, 3):
        first, second = (rng.random((num_seeds, 500)) < share for share in (0.8, 0.7))
        found = stats.paired_difference(first, second, rng)
        low, high = interval(first, second, rng, stats.NUM_RESAMPLES)
        assert found.value == pytest.approx(first.mean() - second.mean())
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)
    assert stats.paired_difference([[True] * 9], [[False] * 9], rng) == (1, 1, 1)
    with pytest.raises(ValueError, match="scored on the same texts"):
        stats.paired_difference([[True] * 9], [[False] * 8], rng)


def test_the_bootstrap_covers_the_true_difference_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        kind = rng.choice(4, size=(1, 300), p=[0.15, 0.10, 0.6, 0.15])
        low, high = interval((kind == 0) | (kind == 2), (kind == 1) | (kind == 2), rng, 300)
        covered += low <= 0.05 <= high
    assert 0.9 < covered / 200 < 0.985


def test_the_bootstrap_covers_what_differs_between_seeds() -> None:
    """Each seed's model has an accuracy of its own, 0.8 with a standard deviation of 0.05, the texts are the same."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        first, second = (np.arange(200) < 200 * rng.normal(0.8, 0.05, (5, 1)) for _ in range(2))
        low, high = interval(first, second, rng, 300)
        covered += low <= 0 <= high
    assert 0.9 < covered / 200 < 0.995


def test_few_seeds_are_resampled_with_a_wider_spread() -> None:
    """Of two models one gets all texts right, one none: their mean is 0, 0.5 or 1. What deviates from 0.5 is widened by
    sqrt(2) and by t(0.975, 2) / z(0.975) = 4.30265 / 1.95996."""
    all_or_none = np.array([[True] * 4, [False] * 4])
    drawn = stats.bootstrap_accuracies({"it": all_or_none}, np.random.default_rng(0), 200)["it"]
    deviation = 0.5 * np.sqrt(2) * 4.30265 / 1.95996
    assert sorted(set(drawn.round(6))) == pytest.approx([0.5 - deviation, 0.5, 0.5 + deviation], abs=1e-4)


def test_the_bootstrap_is_that_of_the_rng_given() -> None:
    first, second = paired(30, 20, 50)

    def low(seed: int) -> float:
        return float(interval(first[None], second[None], np.random.default_rng(seed), 50)[0])

    assert low(1) == low(1)
    assert len({low(seed) for seed in range(10)}) > 1


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


def models(**correct_N: np.ndarray) -> dict[str, stats.Models]:
    return {name: stats.Models(each[None]) for name, each in correct_N.items()}


def test_every_pair_with_a_verdict() -> None:
    rng = np.random.default_rng(0)
    strong, weak = paired(100, 40, both=200, neither=60)
    twin = strong.copy()
    twin[:2] = ~twin[:2]
    table = stats.pairs(models(gru=strong, rnn=weak, **{"=gru,2": twin}), rng, 2000)
    assert table[["first", "second"]].to_numpy().tolist() == [["gru", "rnn"], ["gru", "=gru,2"], ["rnn", "=gru,2"]]
    assert table["difference"].tolist() == pytest.approx([60 / 400, 2 / 400, -58 / 400])
    assert table["verdict"].tolist() == ["gru", "tie", "=gru,2"]
    assert table["p"].tolist() == [stats.mcnemar(strong, weak), 0.5, stats.mcnemar(weak, twin)]
    assert table["holm_p"].tolist() == pytest.approx(stats.holm(table["p"]))
    assert (table["low"] <= table["difference"]).all()
    assert (table["difference"] <= table["high"]).all()
    assert table.loc[0, ["num_texts", "only_first", "only_second"]].tolist() == [400, 100, 40]
    assert table["hedges_g"].isna().all()


def test_seeds_are_averaged_and_their_representatives_tested() -> None:
    good, bad = paired(60, 20, both=100, neither=20)
    table = stats.pairs(
        {"a": stats.Models(np.array([bad, good, good]), 1), "b": stats.Models(np.array([bad, bad]))},
        np.random.default_rng(0),
        500,
    )
    row = table.iloc[0]
    assert (row["first_seeds"], row["second_seeds"]) == (3, 2)
    assert row["difference"] == pytest.approx(2 / 3 * 40 / 200)
    assert (row["only_first"], row["only_second"], row["cohens_g"]) == (60, 20, 0.25)
    assert row["hedges_g"] == pytest.approx(stats.hedges_g([0.6, 0.8, 0.8], [0.6, 0.6]))


def test_a_lucky_representative_is_no_verdict() -> None:
    """McNemar alone shows the pair of representatives to differ; over seeds there is no difference."""
    good, bad = paired(60, 20, both=100, neither=20)
    first, second = stats.Models(np.array([good, bad]), 0), stats.Models(np.array([good, bad]), 1)
    row = stats.pairs({"a": first, "b": second}, np.random.default_rng(0), 500).iloc[0]
    assert row["holm_p"] < 0.001
    assert row["low"] < 0 < row["high"]
    assert row["verdict"] == stats.TIE


def test_what_one_test_shows_many_do_not() -> None:
    first, second = paired(20, 8, both=72)
    assert stats.mcnemar(first, second) < 0.05
    one = stats.pairs(models(a=first, b=second), np.random.default_rng(0), 500)
    many = stats.pairs(models(a=first, b=second, c=first, d=first), np.random.default_rng(0), 500)
    assert one["verdict"].tolist() == ["a"]
    assert set(many["verdict"]) == {"tie"}


def test_one_model_has_no_pairs() -> None:
    table = stats.pairs(models(gru=np.array([True])), np.random.default_rng(0))
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert {"difference", "holm_p", "verdict"} <= set(table.columns)
