"""Gated Adam against AdamW and against float64, and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference_controlled import reference
from steps import SHAPES, descend, moved_theta, tree

from learned_opt import GatedAdam

STEPS = 20
TWINS = {**SHAPES, "a": (5, 6), "z": (7,)}
"""With stacks of two, of leaves that are not neighbours."""


def gradients(count, scale=0.1, shapes=SHAPES):
    return [tree(i + 1, scale, shapes) for i in range(count)]


def check_agreement(optimizer, theta, shapes, got_error=1e-5, way_error=2e-5, params=None):
    """Relative errors of the parameters, and of the way they went, after STEPS steps."""
    params, grads = params or tree(0, shapes=shapes), gradients(STEPS, shapes=shapes)
    got = descend(optimizer.transform(theta, num_steps=STEPS), params, grads)[-1]
    want = reference(optimizer, theta, params, grads, STEPS)[-1]
    for name in shapes:
        moved = want[name] - np.asarray(params[name], np.float64)
        error = np.asarray(got[name], np.float64) - want[name]
        assert np.linalg.norm(error) < got_error * np.linalg.norm(want[name])
        assert np.linalg.norm(error) < way_error * np.linalg.norm(moved)


@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_initial_theta_is_adamw_with_warmup_and_linear_decay():
    optimizer = GatedAdam(learning_rate=3e-2, weight_decay=0.2, warmup=0.2)

    def schedule(count):
        t = jnp.asarray(count, jnp.float32)
        return -3e-2 * jnp.minimum(1.0, (t + 1) / (0.2 * STEPS)) * (1 - t / STEPS)

    # Un-negated, as ours.
    adamw = optax.adamw(schedule, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.2)
    theta = optimizer.init(jax.random.key(0))
    ours, params = optimizer.transform(theta, num_steps=STEPS), tree(0)
    grads = gradients(STEPS)
    for got, want in zip(descend(ours, params, grads), descend(adamw, params, grads), strict=True):
        for name in SHAPES:
            np.testing.assert_allclose(got[name], want[name], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("stacked", "options"),
    [(False, {}), (True, {"horizon_free": True}), (True, {"factored": True})],
)
def test_agrees_with_float64_reference_over_20_steps(stacked, options):
    optimizer = GatedAdam(**({"learning_rate": 1e-2} | options))
    check_agreement(optimizer, moved_theta(optimizer), TWINS if stacked else SHAPES)


def test_bfloat16_momenta_agree_with_a_reference_that_rounds_them():
    """To 2^-9 of a step: a last bit that float32 and float64 round differently moves it so far."""
    optimizer = GatedAdam(learning_rate=1e-2, momenta="bfloat16", factored=True)
    check_agreement(optimizer, moved_theta(optimizer), SHAPES, got_error=1.0, way_error=2**-9)


def test_a_horizon_is_needed():
    optimizer = GatedAdam()
    with pytest.raises(ValueError, match="num_steps must be a positive integer, got None"):
        optimizer.transform(optimizer.init(jax.random.key(0)))


def test_the_lean_variant_keeps_half_the_momenta_and_no_second_moment():
    """Of a matrix: 3 bfloat16 a parameter, a float a row and one a column."""
    params = {"w": jnp.zeros((256, 128))}
    optimizer = GatedAdam(momenta="bfloat16", factored=True)
    theta = optimizer.init(jax.random.key(0))
    state = optimizer.transform(theta, num_steps=10).init(params)
    held = sum(x.nbytes for x in jax.tree.leaves(state) if x.ndim)
    assert held == 3 * 2 * 256 * 128 + 4 * (256 + 128)


def test_without_a_horizon_num_steps_changes_nothing():
    optimizer = GatedAdam(horizon_free=True)
    theta, params, grads = moved_theta(optimizer), tree(0), gradients(1)
    paths = [
        descend(optimizer.transform(theta, num_steps=n), params, grads) for n in (None, 10, 10**6)
    ]
    for path in paths[1:]:
        jax.tree.map(np.testing.assert_array_equal, path, paths[0])
    schedule = optimizer.schedule(optimizer.init(jax.random.key(0)))
    for step, want in ((0, 1 / 50), (49, (1 + 0.49) ** -0.5), (9900, 0.1)):
        np.testing.assert_allclose(schedule(step), 3e-3 * want, rtol=1e-5)
    with pytest.raises(ValueError, match="num_steps must be a positive integer, got 0"):
        optimizer.transform(theta, num_steps=0)


def test_flipping_a_coordinate_flips_its_update():
    optimizer = GatedAdam()
    tx = optimizer.transform(moved_theta(optimizer), num_steps=STEPS)
    rng = np.random.default_rng(5)
    signs = {k: jnp.asarray(rng.choice([-1.0, 1.0], s), jnp.float32) for k, s in SHAPES.items()}
    params, grads = tree(0), gradients(5)
    flip = lambda x: jax.tree.map(jnp.multiply, x, signs)  # noqa: E731
    plain = descend(tx, params, grads)[-1]
    flipped = descend(tx, flip(params), [flip(g) for g in grads])[-1]
    for name in SHAPES:
        np.testing.assert_allclose(flip(plain)[name], flipped[name], rtol=1e-5, atol=1e-6)


def test_its_derivative_exists_where_gradients_are_zero():
    """Rows without, like images with blank borders; a matrix and a vector without, like masked."""
    params = {"w": jnp.ones((3, 2)), "u": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    seen = jax.tree.map(jnp.zeros_like, params)
    seen["w"] = seen["w"].at[1].set(jnp.array([0.3, -0.2]))
    optimizer = GatedAdam(hidden=2, controller_hidden=2)

    def after(theta):
        tx = optimizer.transform(theta, num_steps=10)
        now, state = params, tx.init(params)
        for _ in range(2):
            grads = jax.tree.map(jnp.multiply, seen, now)
            updates, state = tx.update(grads, state, now)
            now = jax.tree.map(jnp.subtract, now, updates)
        return sum(jnp.sum(p) for p in jax.tree.leaves(now))

    theta = optimizer.init(jax.random.key(0))
    found = jax.jit(jax.grad(after))(theta)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found))
    higher, lower = (after(theta | {"log_lr": jnp.asarray(d)}) for d in (1e-2, -1e-2))
    np.testing.assert_allclose(found["log_lr"], (higher - lower) / 2e-2, rtol=2e-2)


def test_nothing_moves_past_the_horizon():
    optimizer = GatedAdam()
    tx = optimizer.transform(moved_theta(optimizer), num_steps=3)
    path = descend(tx, tree(0), gradients(6, 1.0))
    assert float(jnp.abs(path[2]["matrix"] - path[1]["matrix"]).max()) > 0
    for name in SHAPES:
        np.testing.assert_array_equal(path[3][name], path[2][name])
        np.testing.assert_array_equal(path[5][name], path[2][name])
