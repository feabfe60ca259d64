"""Runs that live on from estimate to estimate: how long, staggered, and taken up again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimates import LR, PAIRS, SIGMA, START, THETA, draw, problem
from problems import FLOOR

from learned_opt.meta_train import NRES, PES, Continuation, Horizons


def test_staggered_pairs_do_not_march_in_step_and_lose_no_step():
    estimator = PES(pairs=64, sigma=SIGMA, horizon=(100, 100), truncation=10)
    system = problem()
    state = estimator.init(system, THETA, jax.random.key(0))
    step = jax.jit(lambda s, t: estimator.estimate(system, THETA, s, jax.random.key(1), t)[1])
    for t in range(25):
        state = step(state, jnp.int32(t))
    phases = np.asarray(state.pairs.episode.t)
    counts = np.bincount(phases // 10)[1:]
    assert np.sum(counts > 0) >= 8
    assert counts.max() < 32
    assert np.all(np.asarray(state.pairs.episode.horizon) == 100)
    assert phases.min() >= 10


@pytest.mark.parametrize("unbiased", [True, False])
def test_resumed_runs_go_on_where_they_were(unbiased):
    """Runs of 5 steps resumed once: the second leg's gradient is that of 10 steps if unbiased, of
    its own 5 alone if not."""
    resume = Continuation(share=1.0, slots=1, longest=6, unbiased=unbiased)
    estimator = PES(
        pairs=PAIRS, sigma=SIGMA, horizon=(5, 5), truncation=5, stagger=False, resume=resume
    )
    grads, losses, _ = draw(estimator, 2, seed=3)
    p = START * (1 - LR) ** 10
    np.testing.assert_allclose(losses[1], np.log(0.5 * p**2 + 1 + FLOOR), rtol=1e-2)
    count = 1500
    keys = jax.random.split(jax.random.key(9), count)

    @jax.jit
    def second(key):
        first_key, next_key = jax.random.split(key)
        state = estimator.init(system, THETA, key)
        _, state = estimator.estimate(system, THETA, state, first_key, jnp.int32(0))
        return estimator.estimate(system, THETA, state, next_key, jnp.int32(1))[0].grad["lr"]

    system = problem()
    found = np.asarray(jax.lax.map(second, keys), np.float64)
    slope = -p / (0.5 * p**2 + 1 + FLOOR) * START * (1 - LR) ** 9
    want = slope * (10 if unbiased else 5)
    error = found.std() / np.sqrt(count)
    assert abs(found.mean() - want) < 4 * error + 2e-3 * abs(want)
    assert error < 0.05 * abs(want)
    assert np.isfinite(grads).all()


def test_runs_are_taken_up_again_as_often_as_asked_and_no_further_than_allowed():
    resume = Continuation(share=0.8, slots=2, longest=20)
    estimator = NRES(
        pairs=256, sigma=SIGMA, horizon=(10, 10), truncation=10, stagger=False, resume=resume
    )
    system = problem()
    state = estimator.init(system, THETA, jax.random.key(0))
    step = jax.jit(
        lambda s, t: estimator.estimate(
            system, THETA, s, jax.random.fold_in(jax.random.key(1), t), t
        )[1]
    )
    horizons = []
    for t in range(12):
        state = step(state, jnp.int32(t))
        horizons.append(np.asarray(state.pairs.episode.horizon))
    assert np.all(horizons[0] == 10)
    late = np.concatenate(horizons[2:])
    # A run of 10 steps, resumed once, has 20: the most that may not be resumed again.
    assert sorted(set(late.tolist())) == [10, 20]
    # Bernoulli(0.8): 2,560 draws have a standard error of 0.008.
    assert abs((late > 10).mean() - 0.8) < 0.04


def test_horizons_are_log_uniform_and_grow_with_the_curriculum():
    plain, growing = Horizons(10, 1000), Horizons(10, 1000, curriculum=100)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda k: plain.draw(k, jnp.int32(0)))(keys))
    assert 10 <= drawn.min() < 10.2
    assert 980 < drawn.max() <= 1000
    # Uniform logarithms: standard deviation log(100)/sqrt(12) = 1.33, standard error 0.021.
    assert abs(np.log(drawn).mean() - np.log(100)) < 0.07
    for step, high in ((0, 10), (50, 100), (100, 1000), (500, 1000)):
        drawn = np.asarray(jax.vmap(lambda k, s=step: growing.draw(k, jnp.int32(s)))(keys))
        assert drawn.max() <= high * 1.001
        assert drawn.max() >= high * 0.97
    # Mean number of truncations: against 4,000 draws, standard error about 1.5 %.
    drawn = np.asarray(jax.vmap(lambda k: plain.draw(k, jnp.int32(0)))(keys))
    want = np.maximum(1, np.round(drawn / 20)).mean()
    np.testing.assert_allclose(plain.truncations(20, jnp.int32(0)), want, rtol=0.06)
