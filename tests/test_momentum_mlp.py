"""The small predecessor of the per-parameter MLP against its formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_optimizers import momentum_mlp
from steps import SHAPES, check_finite, descend, moved_theta, tree

from learned_opt import MomentumMLP

STEPS = 20
SMALL = {k: SHAPES[k] for k in ("scalar", "vector", "matrix")}


def trained_theta(optimizer):
    """With steps of about unit size."""
    net = moved_theta(optimizer)["net"]
    last = f"w{optimizer.layers + 1}"
    return {"net": {**net, last: 30 * net[last]}}


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [(MomentumMLP(), 1e-4), (MomentumMLP(), 1e3), (MomentumMLP(hidden=5, layers=3), 0.1)],
)
def test_agrees_with_float64_reference_over_20_steps(optimizer, scale):
    """Relative error under 1e-5, of the parameters and of the way they went."""
    theta = trained_theta(optimizer)
    params, grads = tree(0), [tree(i + 1, scale) for i in range(STEPS)]
    got = descend(optimizer.transform(theta), params, grads)[-1]
    want = momentum_mlp(theta, params, grads)[-1]
    for name in SHAPES:
        moved = np.linalg.norm(want[name] - np.asarray(params[name], np.float64))
        error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
        assert moved > 0.03 * np.linalg.norm(want[name])
        assert error < 1e-5 * min(moved, np.linalg.norm(want[name]))


def test_a_network_of_biases_gives_the_step_of_the_formula():
    optimizer = MomentumMLP(step_multiplier=0.5, magnitude=0.1)
    theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    theta["net"]["b3"] = jnp.array([2.0, 3.0])
    tx, params = optimizer.transform(theta), tree(0, shapes=SMALL)
    steps, _ = tx.update(params, tx.init(params), params)
    for step in jax.tree.leaves(steps):
        np.testing.assert_allclose(step, 0.5 * 2 * np.exp(0.1 * 3), rtol=1e-6)


def test_count_of_meta_parameters():
    theta = MomentumMLP().init(jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(theta)) == 1_762
    assert theta["net"]["w1"].shape == (19, 32)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(theta))


def test_extreme_gradients_stay_finite():
    tx = MomentumMLP().transform(trained_theta(MomentumMLP()))
    check_finite(tx, tree(0, shapes=SMALL), tree(1, shapes=SMALL))


def test_a_skipped_step_leaves_no_trace():
    tx = MomentumMLP().transform(trained_theta(MomentumMLP()))
    params, one, two = (tree(seed, shapes=SMALL) for seed in range(3))
    bad = {**one, "vector": one["vector"].at[0].set(np.nan)}
    path, plain = (descend(tx, params, x) for x in ([one, bad, two], [one, two]))
    jax.tree.map(np.testing.assert_array_equal, path[1], path[0])
    jax.tree.map(np.testing.assert_array_equal, path[2], plain[1])
