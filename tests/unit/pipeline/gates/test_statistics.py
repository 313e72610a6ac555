"""Error rates, shown by simulation: equal models must rarely be called different, and rows must not be resampled."""

import numpy as np
import pytest

from pipeline.gates import statistics

REPLICATIONS = 1500
DAY_EFFECT, ROW_NOISE = 0.16, 0.4


def equal_models(days: int, *, skewed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Loss differences (rows, replications) whose true mean is zero, and the rows of each day.

    A day has an effect that all its rows share, and each row its own noise; days have 30 to 200 rows.
    """
    random = np.random.default_rng(1)
    rows = np.clip(random.normal(100, 40, days), 30, 200).astype(int)
    shape = (days, REPLICATIONS)
    effect = random.exponential(1, shape) - 1 if skewed else random.normal(0, 1, shape)
    noise = random.normal(0, ROW_NOISE, (rows.sum(), REPLICATIONS))
    return DAY_EFFECT * np.repeat(effect, rows, axis=0) + noise, rows


def by_day(difference: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts (days, replications), as the block bootstrap takes them."""
    starts = np.concatenate([[0], np.cumsum(rows)[:-1]])
    return np.add.reduceat(difference, starts, axis=0), np.repeat(rows[:, None], difference.shape[1], axis=1).astype(
        float
    )


def sums_of_days(days: int, **shape: bool) -> tuple[np.ndarray, np.ndarray]:
    return by_day(*equal_models(days, **shape))


@pytest.mark.parametrize("days", [20, 28])
def test_equal_models_raise_a_false_alarm_in_3_to_7_percent_of_holdouts(days):
    boot = statistics.bootstrap(*sums_of_days(days), resamples=2000, seed=3)
    assert 0.03 <= (boot.lower(0.95) > 0).mean() <= 0.07, "called worse"
    assert 0.03 <= (boot.upper(0.95) < 0).mean() <= 0.07, "called better"


def test_the_two_sided_interval_misses_an_equal_model_in_3_to_7_percent():
    low, high = statistics.bootstrap(*sums_of_days(28), resamples=2000, seed=3).interval(0.95)
    assert 0.03 <= ((low > 0) | (high < 0)).mean() <= 0.07


def test_a_few_very_bad_days_do_not_more_than_double_the_false_alarms():
    boot = statistics.bootstrap(*sums_of_days(28, skewed=True), resamples=2000, seed=3)
    assert (boot.lower(0.95) > 0).mean() <= 0.10
    assert (boot.upper(0.95) < 0).mean() <= 0.10


def test_resampling_rows_cries_wolf_on_the_same_equal_models():
    difference = equal_models(28)[0][:, :200]
    random = np.random.default_rng(2)
    weights = np.stack(
        [
            np.bincount(drawn, minlength=len(difference))
            for drawn in random.integers(0, len(difference), (400, len(difference)))
        ]
    )
    low, high = np.quantile(weights @ difference / len(difference), [0.05, 0.95], axis=0)
    assert (low > 0).mean() > 0.25
    assert (high < 0).mean() > 0.25


def test_a_real_difference_is_found():
    sums, rows = sums_of_days(28)
    boot = statistics.bootstrap(sums + 0.16 * rows, rows, resamples=500, seed=3)
    assert (boot.lower(0.95) > 0).mean() > 0.99


def test_the_same_seed_gives_the_same_bounds():
    sums, rows = sums_of_days(20)
    one, other = (statistics.bootstrap(sums[:, :5], rows[:, :5], resamples=400, seed=7) for _ in range(2))
    assert (one.lower(0.95) == other.lower(0.95)).all()


def test_identical_models_have_no_difference_and_no_doubt():
    boot = statistics.bootstrap(np.zeros((28, 1)), np.full((28, 1), 100.0), resamples=300, seed=1)
    assert boot.lower(0.95)[0] == boot.upper(0.95)[0] == 0


def test_many_small_blocks_are_resampled_a_few_at_a_time(monkeypatch):
    sums, rows = sums_of_days(28)
    whole = statistics.bootstrap(sums[:, :3], rows[:, :3], resamples=200, seed=4)
    monkeypatch.setattr(statistics, "_CELLS", 28 * 7)
    parts = statistics.bootstrap(sums[:, :3], rows[:, :3], resamples=200, seed=4)
    assert parts.pivots.shape == whole.pivots.shape
    assert np.abs(parts.lower(0.95) - whole.lower(0.95)).max() < whole.error.max()


def test_one_false_alarm_over_sixty_equal_slices_is_rare():
    sums, rows = sums_of_days(28)
    p = statistics.bootstrap(sums, rows, resamples=2000, seed=3).p_above(0.0)
    families = p.reshape(-1, 60)
    alarmed = [(statistics.holm(family) <= 0.05).any() for family in families]
    assert np.mean(alarmed) <= 0.20  # 25 families: one in twenty is expected


def test_a_clear_harm_is_resolved_among_a_hundred_and_fifty_slices():
    sums, rows = sums_of_days(28)
    sums[:, 0] += 0.32 * rows[:, 0]
    p = statistics.bootstrap(sums[:, :150], rows[:, :150], resamples=2000, seed=3).p_above(0.0)
    assert statistics.holm(p)[0] < 0.01


def test_holm_multiplies_the_smallest_most_and_never_reorders():
    assert statistics.holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])


def test_a_shift_of_every_day_is_significant_and_noise_is_not():
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, 28)
    assert statistics.sign_flip_p(noise - noise.mean() + 1.0) < 0.001
    assert statistics.sign_flip_p(noise - noise.mean()) > 0.9


def test_sign_flips_of_equal_scores_are_not_significant():
    assert statistics.sign_flip_p(np.zeros(28)) == 1.0


def test_four_times_the_days_halve_the_half_width():
    narrow, wide = statistics.half_width(0.01, 28, np.array([4000, 1000]), 0.95)
    assert wide / narrow == pytest.approx(2, rel=0.01)


def test_as_many_blocks_as_needed_detect_the_margin():
    needed = statistics.blocks_needed(0.004, 28, 0.005, 0.95)
    error = 0.004 * np.sqrt(28 / needed)
    assert statistics.detectable(error, needed, 0.95) == pytest.approx(0.005, rel=0.02)


def test_the_error_of_days_of_equal_size_is_that_of_their_means():
    means = np.random.default_rng(0).normal(0, 1, (28, 3))
    boot = statistics.bootstrap(means * 50, np.full((28, 3), 50.0), resamples=200, seed=1)
    assert boot.error == pytest.approx(means.std(axis=0, ddof=1) / np.sqrt(28))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_significant_p_never_contradicts_the_bound_even_where_days_are_skewed(sign):
    sums, rows = sums_of_days(28, skewed=True)
    boot = statistics.bootstrap(sign * sums, rows, resamples=2000, seed=3)
    significant = boot.p_above(0.0) < 0.05
    assert significant.any()
    assert (boot.lower(0.95)[significant] > 0).all()
