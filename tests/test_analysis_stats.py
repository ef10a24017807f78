"""Statistics against known answers: textbooks, scipy, and the coverage that an interval promises."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis import stats


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
    assert stats.bootstrap_difference(*correct, rng=np.random.default_rng(0)) == (0, 0, 0)
    assert stats.cohens_g(*correct) == 0


def test_the_bootstrap_resamples_pairs() -> None:
    """The same as drawing texts one by one, and as the normal interval where N is large."""
    first, second = paired(300, 200, both=1000, neither=500)
    found = stats.bootstrap_difference(first, second, np.random.default_rng(0), num_resamples=20_000)
    difference = first.astype(int) - second.astype(int)
    texts = np.random.default_rng(1).integers(0, 2000, size=(4000, 2000))
    slow = np.quantile(difference[texts].mean(axis=1), [0.025, 0.975])
    half = 1.96 * difference.std() / np.sqrt(2000)
    assert found.value == pytest.approx(0.05)
    assert found[1:] == pytest.approx(slow, abs=0.001)
    assert found[1:] == pytest.approx((0.05 - half, 0.05 + half), abs=0.001)


def test_the_bootstrap_covers_the_true_difference_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        kind = rng.choice(4, size=300, p=[0.15, 0.10, 0.6, 0.15])
        _, low, high = stats.bootstrap_difference((kind == 0) | (kind == 2), (kind == 1) | (kind == 2), rng, 500)
        covered += low <= 0.05 <= high
    assert 0.92 < covered / 400 < 0.98


def test_the_bootstrap_is_that_of_the_rng_given() -> None:
    def low(seed: int) -> float:
        return stats.bootstrap_difference(*paired(30, 20, 50), rng=np.random.default_rng(seed), num_resamples=50).low

    assert low(1) == low(1)
    assert len({low(seed) for seed in range(10)}) > 1


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([True], [True, False], "same texts; got 1 and 2"),
        ([1.0, 0.0], [True, False], "booleans; got float64"),
        ([[True]], [[True]], r"shape \(1, 1\)"),
        (np.zeros(0, dtype=bool), np.zeros(0, dtype=bool), "at least one text"),
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


def test_every_pair_with_a_verdict() -> None:
    rng = np.random.default_rng(0)
    strong, weak = paired(100, 40, both=200, neither=60)
    twin = strong.copy()
    twin[:2] = ~twin[:2]
    table = stats.pairs({"gru": strong, "rnn": weak, "=gru,2": twin}, rng)
    assert table[["first", "second"]].to_numpy().tolist() == [["gru", "rnn"], ["gru", "=gru,2"], ["rnn", "=gru,2"]]
    assert table["difference"].tolist() == pytest.approx([60 / 400, 2 / 400, -58 / 400])
    assert table["verdict"].tolist() == ["gru", "tie", "=gru,2"]
    assert table["p"].tolist() == [stats.mcnemar(strong, weak), 0.5, stats.mcnemar(weak, twin)]
    assert table["holm_p"].tolist() == pytest.approx(stats.holm(table["p"]))
    assert (table["low"] <= table["difference"]).all()
    assert (table["difference"] <= table["high"]).all()
    assert table.loc[0, ["num_texts", "only_first", "only_second"]].tolist() == [400, 100, 40]


def test_what_one_test_shows_many_do_not() -> None:
    first, second = paired(20, 8, both=72)
    assert stats.mcnemar(first, second) < 0.05
    assert stats.pairs({"a": first, "b": second}, np.random.default_rng(0))["verdict"].tolist() == ["a"]
    many = {"a": first, "b": second, "c": first, "d": first}
    assert set(stats.pairs(many, np.random.default_rng(0))["verdict"]) == {"tie"}


def test_one_model_has_no_pairs() -> None:
    table = stats.pairs({"gru": np.array([True])}, np.random.default_rng(0))
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert {"difference", "holm_p", "verdict"} <= set(table.columns)
