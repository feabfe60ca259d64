"""Meta-gradients against closed forms, and the outer loop's mathematics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import LearnedSGD, Quadratics

from meta_train import FullES, Objective, Trainer, unroll
from tasks import device_mesh

FAMILY = Quadratics(jnp.asarray(2.0))
STEPS = 5
FINAL = Objective(valid=1.0, last=0.0, mean=0.0)
FLOOR = 5e-4


def mesh(devices=2):
    return jax.make_mesh(
        (devices,), ("lanes",), axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )  # fmt: skip


def meta_loss(lr, start=2.0, steps=STEPS):
    """Meta-loss of `steps` gradient steps, in float64; the reference loss is 1."""
    return np.log(np.minimum(0.5 * (start * (1 - lr) ** steps) ** 2 + 1, 4) + FLOOR)


def smoothed_gradient(lr, sigma, steps=STEPS):
    """d/d lr E[meta_loss(lr + sigma z)] = E[meta_loss(lr + sigma z) z] / sigma by quadrature."""
    z, w = np.polynomial.hermite_e.hermegauss(64)
    return np.sum(w * meta_loss(lr + sigma * z, steps=steps) * z) / sigma / np.sqrt(2 * np.pi)


def run(objective, horizon, max_steps=None, family=FAMILY, optimizer=None, lr=0.3):
    return unroll(
        optimizer or LearnedSGD(), objective, family, family.sample(jax.random.key(0)),
        {"lr": jnp.asarray(lr)}, jax.random.key(1),
        horizon=jnp.asarray(horizon), max_steps=jnp.asarray(max_steps or horizon),
    )  # fmt: skip


def test_unroll_earns_the_meta_loss_of_its_definition():
    p = 2.0 * 0.7 ** np.arange(21)
    losses = 0.5 * p**2 + 1
    objective = Objective(valid=1.0, last=0.5, mean=0.25)
    want = (
        np.log(losses[20] + FLOOR)
        + 0.5 * np.log(losses[18:20].mean() + FLOOR)
        + 0.25 * np.log(losses[:20].mean() + FLOOR)
    )
    np.testing.assert_allclose(run(objective, 20), want, rtol=1e-5)


def test_steps_past_the_horizon_change_nothing():
    objective = Objective(1.0, 1.0, 1.0)
    assert run(objective, 7, max_steps=7) == run(objective, 7, max_steps=30)


def test_losses_that_explode_or_are_not_numbers_count_as_the_cap():
    assert float(run(FINAL, 30, lr=5.0)) == pytest.approx(np.log(4.0 + FLOOR))
    nan = run(Objective(1.0, 1.0, 1.0), 3, optimizer=LearnedSGD(explode=True), lr=0.5)
    # The first loss, 3, is still a number: 3, 4, 4.
    want = 2 * np.log(4 + FLOOR) + np.log(11 / 3 + FLOOR)
    assert float(nan) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_full_es_is_unbiased_for_the_smoothed_gradient(sigma):
    """Mean of 200 estimates of 16 pairs within 3 standard errors; the errors are small."""
    es = FullES(LearnedSGD(), mesh(), FINAL, pairs=16, sigma=sigma, horizon=(STEPS, STEPS))
    keys = jax.random.split(jax.random.key(0), 200)
    theta = {"lr": jnp.asarray(0.3)}
    estimate = jax.jit(lambda key: es.estimate(FAMILY, theta, (), key)[0].grad["lr"])
    draws = np.array([estimate(key) for key in keys])
    # A pair's horizon is round(5 u), u ~ U(0.6, 1): 3, 4, 5 with these chances.
    chances = {3: 0.25, 4: 0.5, 5: 0.25}
    want = sum(p * smoothed_gradient(0.3, sigma, steps) for steps, p in chances.items())
    error = draws.std() / np.sqrt(len(draws))
    assert error < 0.05 * abs(want)
    assert abs(draws.mean() - want) < 3 * error


def test_full_es_is_the_estimator_of_evosaxs_open_es():
    """Mean and variance of 400 estimates agree with an independent implementation's."""
    from evosax.algorithms import Open_ES
    from evosax.core.fitness_shaping import identity_fitness_shaping_fn

    sigma, pairs, count = 0.1, 8, 400
    theta = jnp.asarray([0.3])
    reference = Open_ES(
        population_size=2 * pairs, solution=theta, optimizer=optax.sgd(1.0),
        std_schedule=optax.constant_schedule(sigma),
        fitness_shaping_fn=identity_fitness_shaping_fn,
    )  # fmt: skip

    def fitness(lr, steps):
        return jnp.log(0.5 * (2.0 * (1 - lr) ** steps) ** 2 + 1)

    @jax.jit
    def evosax_gradient(key):
        key_ask, key_tell, key_horizon = jax.random.split(key, 3)
        state = reference.init(key, theta, reference.default_params)
        population, state = reference.ask(key_ask, state, reference.default_params)
        steps = jnp.round(STEPS * jax.random.uniform(key_horizon, (pairs,), minval=0.6))
        losses = fitness(population[:, 0], jnp.concatenate([steps, steps]))
        after, _ = reference.tell(key_tell, population, losses, state, reference.default_params)
        return (theta - reference.get_mean(after))[0]

    es = FullES(LearnedSGD(), mesh(), FINAL, pairs=pairs, sigma=sigma, horizon=(STEPS, STEPS))
    ours = jax.jit(lambda key: es.estimate(FAMILY, {"lr": theta[0]}, (), key)[0].grad["lr"])
    keys = jax.random.split(jax.random.key(5), count)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = np.array([evosax_gradient(key) for key in keys])
    draws = np.array([ours(key) for key in keys])
    error = np.hypot(draws.std(), theirs.std()) / np.sqrt(count)
    assert abs(draws.mean() - theirs.mean()) < 3 * error
    assert abs(draws.mean()) > 20 * error
    # The relative standard error of a standard deviation of 400 draws is 3.5 %; of a ratio 5 %.
    np.testing.assert_allclose(draws.std() / theirs.std(), 1, atol=0.15)


def test_quadrature_agrees_with_the_derivative_for_small_sigma():
    slope = (meta_loss(0.3 + 1e-6) - meta_loss(0.3 - 1e-6)) / 2e-6
    np.testing.assert_allclose(smoothed_gradient(0.3, 1e-3), slope, rtol=1e-4)


def test_estimate_does_not_depend_on_the_number_of_devices():
    family, theta = Quadratics(jnp.asarray(2.0), noisy=True), {"lr": jnp.asarray(0.3)}
    one, two = (
        FullES(LearnedSGD(), mesh(n), FINAL, pairs=8, horizon=(2, 9)).estimate(
            family, theta, (), jax.random.key(3)
        )[0]
        for n in (1, 2)
    )
    np.testing.assert_allclose(one.grad["lr"], two.grad["lr"], rtol=1e-5)
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-6)
    assert int(one.inner_steps) == int(two.inner_steps)


def test_a_pair_shares_task_horizon_and_data():
    """With equal losses on both sides whatever the task, every estimate is exactly zero."""
    flat = Objective(valid=0.0, last=0.0, mean=0.0)
    es = FullES(LearnedSGD(), mesh(), flat, pairs=4)
    grad, _ = es.estimate(
        Quadratics(jnp.asarray(2.0), noisy=True), {"lr": jnp.asarray(0.3)}, (), jax.random.key(0)
    )
    assert float(grad.grad["lr"]) == 0.0
    assert float(grad.dropped) == 0


def test_an_exploding_pair_stays_finite_and_bounded():
    """Losses are capped, so a NaN on one side costs one pair the difference of two logarithms."""
    es = FullES(LearnedSGD(explode=True), mesh(), FINAL, pairs=64, sigma=0.2, horizon=(5, 5))
    grad, _ = es.estimate(FAMILY, {"lr": jnp.asarray(0.3)}, (), jax.random.key(0))
    worst = np.log(4.0) * 3.5 * 0.2 / (2 * 0.2**2)
    assert np.isfinite(grad.grad["lr"])
    assert abs(float(grad.grad["lr"])) < worst
    # Larger lr explodes: the meta-gradient points away from it.
    assert float(grad.grad["lr"]) > 0


def test_pairs_must_fit_the_devices():
    with pytest.raises(ValueError, match=r"pairs must be a multiple of .*\(2\), got 3"):
        FullES(LearnedSGD(), mesh(2), pairs=3)
    assert device_mesh(3).size == 1
    assert device_mesh(4).size == 2


def trainer(**changes):
    es = FullES(LearnedSGD(), mesh(), FINAL, pairs=16, sigma=0.05, horizon=(STEPS, STEPS))
    settings = {"valid_tasks": 4, "valid_horizon": STEPS, "seed": 3} | changes
    return Trainer(LearnedSGD(), es, optax.sgd(0.02), FINAL, mesh(), **settings)


def test_meta_training_finds_a_step_size_that_solves_the_quadratic():
    """From lr = 0.3, meta-loss 0.055, to one that leaves under a thousandth."""
    t = trainer()
    state = t.init(FAMILY)
    before = t.validate(FAMILY, state.theta)
    state, metrics = jax.jit(lambda s: t.chunk(FAMILY, s, 150))(state)
    state, score = t.select(FAMILY, state)
    assert float(before) > 0.05
    assert float(score) < 1e-3
    np.testing.assert_allclose(before, meta_loss(0.3), rtol=1e-5)
    np.testing.assert_allclose(score, meta_loss(float(state.theta["lr"])), atol=1e-5)
    assert int(state.step) == 150
    assert float(metrics.dropped) == 0


def test_chunks_make_the_same_steps_however_they_are_cut():
    t = trainer()
    state = t.init(FAMILY)
    whole, _ = t.chunk(FAMILY, state, 4)
    parts, _ = t.chunk(FAMILY, t.chunk(FAMILY, state, 2)[0], 2)
    assert float(whole.theta["lr"]) == float(parts.theta["lr"])
    assert float(whole.inner_steps) == float(parts.inner_steps)


def test_selection_keeps_the_best_theta():
    t = trainer()
    state = t.init(FAMILY)
    good, score = t.select(FAMILY, state._replace(theta={"lr": jnp.asarray(0.9)}))
    worse, _ = t.select(FAMILY, good._replace(theta={"lr": jnp.asarray(0.1)}))
    assert float(worse.best_theta["lr"]) == pytest.approx(0.9)
    assert float(worse.best_score) == float(score)
    nan, _ = t.select(FAMILY, good._replace(theta={"lr": jnp.asarray(jnp.nan)}))
    assert float(nan.best_theta["lr"]) == pytest.approx(0.9)
