"""Exact gradients blended with evolution strategies, against closed forms and a NumPy reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimates import ES, HORIZON, LR, SIGMA, START, STEPS, THETA, draw, problem
from problems import (
    FINAL,
    FLOOR,
    InfluenceOptimizer,
    LearnedSGD,
    Quadratics,
    influence_family,
    influence_gradients,
)

from learned_opt.meta_train import Blend, FullES, Objective

SLOPE = (
    lambda p: -p / (0.5 * p**2 + 1 + FLOOR) * START * STEPS * (1 - LR) ** (STEPS - 1)
)(START * (1 - LR) ** STEPS)  # fmt: skip
"""d meta-loss / d lr at LR."""


def test_mean_and_variance_are_those_of_the_weights():
    """To leading order b = s and a = s z^2, so A = 3 s^2, B = s^2, w = 3/4: mean s, and variance
    2 (s / 4)^2 / N, a sixteenth of that of ES."""
    grads = draw(Blend(**ES, shortest=1.0), 3000)[0][20:, 0]
    error = grads.std() / np.sqrt(len(grads))
    assert abs(grads.mean() - SLOPE) < 4 * error + 2e-3 * abs(SLOPE)
    # Variances of chi-squared means: relative error 4 %; w is known to a few hundredths.
    np.testing.assert_allclose(grads.var(), SLOPE**2 / 8 / ES["pairs"], rtol=0.25)


def test_it_is_unbiased_for_the_smoothed_gradient():
    """With a large sigma: E[L(lr + sigma z) z] / sigma by quadrature, within 3 standard errors."""
    sigma = 0.02
    z, w = np.polynomial.hermite_e.hermegauss(64)
    losses = np.log(0.5 * (START * (1 - LR - sigma * z) ** STEPS) ** 2 + 1 + FLOOR)
    want = np.sum(w * losses * z) / sigma / np.sqrt(2 * np.pi)
    assert abs(want / SLOPE - 1) > 0.02  # smoothing shows
    grads = draw(Blend(pairs=64, sigma=sigma, **HORIZON, shortest=1.0), 1500)[0][:, 0]
    error = grads.std() / np.sqrt(len(grads))
    assert abs(grads.mean() - want) < 3 * error
    assert error < 0.003 * abs(want)


def test_it_sees_the_long_run_of_influence_balancing():
    """Within 3.5 standard errors of the gradient of the whole run, and nearer than ES."""
    horizon = 150
    whole, within = influence_gradients(horizon, 5)
    assert whole > 0 > within
    objective = Objective(valid=0.0, mean=0.0, steps=1.0, log=False)
    system, theta = (
        problem(objective, influence_family(), InfluenceOptimizer()),
        {"u": jnp.zeros(())},
    )
    settings = {"pairs": 16, "sigma": 1e-3, "horizon": (horizon, horizon), "shortest": 1.0}
    errors = []
    for make in (FullES, Blend):
        grads = draw(make(**settings), 60, system, theta)[0][5:, 0]
        errors.append(grads.std() / np.sqrt(len(grads)))
        assert abs(grads.mean() - whole) < 3.5 * errors[-1] + 1e-2 * abs(whole)
    assert errors[1] < 0.5 * errors[0]


def reference(estimator, lr, count, explode):
    """The docstring in float64 at a theta that does not move, and runs counted as not finite."""
    n, sigma = estimator.pairs, estimator.sigma
    key, es, exact, found = jax.random.split(jax.random.key(0))[1], 0.0, 0.0, []
    for t in range(count):
        pair_key = jax.random.split(jax.random.fold_in(key, t))[1]
        keys = [jax.random.split(jax.random.fold_in(pair_key, i), 4)[1] for i in range(n)]
        noise = sigma * np.array([jax.random.normal(k, (1,))[0] for k in keys], np.float64)
        sides = lr + np.array([1, -1]) * noise[:, None]
        p = START * (1 - sides) ** STEPS
        plain = 0.5 * p**2 + 1
        lost = explode & (sides > 0.4)
        capped = lost | (plain > 4)
        losses = np.where(capped, np.log(4 + FLOOR), np.log(plain + FLOOR))
        slopes = -p / (plain + FLOOR) * START * STEPS * (1 - sides) ** (STEPS - 1)
        slopes = np.where(capped, 0.0, slopes)
        a = noise * (losses[:, 0] - losses[:, 1]) / (2 * sigma**2)
        b = slopes.mean(1)
        before = es, exact
        es = 0.9 * es + 0.1 * np.mean(a**2)
        mean = es / (1 - 0.9 ** (t + 1))
        useful = ~lost.any(1) & (b**2 <= mean)
        w = before[0] / sum(before) if t else 0.0
        found.append((np.mean(np.where(useful, w * b + (1 - w) * a, a)), lost.sum()))
        exact = 0.9 * exact + 0.1 * np.mean(np.where(useful, b**2, 10 * mean))
    return np.array(found, np.float64).T, (~useful).sum()


@pytest.mark.parametrize(("lr", "sigma", "explode"), [(0.39, 0.02, True), (1.95, 0.08, False)])
def test_runs_that_explode_are_left_to_es(lr, sigma, explode):
    """Not finite above 0.4; from 2 on the loss grows twentyfold until it is capped."""
    estimator = Blend(pairs=32, sigma=sigma, **HORIZON, shortest=1.0)
    system = problem(optimizer=LearnedSGD(explode=explode))
    grads, _, lost = draw(estimator, 6, system, {"lr": jnp.asarray(lr)})
    want, left = reference(estimator, lr, 6, explode)
    assert 0 < left < 32
    np.testing.assert_allclose(grads[:, 0], want[0], rtol=2e-3, atol=1e-4)
    np.testing.assert_array_equal(lost, want[1])


def test_long_runs_and_the_first_estimate_are_full_es():
    """Same keys, same runs, whatever the horizon; what is remembered is of short runs alone."""
    noisy = problem(family=Quadratics(jnp.asarray(2.0), noisy=True))
    settings = {"pairs": 8, "sigma": 0.05, "horizon": (5, 20)}
    plain, mixed = (
        draw(make, 12, noisy)[0][:, 0] for make in (FullES(**settings), Blend(**settings, exact=9))
    )
    same = np.isclose(plain, mixed, rtol=1e-5)
    # Log-uniform: log(9.5 / 5) / log(4) = .46 of the estimates are short, and blended.
    assert same[0]
    assert 3 <= same.sum() <= 10
    assert Blend(**settings, exact=9).in_words() == "runs of 5 to 20 steps, exact up to 9"


def test_with_a_scale_both_ways_are_free_of_the_scale_of_losses():
    estimator = Blend(**ES, shortest=1.0, scale="family")
    one, many = (draw(estimator, 8, problem(Objective(v, mean=0.0)))[0] for v in (1.0, 100.0))
    np.testing.assert_allclose(one, many, rtol=2e-4)
    # The slope over the root mean square of differences, 2 sigma |s|.
    np.testing.assert_allclose(one[3:].mean(), np.sign(SLOPE) / (2 * SIGMA), rtol=0.1)
    flat = draw(estimator, 3, problem(FINAL), {"lr": jnp.asarray(5.0)})[0]
    np.testing.assert_array_equal(flat, 0.0)  # all runs at the cap


def test_what_cannot_be_blended_is_refused():
    with pytest.raises(ValueError, match=r"exact must be at least the shortest horizon \(100\)"):
        Blend(exact=50)
    with pytest.raises(ValueError, match="scale must be 'family' or 'none', got 'sign'"):
        Blend(scale="sign")
    assert Blend(horizon=(10, 10**8), exact=10_000).kept == 201
    assert THETA["lr"].ndim == 0
