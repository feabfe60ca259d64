"""Learnable Adam against its formulas in float64, against optax, and at the ends of its ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from steps import SHAPES, run, tree

from learned_opt import HyperAdam

STEPS = 20
# eps reaches sqrt(v) where the gradients are about 1e-3 in size.
THETA = {
    "log_lr": 0.4,
    "log_one_minus_b1": 0.3,
    "log_one_minus_b2": 0.9,
    "log_eps": 1.2,
    "log_power": -0.5,
}


def theta_of(**shifts):
    theta = HyperAdam().init(jax.random.key(0))
    return {**theta, **{k: jnp.asarray(x, jnp.float32) for k, x in shifts.items()}}


def steps_along(tx, grads):
    """Whatever the parameters, which the rule does not read."""
    return [x.step for x in run(tx, tree(99), grads)]


def reference(optimizer, theta, grads, total):
    """The rule in float64 NumPy, tensor by tensor."""
    s = {k: np.float64(x) for k, x in theta.items()}
    b1 = 1 - np.clip((1 - optimizer.b1) * np.exp(3 * s["log_one_minus_b1"]), 1e-7, 1 - 1e-6)
    b2 = 1 - np.clip((1 - optimizer.b2) * np.exp(3 * s["log_one_minus_b2"]), 1e-7, 1 - 1e-6)
    eps = np.clip(optimizer.eps * np.exp(10 * s["log_eps"]), 1e-12, 1e4)
    m, v, path = dict.fromkeys(SHAPES, 0.0), dict.fromkeys(SHAPES, 0.0), []
    for t, grad in enumerate(grads):
        a = optimizer.learning_rate * np.exp(3 * s["log_lr"])
        a *= min(1.0, (t + 1) / max(1.0, optimizer.warmup * total))
        a *= max(0.0, 1 - t / total) ** np.exp(s["log_power"])
        steps = {}
        for name in SHAPES:
            g = np.asarray(grad[name], np.float64)
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            m_hat, v_hat = m[name] / (1 - b1 ** (t + 1)), v[name] / (1 - b2 ** (t + 1))
            steps[name] = a * m_hat / (np.sqrt(v_hat) + eps)
        path.append(steps)
    return path


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("optimizer", [HyperAdam(), HyperAdam(0.1, 0.7, 0.99, 1e-5, 0.3)])
def test_agrees_with_float64_reference_over_20_steps(optimizer, scale):
    """Within 1e-5 of each element of the step, or of the tensor's largest."""
    grads, total = [tree(i, scale) for i in range(STEPS)], 23
    tx = optimizer.transform(theta_of(**THETA), num_steps=total)
    want = reference(optimizer, theta_of(**THETA), grads, total)
    for got, steps in zip(steps_along(tx, grads), want, strict=True):
        for name, step in steps.items():
            bound = 1e-5 * np.abs(step).max()
            np.testing.assert_allclose(got[name], step, rtol=1e-5, atol=bound)


@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_initial_theta_is_adam_times_the_schedule():
    optimizer = HyperAdam(learning_rate=3e-2, warmup=0.2)
    theta = optimizer.init(jax.random.key(0))

    def schedule(count):
        t = jnp.asarray(count, jnp.float32)
        return 3e-2 * jnp.minimum(1.0, (t + 1) / (0.2 * STEPS)) * (1 - t / STEPS)

    grads = [tree(i, 0.1) for i in range(STEPS)]
    got = steps_along(optimizer.transform(theta, num_steps=STEPS), grads)
    want = steps_along(optax.adam(schedule, b1=0.9, b2=0.999, eps=1e-8), grads)
    for one, other in zip(got, want, strict=True):
        for name in SHAPES:
            # optax rounds 1 - b^t, which costs it 1e-5.
            np.testing.assert_allclose(one[name], -other[name], rtol=2e-5, atol=1e-7)


def test_schedule_warms_up_and_decays_to_zero_at_the_end():
    theta = theta_of(log_lr=np.log(2) / 3, log_power=np.log(2))
    step_size = HyperAdam(learning_rate=0.1, warmup=0.2).schedule(theta, num_steps=10)
    got = [step_size(t) for t in (0, 1, 5, 9, 10, 11)]
    want = 0.2 * np.array([0.5, 0.9**2, 0.5**2, 0.1**2, 0, 0])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-9)


def test_one_minus_b_at_its_smallest_gives_plain_averages():
    grads = [tree(i) for i in range(STEPS)]
    theta = theta_of(log_one_minus_b1=-100, log_one_minus_b2=-100)
    optimizer = HyperAdam(1.0, warmup=0.0)
    got = steps_along(optimizer.transform(theta, num_steps=10**6), grads)[-1]
    for name in SHAPES:
        g = np.stack([np.asarray(grad[name], np.float64) for grad in grads])
        want = g.mean(0) / np.sqrt((g**2).mean(0))
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-4)


def test_one_minus_b_at_its_largest_gives_the_sign_of_the_gradient():
    grads = [jax.tree.map(lambda g: g + jnp.sign(g), tree(i)) for i in range(STEPS)]
    theta = theta_of(log_one_minus_b1=100, log_one_minus_b2=100)
    optimizer = HyperAdam(1.0, warmup=0.0)
    got = steps_along(optimizer.transform(theta, num_steps=10**6), grads)
    for steps, grad in zip(got, grads, strict=True):
        for name in SHAPES:
            np.testing.assert_allclose(steps[name], np.sign(grad[name]), rtol=1e-4)


def test_large_eps_gives_sgd_with_momentum():
    grads = [tree(i) for i in range(STEPS)]
    optimizer = HyperAdam(learning_rate=1e4, warmup=0.0)
    tx = optimizer.transform(theta_of(log_eps=100), num_steps=10**6)
    m = 0.0
    for t, (got, grad) in enumerate(zip(steps_along(tx, grads), grads, strict=True)):
        m = 0.9 * m + 0.1 * np.asarray(grad["matrix"], np.float64)
        want = m / (1 - 0.9 ** (t + 1))
        np.testing.assert_allclose(got["matrix"], want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


def test_meta_gradient_exists_where_the_gradient_is_zero_and_at_the_ends_of_the_ranges():
    optimizer, shapes = HyperAdam(), {"vector": (3,)}
    params, grads = tree(0, shapes=shapes), {"vector": jnp.array([0.0, 1.0, -1e-20])}

    def moved(theta):
        tx = optimizer.transform(theta, num_steps=3)

        def step(state, _):
            steps, state = tx.update(grads, state, params)
            return state, steps["vector"].sum()

        return jax.lax.scan(step, tx.init(params), length=4)[1].sum()

    def same_shift(size):
        return jax.tree.map(lambda x: x + size, optimizer.init(jax.random.key(0)))

    slope = jax.jit(jax.grad(moved))
    for size in (0.0, 5.0, -5.0):
        for x in jax.tree.leaves(slope(same_shift(size))):
            assert np.isfinite(x)
    # A step is in proportion to lr: d step / d log_lr = 3 step.
    at_start = same_shift(0.0)
    np.testing.assert_allclose(slope(at_start)["log_lr"], 3 * moved(at_start), rtol=1e-5)


def test_a_horizon_is_needed():
    optimizer = HyperAdam()
    theta = optimizer.init(jax.random.key(0))
    for build in (optimizer.transform, optimizer.schedule):
        with pytest.raises(ValueError, match="num_steps must be a positive integer, got None"):
            build(theta)


def test_half_precision_keeps_float32_averages():
    tx = HyperAdam().transform(theta_of(**THETA), num_steps=10)
    params = {"matrix": jnp.ones((3, 2), jnp.bfloat16)}
    steps, state = tx.update(params, tx.init(params), params)
    assert steps["matrix"].dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(d) for d in ("int32", "float32")}
