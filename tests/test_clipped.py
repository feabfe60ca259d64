"""Ratios that no single task can buy, and what equal numbers of trials buy."""

import itertools
import math

import numpy as np
import pytest

import learned_opt.eval.statistics._bootstrap
from learned_opt.eval.statistics import (
    best_of_all,
    budget,
    clipped_ratio,
    geometric_ratio,
    median_ratio,
)
from learned_opt.eval.statistics._budgets import best_of

INF, NAN = np.inf, np.nan
TASKS, SEEDS = 12, 10


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(learned_opt.eval.statistics._bootstrap, "RESAMPLES", 500)


def ones(*shape):
    return np.ones(shape or (TASKS, SEEDS))


# --- clipped ratios ----------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "counts"), [(0.8, 0.8), (2, 2), (0.1, 0.5), (1e9, 2), (0, 0.5)])
def test_a_constant_ratio_is_itself_up_to_a_factor_of_two(ratio, counts):
    theirs = np.random.default_rng(0).uniform(0.1, 1, (3, SEEDS))
    for found in (clipped_ratio(ratio * theirs, theirs), median_ratio(ratio * theirs, theirs)):
        np.testing.assert_allclose(found, counts, rtol=1e-12)


def test_each_pair_is_clipped_and_not_the_mean():
    """log ratios log 8 and -log 2 count as log 2 and -log 2."""
    assert clipped_ratio([[8.0, 0.5]], [[1.0, 1.0]]).mid == pytest.approx(1.0)
    assert geometric_ratio([[8.0, 0.5]], [[1.0, 1.0]]).mid == pytest.approx(2.0)


@pytest.mark.parametrize("lost", [INF, NAN])
def test_a_diverged_run_counts_as_a_factor_of_two(lost):
    assert clipped_ratio(lost * ones(), ones()).mid == pytest.approx(2)
    assert clipped_ratio(ones(), lost * ones()).mid == pytest.approx(0.5)
    assert clipped_ratio(lost * ones(), lost * ones()).mid == 1.0
    some = ones(1, SEEDS)
    some[0, 3] = lost
    assert clipped_ratio(some, ones(1, SEEDS)).mid == pytest.approx(2 ** (1 / SEEDS))


def test_a_task_whose_loss_goes_to_nothing_decides_nothing(few_resamples):
    """burgers-pinn at 1e-4 of the other's loss: log 2 / 12 of the mean, where it was 54 %."""
    ours = ones()
    ours[4] = 1e-4
    clipped = clipped_ratio(ours, ones())
    assert math.log(clipped.mid) == pytest.approx(-math.log(2) / TASKS, rel=1e-12)
    assert geometric_ratio(ours, ones()).mid == pytest.approx(1e-4 ** (1 / TASKS))
    assert median_ratio(ours, ones()) == (1.0, 1.0, 1.0)


def test_the_median_is_that_of_the_tasks(few_resamples):
    """Task means -log 2, 0, log 1.5: the second; of the two outer ones the middle."""
    ours = ones(3, SEEDS) * [[1e-3], [1.0], [1.5]]
    assert median_ratio(ours, ones(3, SEEDS)).mid == 1.0
    assert median_ratio(ours[::2], ones(2, SEEDS)).mid == pytest.approx(math.sqrt(0.75))


def test_coverage_of_the_clipped_ratio(monkeypatch):
    """Log ratios around -0.4, 0.2 and 0.6 on three tasks, of deviation 0.4, then clipped.

    Of ten seeds 92.6 % are to be expected, as of any mean; 400 experiments, to 3 sigma.
    """
    monkeypatch.setattr(learned_opt.eval.statistics._bootstrap, "RESAMPLES", 1000)
    means, rng = np.array([[-0.4], [0.2], [0.6]]), np.random.default_rng(1)
    clip = np.log(2)
    many = np.clip(means + 0.4 * rng.normal(size=(3, 200_000)), -clip, clip)
    truth, hits = math.exp(many.mean()), 0
    for _ in range(400):
        theirs = np.exp(rng.normal(size=(3, 10)))
        ours = theirs * np.exp(means + 0.4 * rng.normal(size=(3, 10)))
        found = clipped_ratio(ours, theirs)
        hits += found.low <= truth <= found.high
    error = 3 * math.sqrt(0.926 * 0.074 / 400)
    assert 0.926 - error <= hits / 400 <= 0.95 + error


def test_the_interval_is_paired(few_resamples):
    rng = np.random.default_rng(0)
    theirs = np.exp(3 * rng.normal(size=(3, 10)))
    found = clipped_ratio(theirs * np.exp(0.01 * rng.normal(size=(3, 10))), theirs)
    assert 0.99 < found.low < found.mid < found.high < 1.01


@pytest.mark.parametrize("function", [clipped_ratio, median_ratio])
def test_bad_losses_are_refused(function):
    with pytest.raises(ValueError, match=r"losses must not be negative.* got -2"):
        function([[1.0, -2.0]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"arrays \(tasks, seeds\) of one shape, got"):
        function(ones(2, 3), ones(2, 4))


# --- equal budgets -----------------------------------------------------------------------------


def by_enumeration(losses, reference, trials):
    """The mean over all draws, seed by seed, of the choice by the median of the other seeds."""
    found = []
    for seed in range(losses.shape[1]):
        rest = np.median(np.delete(losses, seed, 1), 1)
        logs = []
        for draw in itertools.combinations(range(len(losses)), trials):
            chosen = min(draw, key=lambda i: (rest[i], i))
            log = np.log(losses[chosen, seed] / reference[seed])
            logs.append(np.clip(log, -np.log(2), np.log(2)))
        found.append(np.mean(logs))
    return found


@pytest.mark.parametrize("trials", [1, 2, 3, 6])
def test_best_of_is_the_mean_over_all_draws(trials):
    rng = np.random.default_rng(0)
    losses = np.exp(0.7 * rng.normal(size=(6, 3)))
    losses[4, 1] = INF
    reference = np.array([0.6, 0.7, 0.8])
    want = by_enumeration(losses, reference, trials)
    np.testing.assert_allclose(best_of(losses, reference, trials), want, rtol=1e-12)


def test_more_trials_than_settings_are_all_of_them():
    losses = np.exp(np.random.default_rng(0).normal(size=(5, 3)))
    all_of_them = np.clip(np.log(best_of_all(losses)), -np.log(2), np.log(2))
    for trials in (5, 26):
        np.testing.assert_allclose(best_of(losses, np.ones(3), trials), all_of_them)


def test_the_reference_tuned_in_full_is_even(few_resamples):
    tables = [np.exp(np.random.default_rng(i).normal(size=(26, 3))) for i in range(4)]
    over = [best_of_all(table) for table in tables]
    assert budget(tables, over, [26] * 4) == (1.0, 1.0, 1.0)
    one, eight = (budget(tables, over, [k] * 4).mid for k in (1, 8))
    assert one > eight > 1


def test_one_task_moves_a_budget_by_no_more_than_its_share(few_resamples):
    tables = [np.ones((4, 3)) for _ in range(5)]
    over = [np.ones(3)] * 4 + [np.full(3, 1e-6)]
    assert budget(tables, over, [2] * 5).mid == pytest.approx(2 ** (1 / 5))


def test_the_first_of_a_fixed_order():
    """The second is better on every seed, the third worst."""
    losses = np.array([[1.0, 1.0, 1.0], [0.8, 0.9, 0.8], [3.0, 3.0, 3.0]])
    found = [best_of(losses[:k], np.ones(3), k) for k in (1, 2, 3)]
    np.testing.assert_allclose(found[0], 0)
    np.testing.assert_allclose(found[1], np.log([0.8, 0.9, 0.8]))
    np.testing.assert_allclose(found[2], found[1])


def test_runs_that_diverged_count_as_a_factor_of_two_and_two_as_even():
    lost = np.full((2, 3), NAN)
    np.testing.assert_allclose(best_of(lost, np.ones(3), 1), np.log(2))
    np.testing.assert_allclose(best_of(lost, np.full(3, INF), 1), 0)
    np.testing.assert_allclose(best_of(np.ones((2, 3)), np.full(3, INF), 1), -np.log(2))


@pytest.mark.parametrize("losses", [np.ones(3), np.ones((0, 3)), np.ones((4, 1))])
def test_tables_that_are_none_are_refused(losses):
    with pytest.raises(ValueError, match=r"losses must be an array \(settings, seeds\)"):
        best_of(losses, np.ones(3), 1)
