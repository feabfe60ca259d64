"""Statistics against closed forms, enumeration and simulation; coverage of every interval."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import learned_opt.eval.statistics._bootstrap
from learned_opt.eval.statistics._bootstrap import (
    bootstrap,
    geometric_ratio,
    interquartile_mean,
    probability_of_improvement,
)
from learned_opt.eval.statistics._time_to_target import censored_speedup, speedup
from learned_opt.eval.statistics._tuning_cost import break_even, expected_best

INF, NAN = np.inf, np.nan
EXPERIMENTS = 400


def mean(x):
    return x.mean((-2, -1))


def full(value, shape=(2, 6)):
    return np.full(shape, float(value))


# --- ratios and means --------------------------------------------------------------------------


def test_geometric_ratio_of_constant_ratios_is_exact():
    theirs = np.random.default_rng(0).uniform(0.1, 1, (3, 10))
    mid, low, high = geometric_ratio(0.8 * theirs, theirs)
    np.testing.assert_allclose([mid, low, high], 0.8, rtol=1e-12)


@pytest.mark.parametrize("lost", [INF, NAN])
def test_geometric_ratio_counts_diverged_runs(lost):
    assert geometric_ratio(full(lost), full(1)).mid == pytest.approx(1000)
    assert geometric_ratio(full(7), full(lost)).mid == pytest.approx(1e-3)
    assert geometric_ratio(full(lost), full(lost)).mid == 1.0
    some = full(1)
    some[0, 0] = lost
    assert geometric_ratio(some, full(1)).mid == pytest.approx(1000 ** (1 / 12))


def test_interquartile_mean():
    assert interquartile_mean(np.arange(8.0).reshape(2, 4)) == pytest.approx(3.5)
    # n = 5: the middle half is [1.25, 3.75] of [0, 5]: weights .75, 1, .75 of 2.5.
    x = np.array([[0.0, 1.0, 10.0, 100.0, 1000.0]])
    assert interquartile_mean(x) == pytest.approx((0.75 * 1 + 10 + 0.75 * 100) / 2.5)


@pytest.mark.parametrize("n", range(1, 14))
def test_interquartile_mean_is_that_of_each_value_taken_four_times(n):
    """Fourfold, the quarters have whole lengths and trimming needs no weights."""
    x = np.random.default_rng(n).normal(size=(1, n))
    want = stats.trim_mean(np.repeat(x, 4), 0.25)
    assert interquartile_mean(x) == pytest.approx(want, rel=1e-12)


def test_infinities_in_the_outer_quarters_change_no_interquartile_mean():
    x = np.array([[-INF, -INF, 1, 2, 3, 5, INF, INF]])
    assert interquartile_mean(x) == 2.75
    x[0, 2] = -INF
    assert interquartile_mean(x) == -INF


# --- bootstrap ---------------------------------------------------------------------------------


def test_bootstrap_is_stratified():
    """Tasks that differ by far but never within themselves have an interval of zero width."""
    x = np.array([[0.0] * 10, [100.0] * 10])
    np.testing.assert_array_equal(bootstrap(x, mean), [50, 50, 50])
    assert probability_of_improvement(x, x[::-1]) == (0.5, 0.5, 0.5)


def test_bootstrap_of_two_seeds_is_the_binomial():
    """Seeds 0 and 1: means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4; errors within 4 sigma."""
    draws = []
    bootstrap(np.array([[0.0, 1.0]]), lambda x: draws.append(mean(x)) or mean(x))
    counts = np.array([(draws[0] == value).sum() for value in (0, 0.5, 1)])
    expected = learned_opt.eval.statistics._bootstrap.RESAMPLES * np.array([0.25, 0.5, 0.25])
    assert (abs(counts - expected) < 4 * np.sqrt(expected)).all()


def test_bootstrap_is_paired():
    """A large difference between seeds that both sides share cancels."""
    rng = np.random.default_rng(0)
    theirs = np.exp(3 * rng.normal(size=(3, 10)))
    mid, low, high = geometric_ratio(theirs * np.exp(0.01 * rng.normal(size=(3, 10))), theirs)
    assert 0.99 < low < mid < high < 1.01


def test_bootstrap_calls_its_statistic_once_for_all_resamples():
    shapes = []
    bootstrap(np.zeros((12, 10)), lambda x: shapes.append(x.shape) or mean(x))
    assert sorted(shapes, key=len) == [
        (12, 10),
        (learned_opt.eval.statistics._bootstrap.RESAMPLES, 12, 10),
    ]


def test_equal_inputs_give_equal_results():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 100, (2, 3, 10))
    for function in (geometric_ratio, probability_of_improvement, speedup):
        assert function(a, b) == function(a.copy(), b.copy())
    assert censored_speedup(a, b, 150, 100) == censored_speedup(a.copy(), b.copy(), 150, 100)


# --- probability of improvement ----------------------------------------------------------------


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 6, (2, 4, 7)).astype(float)  # many ties
    want = [
        stats.mannwhitneyu(b, a).statistic / 49 for a, b in zip(ours, theirs, strict=True)
    ]  # scipy counts b > a
    found = probability_of_improvement(ours, theirs)
    assert found.mid == pytest.approx(np.mean(want), rel=1e-12)
    assert found.low < found.mid < found.high


def test_probability_of_improvement_of_ties_and_misses():
    assert probability_of_improvement(full(1), full(1)) == (0.5, 0.5, 0.5)
    assert probability_of_improvement(full(1), full(2)) == (1, 1, 1)
    assert probability_of_improvement(full(1), full(NAN)) == (1, 1, 1)
    assert probability_of_improvement(full(INF), full(2)) == (0, 0, 0)
    assert probability_of_improvement(full(INF), full(NAN)) == (0.5, 0.5, 0.5)


def test_probability_of_improvement_resamples_each_side_on_its_own():
    """Ours 0 and 2, theirs 1 and 3: 2, 2 meets 1, 1 in 1 of 16 resamples, so the 2.5 % point is 0.

    Were the same seeds drawn for both, the lowest resample would have 3/4.
    """
    assert probability_of_improvement([[0, 2]], [[1, 3]]) == (0.75, 0.0, 1.0)


# --- coverage ----------------------------------------------------------------------------------


def check_coverage(monkeypatch, experiment, truth, low, high):
    """Intervals of 400 experiments hold the truth with probability in [low, high], to 3 sigma."""
    monkeypatch.setattr(learned_opt.eval.statistics._bootstrap, "RESAMPLES", 1000)
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(EXPERIMENTS):
        found = experiment(rng)
        hits += found[-2] <= truth <= found[-1]
    errors = [3 * math.sqrt(p * (1 - p) / EXPERIMENTS) for p in (low, high)]
    assert low - errors[0] <= hits / EXPERIMENTS <= high + errors[1]


# Ten seeds: the bootstrap's variance is 9/10 of the unbiased one, whose quotients have Student's
# distribution with 3 x 9 degrees of freedom. So 95 % are in truth 92.6 %.
NARROW = float(2 * stats.t.cdf(1.96 * math.sqrt(0.9), 27) - 1)
SHIFTS = np.array([[-0.5], [0.0], [0.5]])


def test_coverage_of_the_mean(monkeypatch):
    check_coverage(
        monkeypatch, lambda rng: bootstrap(rng.normal(size=(3, 10)), mean), 0, NARROW, NARROW
    )


def test_coverage_of_the_geometric_ratio(monkeypatch):
    def experiment(rng):
        theirs = np.exp(rng.normal(size=(3, 10)))
        return geometric_ratio(theirs * np.exp(rng.normal(-0.2, 0.3, (3, 10))), theirs)

    check_coverage(monkeypatch, experiment, np.exp(-0.2), NARROW, NARROW)


def test_coverage_of_the_interquartile_mean(monkeypatch):
    """Tasks apart; the population's is 0 by symmetry."""

    def experiment(rng):
        return bootstrap(SHIFTS + rng.normal(size=(3, 10)), interquartile_mean)

    check_coverage(monkeypatch, experiment, 0, NARROW, 0.95)


def test_coverage_of_the_pooled_speedup(monkeypatch):
    """Scores symmetric about 0.4, clip included: the upper clip of 2 and a lower one of -1.2."""

    def experiment(rng):
        ours = 100 * np.exp2(rng.normal(size=(3, 10)))
        gain = 0.4 + np.clip(SHIFTS + rng.normal(size=(3, 10)), -1.6, 1.6)
        return speedup(ours, ours * np.exp2(gain))

    check_coverage(monkeypatch, experiment, 2**0.4, NARROW, 0.95)


def test_coverage_of_the_probability_of_improvement(monkeypatch):
    """Normal losses 0.7 deviations apart: P = Phi(0.7 / sqrt 2)."""

    def experiment(rng):
        return probability_of_improvement(*rng.normal([[[0]], [[0.7]]], 1, (2, 3, 10)))

    check_coverage(monkeypatch, experiment, stats.norm.cdf(0.7 / math.sqrt(2)), NARROW, 0.95)


def test_coverage_of_the_probability_of_improvement_of_like_pairs_is_no_lower(monkeypatch):
    """Losses of a pair correlate by 0.8, as those that share weights and data do."""

    def experiment(rng):
        common = rng.normal(size=(3, 10))
        own = rng.normal(size=(2, 3, 10))
        return probability_of_improvement(
            *(math.sqrt(0.8) * common + math.sqrt(0.2) * own + [[[0]], [[0.7]]])
        )

    check_coverage(monkeypatch, experiment, stats.norm.cdf(0.7 / math.sqrt(2)), 0.95, 1)


def test_coverage_of_the_censored_speedup_is_no_lower(monkeypatch):
    def experiment(rng):
        ours = 60 * np.exp2(0.5 * rng.normal(size=(3, 10)))
        theirs = 60 * np.exp2(0.6 + SHIFTS + 0.5 * rng.normal(size=(3, 10)))
        ours, theirs = np.where(ours > 150, INF, ours), np.where(theirs > 100, INF, theirs)
        found = censored_speedup(ours, theirs, 150, 100)
        return found.low, found.high

    check_coverage(monkeypatch, experiment, 2**0.6, 0.95, 1)


# --- tuning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [[3, 1, 2, 2, 5], [0.5], [2, INF, 1, NAN, 4], [INF, NAN]])
def test_expected_best_is_the_mean_over_all_orders(losses):
    clean = [x if math.isfinite(x) else INF for x in losses]
    orders = np.array(list(itertools.permutations(clean)))
    want = np.minimum.accumulate(orders, axis=1).mean(0)
    np.testing.assert_allclose(expected_best(losses), want, rtol=1e-12)


def test_expected_best_of_the_numbers_1_to_n():
    """The expected minimum of k of 1..n is (n + 1) / (k + 1)."""
    found = expected_best(np.random.default_rng(0).permutation(np.arange(1.0, 101)))
    np.testing.assert_allclose(found, 101 / np.arange(2, 102), rtol=1e-12)


def test_break_even():
    assert break_even(1e6, 21 * 3 * 1000) == pytest.approx(1e6 / 63_000)
    assert break_even(1e6, 2000, 1000) == 1000
    assert break_even(1e6, 0) == INF
    assert break_even(1e6, 1000, 2000) == INF


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [geometric_ratio, probability_of_improvement, speedup])
@pytest.mark.parametrize(
    ("ours", "theirs"), [((2, 3), (2, 4)), ((3,), (3,)), ((1, 2, 3), (1, 2, 3)), ((0, 3), (0, 3))]
)
def test_shapes_that_differ_are_refused(function, ours, theirs):
    with pytest.raises(ValueError, match=r"arrays \(tasks, seeds\) of one shape, got"):
        function(np.ones(ours), np.ones(theirs))


def test_a_loss_of_zero_counts_as_the_smallest_float32():
    smallest = float(np.finfo(np.float32).tiny)
    assert geometric_ratio(full(0), full(1)).mid == pytest.approx(smallest, rel=1e-9)
    assert geometric_ratio(full(2), full(0)).mid == pytest.approx(2 / smallest, rel=1e-9)
    assert geometric_ratio(full(0), full(0)).mid == 1.0
    assert geometric_ratio(full(NAN), full(0)).mid == pytest.approx(1000)


def test_what_has_no_logarithm_is_refused():
    with pytest.raises(ValueError, match=r"losses must not be negative.* got -2"):
        geometric_ratio([[1.0, -2.0]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"steps to target must be above zero.* got 0"):
        speedup([[1.0, 2.0]], [[0.0, 1.0]])
