"""Time to target, speed-ups of runs that were cut, profiles: closed forms and brute force."""

import math

import numpy as np
import pytest

import learned_opt.eval.statistics._bootstrap
from learned_opt.eval.statistics._bootstrap import interquartile_mean
from learned_opt.eval.statistics._profiles import (
    area,
    gated,
    oracle,
    profile,
    time_ratios,
    typical_time,
)
from learned_opt.eval.statistics._time_to_target import (
    SHARES,
    Bounds,
    censored_speedup,
    ladder,
    score,
    speedup,
    steps_to_target,
    target,
)

INF, NAN = np.inf, np.nan


def full(value, shape=(2, 6)):
    return np.full(shape, float(value))


# --- targets -----------------------------------------------------------------------------------


def test_target_is_the_best_baselines_median_of_best_losses():
    assert target([[3, 1, 2], [9, 0.1, 2.5]]) == 2
    assert target([[1, 2, 3, 4]]) == 2.5
    assert target([[NAN, INF, 1], [4, 5, NAN]]) == 5  # a diverged run is the worst
    assert target([[NAN, INF, 1]]) == INF


def test_ladder_is_even_in_log_loss():
    first = [[1.0, 2.0, 4.0], [8.0, NAN, INF]]  # finite: median 3
    found = ladder(first, 0.03)
    np.testing.assert_allclose(np.log(found / 3) / np.log(0.03 / 3), SHARES, rtol=1e-12)
    assert SHARES == (0.5, 0.75, 0.9, 1.0)
    for hardest in np.random.default_rng(0).uniform(size=100):
        assert ladder(first, hardest)[-1] == hardest  # to the last bit: its setter hits it
    assert np.isinf(ladder(first, INF)).all()
    assert np.isinf(ladder([[NAN]], 1.0)).all()
    with pytest.raises(ValueError, match=r"must not be negative.* got -0.1"):
        ladder(first, -0.1)


def test_a_loss_of_zero_is_a_target_to_be_hit_and_counts_as_the_smallest_float32_on_the_way():
    found = ladder([[1.0]], 0.0)
    smallest = float(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(found[:3], smallest ** np.array(SHARES[:3]), rtol=1e-9)
    assert found[3] == 0
    np.testing.assert_array_equal(steps_to_target(np.array([1, 9]), np.array([1.0, 0.0]), 0.0), 9)
    assert np.isfinite(ladder([[0.0]], 0.0)).all()


def test_steps_to_target():
    steps = np.array([1, 10, 100])
    losses = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [3.0, -INF, INF], [NAN, NAN, 2.0]])
    np.testing.assert_array_equal(steps_to_target(steps, losses, 2.0), [10, 10, INF, 100])
    found = steps_to_target(steps, losses, np.array([3.0, 1.5, 3.0, 1.0]))
    np.testing.assert_array_equal(found, [1, 10, 1, INF])


@pytest.mark.parametrize("goal", [INF, NAN, -INF])
def test_everybody_misses_a_target_that_is_not_finite(goal):
    losses = np.array([1.0, INF, NAN, -INF])
    assert steps_to_target(np.arange(1, 5), losses, goal) == INF


# --- speed-up ----------------------------------------------------------------------------------


def test_score_of_hits_misses_and_clips():
    ours = [[100, 100, 100, 100, INF, INF, NAN]]
    theirs = [[200, 50, 1000, INF, 100, INF, NAN]]
    np.testing.assert_array_equal(score(ours, theirs), [[1, -1, 2, 2, -2, 0, 0]])


def test_a_longer_run_earns_no_score():
    """Theirs missed within their 100 steps; at 100 steps ours had missed as well."""
    found = score([[100, 101, 101, 101]], [[INF, INF, 100, NAN]], theirs_limit=100)
    np.testing.assert_allclose(found, [[2, 0, np.log2(100 / 101), 0]])
    found = score([[90, 90], [90, 90]], [[INF, INF], [INF, INF]], theirs_limit=[80, 100])
    np.testing.assert_array_equal(found, [[0, 0], [2, 2]])


def test_speedup_of_known_times():
    assert speedup(full(100), full(150)).mid == pytest.approx(1.5)
    assert speedup(full(100), full(INF)).mid == pytest.approx(4.0)
    assert speedup(full(NAN), full(150)).mid == pytest.approx(0.25)
    assert speedup(full(INF), full(INF)).mid == pytest.approx(1.0)
    assert speedup(full(150), full(INF), theirs_limit=100).mid == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "want", "text"),
    [
        (40, 60, (1.5, 1.5), "1.50x"),
        (5, 60, (12, 12), "12.00x"),  # no clip
        (40, INF, (2.5, INF), ">2.50x"),
        (125, INF, (0.8, INF), ">0.80x"),  # later than their limit: not known to be faster
        (INF, 90, (0, 0.6), "<0.60x"),
        (NAN, NAN, (0, INF), "unknown"),
    ],
)
def test_censored_speedup_of_one_kind_of_pair(ours, theirs, want, text):
    found = censored_speedup(full(ours), full(theirs), ours_limit=150, theirs_limit=100)
    assert (found.least, found.most) == pytest.approx(want)
    assert (found.low, found.high) == pytest.approx(want)
    assert found.text == text


def test_limits_may_differ_between_tasks():
    ours, theirs = np.array([[10.0], [10.0]]), full(INF, (2, 1))
    found = censored_speedup(ours, theirs, ours_limit=[300, 150], theirs_limit=[200, 100])
    assert found.least == pytest.approx(math.sqrt(20 * 10))


def test_misses_in_the_outer_quarters_do_no_harm():
    """Eight pairs, of which the middle four count, by hand."""
    ours = np.array([[40.0, 40, 40, 40, 40, 40, 5, 5]])
    theirs = np.array([[38.0, 40, 40, 50, 60, 70, INF, INF]])
    # Two misses, above 20, lie at the top whatever they are: the rest is measured.
    found = censored_speedup(ours, theirs, 150, 100)
    assert found.least == found.most == pytest.approx((1 * 1.25 * 1.5 * 1.75) ** 0.25)
    assert found.text == "1.35x"
    # A third one, above 2.5, leaves no upper bound.
    theirs[0, 5] = INF
    found = censored_speedup(ours, theirs, 150, 100)
    assert found.least == pytest.approx((1 * 1.25 * 1.5 * 2.5) ** 0.25)
    assert found.text == ">1.47x"
    # A single one, above 100 / 150, may lie at the bottom or at the top.
    ours[0, 7], theirs[0, 5:7] = 150, (70, 90)
    found = censored_speedup(ours, theirs, 150, 100)
    assert found.least == pytest.approx((1 * 1 * 1.25 * 1.5) ** 0.25)
    assert found.most == pytest.approx((1 * 1.25 * 1.5 * 1.75) ** 0.25)
    assert found.text == "1.17x to 1.35x"


def test_bounds_hold_what_was_not_seen_and_no_more(monkeypatch):
    """Cut runs whose times are known: the uncut result lies within, and both ends are reached."""
    monkeypatch.setattr(learned_opt.eval.statistics._bootstrap, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    open_above = open_below = 0
    for _ in range(200):
        true_ours = np.exp2(rng.uniform(4, 8.5, (2, 10)))
        true_theirs = np.exp2(rng.uniform(3, 8, (2, 10)) + rng.uniform(-1, 1))
        ours = np.where(true_ours > 150, INF, true_ours)
        theirs = np.where(true_theirs > 100, INF, true_theirs)
        found = censored_speedup(ours, theirs, 150, 100)
        truth = np.exp2(interquartile_mean(np.log2(true_theirs / true_ours)))
        assert found.low <= found.least <= truth * (1 + 1e-12)
        assert truth <= found.most * (1 + 1e-12) <= found.high * (1 + 1e-12)
        far = 1e200
        least = np.log2(np.minimum(theirs, 100)) - np.log2(np.minimum(ours, far))
        most = np.log2(np.minimum(theirs, far)) - np.log2(np.minimum(ours, 150))
        for bound, end, nothing in ((found.least, least, 0), (found.most, most, INF)):
            end = interquartile_mean(end)
            assert bound == (nothing if abs(end) > 30 else pytest.approx(np.exp2(end)))
        open_above += np.isinf(found.most)
        open_below += found.least == 0
    assert 20 < open_above < 180
    assert 20 < open_below < 180


def test_text_of_a_speedup():
    assert Bounds(0.5, 0.9, 1.2, 2.0).text == "0.90x to 1.20x"
    assert Bounds(0.5, 0.901, 0.902, 2.0).text == "0.90x"
    assert Bounds(0.0, 0.0, INF, INF).text == "unknown"


def test_times_beyond_their_limit_are_refused():
    with pytest.raises(ValueError, match="ours has a time of 160 steps beyond ours_limit, 150"):
        censored_speedup([[160.0]], [[50.0]], 150, 100)
    with pytest.raises(ValueError, match="theirs has a time of 101 steps beyond theirs_limit, 100"):
        censored_speedup([[160.0], [1.0]], [[50.0], [101.0]], [200, 150], 100)
    with pytest.raises(ValueError, match="theirs_limit must be finite"):
        censored_speedup([[160.0]], [[INF]], 200, INF)


# --- performance profile -----------------------------------------------------------------------


def test_typical_time_is_when_half_of_the_seeds_are_there():
    np.testing.assert_array_equal(typical_time([[4, 3, INF, NAN], [1, INF, NAN, INF]]), [4, INF])
    assert typical_time([5, 1, 3]) == 3
    # Whoever sets the target reaches it, however many seeds there are.
    rng = np.random.default_rng(0)
    for seeds in range(1, 12):
        losses = rng.uniform(size=(seeds, 20))
        times = steps_to_target(np.arange(1, 21), losses, target([losses.min(-1)]))
        assert np.isfinite(typical_time(times))


def test_time_ratios():
    times = np.array([[[10, 12, 14], [INF, INF, 9]], [[24, 24, NAN], [INF, NAN, INF]]])
    np.testing.assert_array_equal(time_ratios(times), [[1, INF], [2, INF]])
    np.testing.assert_array_equal(time_ratios(times[::-1]), [[2, INF], [1, INF]])
    with pytest.raises(ValueError, match="above zero, got 0"):
        time_ratios([[[0.0]]])


def test_profile_is_the_share_of_tasks():
    found = profile([[1, 2, INF, NAN], [3, 1, 1, 1]], [1, 1.9, 2, 3, 1e9])
    np.testing.assert_array_equal(found, [[0.25, 0.25, 0.5, 0.5, 0.5], [0.75, 0.75, 0.75, 1, 1]])


def test_area_is_the_integral_of_the_profile():
    """The profile is constant between ratios, so the sum of its rectangles is exact."""
    rng = np.random.default_rng(0)
    ratios = np.exp(rng.exponential(1.0, (50, 7)))
    ratios[:, 0], ratios[:, 1] = 1, INF
    for row, found in zip(ratios, area(ratios), strict=True):
        edges = np.unique(np.clip([1, 4, *row], 1, 4))
        integral = (profile(row, edges[:-1]) * np.diff(edges)).sum() / 3
        assert found == pytest.approx(integral, rel=1e-12)
    assert area([1, 1]) == area([0.5, 0.5]) == 1
    assert area([4, INF, NAN]) == 0


def test_gated_area_counts_a_task_as_missed_if_a_variant_is():
    ratios = np.array([[1.0, 1.0, 1.0, 2.5], [1.0, 1.0, 1.0, 1.0]])
    variants = np.array(
        [[[4, 4.1, 1, 1], [1, 1, 1, 1]], [[1, 1, NAN, 3], [INF, 1, 1, 1]]],
        dtype=float,
    )
    found = gated(ratios, variants)
    np.testing.assert_array_equal(found, [[1, INF, INF, 2.5], [INF, 1, 1, 1]])
    np.testing.assert_allclose(area(found), [(1 + 0.5) / 4, 0.75])


def test_oracle_takes_the_lowest_median_of_each_task():
    losses = np.array([[[1, 9, 2], [1, NAN, INF]], [[3, 3, 3], [5, 5, 5]]])
    np.testing.assert_array_equal(oracle(losses), [0, 1])
    np.testing.assert_array_equal(losses[oracle(losses), np.arange(2)], [[1, 9, 2], [5, 5, 5]])


def test_oracle_is_biased_in_favour_of_baselines():
    """Ten equal baselines, one normal loss each: the least of ten has mean -1.539 (to 4 sigma)."""
    losses = np.random.default_rng(0).normal(size=(10, 4000, 1))
    found = losses[oracle(losses), np.arange(4000)].mean()
    assert abs(found + 1.539) < 4 * 0.59 / math.sqrt(4000)
