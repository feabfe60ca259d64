"""The per-parameter MLP against its formulas in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import steps
from reference_optimizers import per_param_mlp, time_features
from steps import check_finite, descend

from learned_opt import PerParamMLP

SHAPES = {
    "scalar": (), "vector": (7,), "wide": (5, 6), "tall": (6, 5), "square": (4, 4),
    "tensor": (3, 4, 2), "conv": (3, 3, 2, 4), "ones": (1, 1, 5),
}  # fmt: skip
STEPS = 20
tree = functools.partial(steps.tree, shapes=SHAPES)


def trained_theta(optimizer):
    """With steps of about unit size."""
    theta = steps.moved_theta(optimizer)
    decays = {k: x / 10 for k, x in theta.items() if k.endswith(("decay", "decays"))}
    last = f"w{optimizer.layers + 1}"
    return {**theta, **decays, "net": {**theta["net"], last: 100 * theta["net"][last]}}


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [
        pytest.param(PerParamMLP(), 1e-4, marks=pytest.mark.slow),
        (PerParamMLP(), 1e3),
        (PerParamMLP(hidden=5, layers=3), 0.1),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(optimizer, scale):
    """Relative error under 1e-5, of the parameters and of the way they went."""
    theta = trained_theta(optimizer)
    params, grads = tree(0), [tree(i + 1, scale) for i in range(STEPS)]
    got = descend(optimizer.transform(theta), params, grads)[-1]
    want = per_param_mlp(theta, params, grads)[-1]
    for name in SHAPES:
        moved = want[name] - np.asarray(params[name], np.float64)
        error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
        assert np.linalg.norm(moved) > 0.1 * np.linalg.norm(want[name])
        assert error < 1e-5 * np.linalg.norm(want[name])
        assert error < 1e-5 * np.linalg.norm(moved)


def test_a_network_of_biases_gives_the_step_of_the_formula():
    optimizer = PerParamMLP(step_multiplier=0.5, magnitude=0.1)
    theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    theta["net"]["b3"] = jnp.array([2.0, 3.0])
    tx, shapes = optimizer.transform(theta), {"scalar": (), "conv": (3, 3, 2, 4)}
    params, grads = tree(0, shapes=shapes), tree(1, shapes=shapes)
    steps, _ = tx.update(grads, tx.init(params), params)
    for step in jax.tree.leaves(steps):
        np.testing.assert_allclose(step, 0.5 * 2 * np.exp(0.1 * 3), rtol=1e-6)


def test_time_features():
    """A network that passes on one of them: relu(f) - relu(-f)."""
    optimizer, steps = PerParamMLP(step_multiplier=1.0), 5

    def passes_on(i):
        theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
        net = theta["net"]
        net["w1"] = net["w1"].at[28 + i, :2].set(jnp.array([1.0, -1.0]))
        net["w2"] = jnp.eye(4)
        net["w3"] = net["w3"].at[:2, 0].set(jnp.array([1.0, -1.0]))
        tx, p = optimizer.transform(theta), jnp.ones(())
        _, found = jax.lax.scan(lambda s, _: tx.update(p, s, p)[::-1], tx.init(p), length=steps)
        return found

    found = jax.jit(jax.vmap(passes_on))(jnp.arange(11))
    want = np.array([time_features(t) for t in range(steps)]).T
    np.testing.assert_allclose(found, want, atol=1e-6)


@pytest.mark.parametrize(("optimizer", "count"), [(PerParamMLP(), 197), (PerParamMLP(32, 1), 1353)])
def test_count_of_meta_parameters(optimizer, count):
    theta = optimizer.init(jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(theta)) == count
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(theta))


def test_num_steps_changes_nothing():
    optimizer = PerParamMLP()
    theta, shapes, updates = trained_theta(optimizer), {"wide": (3, 2)}, []
    params, grads = tree(0, shapes=shapes), tree(1, shapes=shapes)
    for num_steps in (None, 1, jnp.asarray(1000)):
        tx = optimizer.transform(theta, num_steps=num_steps)
        updates.append(tx.update(grads, tx.init(params), params)[0])
        assert optimizer.schedule(theta, num_steps=num_steps)(7) == np.float32(0.001)
    for other in updates[1:]:
        jax.tree.map(np.testing.assert_array_equal, updates[0], other)


def test_extreme_gradients_stay_finite():
    optimizer, shapes = PerParamMLP(), {k: SHAPES[k] for k in ("scalar", "vector", "tall")}
    tx = optimizer.transform(trained_theta(optimizer))
    check_finite(tx, tree(0, shapes=shapes), tree(1, shapes=shapes))


def test_a_skipped_step_leaves_no_trace():
    optimizer = PerParamMLP()
    tx = optimizer.transform(trained_theta(optimizer))
    shapes = {"tall": SHAPES["tall"]}
    params, one, two = (tree(seed, shapes=shapes) for seed in range(3))
    bad = {"tall": one["tall"].at[0, 0].set(np.nan)}
    path = descend(tx, params, [one, bad, two])
    jax.tree.map(np.testing.assert_array_equal, path[1], path[0])
    plain = descend(tx, params, [one, two])
    jax.tree.map(np.testing.assert_array_equal, path[2], plain[1])


def test_half_precision_keeps_float32_averages():
    tx = PerParamMLP().transform(trained_theta(PerParamMLP()))
    params = {"tall": jnp.ones((3, 2), jnp.float16)}
    _, state = tx.update(params, tx.init(params), params)
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(d) for d in ("int32", "float32")}
