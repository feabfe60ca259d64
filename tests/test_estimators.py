"""Estimates by evolution strategies against closed forms: mean, variance, bias, credit."""

import jax.numpy as jnp
import numpy as np
import pytest
from estimates import (
    ALONG,
    ES,
    HORIZON,
    LENGTH,
    LOCKSTEP,
    LR,
    PAIRS,
    START,
    STEPS,
    draw,
    parts,
    problem,
)
from problems import (
    FINAL,
    FLOOR,
    InfluenceOptimizer,
    Quadratics,
    influence_family,
    influence_gradients,
)

from learned_opt.meta_train import (
    NRES,
    PES,
    TBPTT,
    Backprop,
    ESSingle,
    FullES,
    Objective,
    TruncatedES,
)
from research.signal import split


def distinct(estimator):
    """u[k, j]: whether truncation j's perturbation is in the credit of truncation k, and
    s[j, i]: whether the i-th draw is in force in truncation j."""
    n = STEPS // LENGTH
    if isinstance(estimator, TruncatedES):
        return np.eye(n), np.eye(n)
    period = estimator.reuse or n
    force = np.array([[j // period == i for i in range(n)] for j in range(n)], float)
    credit = np.array([[i <= k // period for i in range(n)] for k in range(n)], float)
    return credit, force


TRUNCATED = [
    PES(**ES, **LOCKSTEP),
    NRES(**ES, **LOCKSTEP),
    NRES(**ES, **LOCKSTEP, period=2),
    ESSingle(**ES, truncation=LENGTH),
    TruncatedES(**ES, **LOCKSTEP),
]


@pytest.mark.parametrize("objective", [FINAL, ALONG], ids=["final", "along"])
@pytest.mark.parametrize("estimator", TRUNCATED, ids=lambda e: f"{e.name}-{e.reuse}")
def test_mean_and_variance_of_truncated_estimators(estimator, objective):
    """To leading order in sigma an estimate of truncation k is n/N sum_i (u_k.z_i)(v_k.z_i) with
    z ~ N(0, I): mean n u.v, variance n^2/N (|u|^2 |v|^2 + (u.v)^2). Within 4 standard errors."""
    n, blocks = STEPS // LENGTH, 1500
    a = parts(objective)
    credit, force = distinct(estimator)
    if isinstance(estimator, TruncatedES):
        a = np.diag(np.diag(a))  # what came before the truncation is held still
    v = a @ force
    grads = draw(estimator, n * blocks, problem(objective))[0][:, 0].reshape(blocks, n)
    dots = (credit * v).sum(1)
    mean, error = grads.mean(1).mean(), grads.mean(1).std() / np.sqrt(blocks)
    assert abs(mean - dots.sum()) < 4 * error + 2e-3 * abs(dots.sum())
    assert error < 0.03 * abs(dots.sum())
    variance = n**2 / PAIRS * ((credit**2).sum(1) * (v**2).sum(1) + dots**2)
    spread = ((grads - grads.mean(0)) ** 2).mean(0)
    fourth = ((grads - grads.mean(0)) ** 4).mean(0)
    doubt = np.sqrt((fourth - spread**2) / blocks)
    assert np.all(np.abs(spread - variance) <= 4 * doubt + 1e-2 * variance)
    full = a_sum = parts(objective).sum()
    if isinstance(estimator, TruncatedES):
        assert abs(mean - full) > 20 * error
    else:
        # Unbiased for the whole run, however it is cut.
        assert abs(mean - a_sum) < 4 * error + 2e-3 * abs(a_sum)


def test_mean_and_variance_of_full_es():
    """Mean a = dL/dlr; variance 2 a^2 / N."""
    a = parts(FINAL).sum()
    grads = draw(FullES(**ES, shortest=1.0), 3000)[0][:, 0]
    error = grads.std() / np.sqrt(len(grads))
    assert abs(grads.mean() - a) < 4 * error + 2e-3 * abs(a)
    # The relative standard error of a variance of chi-squared means is about 4 %.
    np.testing.assert_allclose(grads.var(), 2 * a**2 / PAIRS, rtol=0.15)


def test_full_es_is_unbiased_for_the_smoothed_gradient():
    """With a large sigma: E[L(lr + sigma z) z] / sigma by quadrature, within 3 standard errors."""
    sigma = 0.02
    z, w = np.polynomial.hermite_e.hermegauss(64)
    losses = np.log(0.5 * (START * (1 - LR - sigma * z) ** STEPS) ** 2 + 1 + FLOOR)
    want = np.sum(w * losses * z) / sigma / np.sqrt(2 * np.pi)
    assert abs(want / parts(FINAL).sum() - 1) > 0.02  # smoothing shows
    grads = draw(FullES(pairs=64, sigma=sigma, **HORIZON, shortest=1.0), 3000)[0][:, 0]
    assert abs(grads.mean() - want) < 3 * grads.std() / np.sqrt(len(grads))


@pytest.mark.parametrize("make", [PES, NRES, ESSingle], ids=lambda cls: cls.name)
def test_one_truncation_is_full_es_to_rounding(make):
    """Same keys, same perturbations, same tasks: the same estimate, every time."""
    noisy = problem(Objective(1.0, 0.5, 0.2, 0.3), Quadratics(jnp.asarray(2.0), noisy=True))
    whole = FullES(pairs=8, sigma=0.1, horizon=(7, 7), shortest=1.0)
    cut = make(pairs=8, sigma=0.1, horizon=(7, 7), truncation=7)
    one, two = (draw(estimator, 3, noisy) for estimator in (whole, cut))
    np.testing.assert_allclose(one[0], two[0], rtol=2e-5)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-6)


def test_truncated_es_is_biased_on_influence_balancing_and_pes_is_not():
    """Tallec & Ollivier's system: over five steps u seems to help, in the long run it hurts."""
    horizon, length = 150, 5
    whole, within = influence_gradients(horizon, length)
    assert whole > 0 > within
    objective = Objective(valid=0.0, mean=0.0, steps=1.0, log=False)
    system = problem(objective, influence_family(), InfluenceOptimizer())
    theta = {"u": jnp.zeros(())}
    settings = {"pairs": 512, "sigma": 1e-3, "horizon": (horizon, horizon)}
    blocks = 30
    for make, want in ((TruncatedES, within), (PES, whole), (NRES, whole)):
        estimator = make(**settings, truncation=length, stagger=False)
        n = horizon // length
        grads = draw(estimator, n * blocks, system, theta)[0][:, 0].reshape(blocks, n).mean(1)
        error = grads.std() / np.sqrt(blocks)
        assert abs(grads.mean() - want) < 3.5 * error + 1e-2 * abs(want)
        assert error < 0.25 * abs(want)
    # The gradient of this problem is none of its loss, and its effect differentiates all the same.
    for estimator, want in (
        (Backprop(tasks=2, horizon=(horizon, horizon)), whole),
        (TBPTT(tasks=2, horizon=(horizon, horizon), truncation=length, stagger=False), within),
    ):
        n = 1 if estimator.name == "backprop" else horizon // length
        grads = draw(estimator, n, system, theta)[0][:, 0]
        np.testing.assert_allclose(grads.mean(), want, rtol=1e-4)


def test_the_signal_of_estimates_is_told_from_their_noise():
    """|mean|^2 = 4 and 50 coordinates of variance 9; bounds are five standard errors of each."""
    noise = 3 * np.random.default_rng(0).standard_normal((400, 50))
    signal, rest = split(noise + np.eye(50)[0] * 2)
    # var(signal) = 4 |mean|^2 s^2 / n + 2 s^4 D / n^2, var(noise) = 2 s^4 D / n and a little more
    assert abs(signal - 4) < 5 * np.sqrt(4 * 4 * 9 / 400 + 2 * 81 * 50 / 400**2)
    assert abs(rest - 450) < 5 * np.sqrt(2 * 81 * 50 / 400 + 0.5)
    assert split(np.array([[2.0, 0.0], [2.0, 0.0]])) == (4.0, 0.0)
