"""The hypernetwork optimizer against its formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_hypernet import hypernet
from steps import WITH_ZEROS, descend, losses, moved_theta, start, tree

from learned_opt import Hypernet

STEPS, HORIZON = 20, 30
SMALL = {"lstm": 6, "bank": 5}


def trained_theta(optimizer):
    """With a larger step."""
    theta = moved_theta(optimizer)
    theta["mixture"] = jax.tree.map(lambda x: 0.1 * x, theta["mixture"])
    theta["step_size"] = jax.tree.map(lambda x: 60 * x, theta["step_size"])
    return theta


@pytest.mark.parametrize(
    ("as_published", "names"),
    [
        (False, ("conv", "narrow", "scalar", "tensor", "vector")),
        (True, ("matrix", "zeros")),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(as_published, names):
    """Relative error under 1e-5 of the parameters and of the way they went."""
    optimizer = Hypernet(**SMALL, as_published=as_published)
    theta, values = trained_theta(optimizer), np.asarray(losses(STEPS), np.float64)
    shapes = {k: WITH_ZEROS[k] for k in names}
    tx, p = optimizer.transform(theta, num_steps=HORIZON), start(shapes)
    for scale in (1e-4, 1e3):
        grads = [tree(i + 1, scale, shapes) for i in range(STEPS)]
        got = descend(tx, p, grads, value=losses(STEPS))[-1]
        want = hypernet(theta, p, grads, values, HORIZON, as_published)[-1]
        for name, first in p.items():
            moved = np.linalg.norm(want[name] - np.asarray(first, np.float64))
            error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
            assert moved > 0.03 * np.linalg.norm(want[name])
            assert error < 1e-5 * min(moved, np.linalg.norm(want[name]))


def test_count_of_meta_parameters():
    """The published 2.3 million, without a layer whose output the published code overwrites."""
    theta = jax.eval_shape(Hypernet().init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(theta)) == 2_304_513
    assert {x.dtype for x in jax.tree.leaves(theta)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("as_published", "scale"), [(False, 0.01), (True, 1e-9**0.5)])
def test_scale_of_a_tensor_that_starts_at_zero(as_published, scale):
    """Biases alone in a bank of one: d = 2, a = 3."""
    optimizer = Hypernet(lstm=2, bank=1, as_published=as_published)
    theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    theta["bank"]["b3"] = jnp.array([[2.0, 4.0, 0.0]])
    theta["mixture"]["b"], theta["step_size"]["b"] = jnp.array([0.01]), jnp.array([3.0])
    tx, p = optimizer.transform(theta, num_steps=10), {"b": jnp.zeros(4), "w": 2 * jnp.ones(4)}
    steps, _ = jax.jit(tx.update)(p, tx.init(p), p)
    unit = 0.001 * 3 * 2 * np.exp(0.001 * 4)
    np.testing.assert_allclose(steps["b"], unit * scale, rtol=1e-5)
    np.testing.assert_allclose(steps["w"], unit * 2, rtol=1e-5)


def test_tensors_see_each_other_through_the_maximum_alone():
    optimizer, both = Hypernet(**SMALL), {"matrix": (2, 3), "vector": (4,)}
    theta = trained_theta(optimizer)
    apart = {**theta, "lstm": {**theta["lstm"]}}
    apart["lstm"]["pool"] = jax.tree.map(jnp.zeros_like, theta["lstm"]["pool"])

    @jax.jit
    def step(theta, p):
        tx = optimizer.transform(theta, num_steps=HORIZON)
        return tx.update(p, tx.init(p), p)[0]["matrix"]

    beside, alone = start(both), start({"matrix": both["matrix"]})
    far, near = step(theta, alone), step(theta, beside)
    assert abs(near - far).max() > 1e-3 * abs(far).max()
    np.testing.assert_allclose(step(apart, beside), step(apart, alone), rtol=1e-5)


def test_without_a_loss_its_features_are_zero():
    """As they are for two losses; the third one matters, unless it is not finite."""
    optimizer, shapes = Hypernet(**SMALL), {"vector": (3,)}
    tx = optimizer.transform(trained_theta(optimizer), num_steps=HORIZON)
    p, grads = start(shapes), [tree(i, shapes=shapes) for i in range(4)]
    absent = descend(tx, p, grads)
    nan = descend(tx, p, grads, value=jnp.full(4, jnp.nan))
    given = descend(tx, p, grads, value=losses(4))
    broken = descend(tx, p, grads, value=losses(4).at[2].set(jnp.inf))
    for i, differs in enumerate([False, False, True, True]):
        np.testing.assert_array_equal(absent[i]["vector"], nan[i]["vector"])
        assert np.array_equal(absent[i]["vector"], given[i]["vector"]) != differs
    np.testing.assert_array_equal(absent[2]["vector"], broken[2]["vector"])
    assert np.isfinite(broken[3]["vector"]).all()
    assert not np.array_equal(absent[3]["vector"], broken[3]["vector"])


def test_gradients_are_clipped_at_1000():
    optimizer, shapes = Hypernet(**SMALL), {"matrix": (2, 3), "scalar": ()}
    tx = optimizer.transform(trained_theta(optimizer), num_steps=HORIZON)
    p, signs = start(shapes), jax.tree.map(jnp.sign, tree(3, shapes=shapes))
    paths = [
        descend(tx, p, [jax.tree.map(lambda s, c=c: c * s, signs)] * 2)[-1]
        for c in (500.0, 1e3, 1e12)
    ]
    jax.tree.map(np.testing.assert_array_equal, paths[1], paths[2])
    assert not np.array_equal(paths[0]["matrix"], paths[1]["matrix"])


def test_at_initialisation_loss_and_time_do_not_matter():
    optimizer, shapes = Hypernet(**SMALL), {"scalar": (), "vector": (3,)}
    p, grads, found = start(shapes), [tree(i, shapes=shapes) for i in range(4)], []
    for num_steps, extras in [(10, {}), (1000, {"value": losses(4)})]:
        tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=num_steps)
        found.append(descend(tx, p, grads, **extras)[-1])
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert not np.array_equal(found[0]["vector"], p["vector"])


def test_a_skipped_step_leaves_no_trace():
    optimizer, shapes = Hypernet(**SMALL), {"narrow": WITH_ZEROS["narrow"]}
    tx = optimizer.transform(trained_theta(optimizer), num_steps=HORIZON)
    one, two, three, four = (tree(seed, shapes=shapes) for seed in range(4))
    bad = {"narrow": one["narrow"].at[0, 0].set(np.nan)}
    p, values = start(shapes), [1.0, 3.0, 100.0, 2.0, 1.5]
    path = descend(tx, p, [one, two, bad, three, four], value=values)
    jax.tree.map(np.testing.assert_array_equal, path[2], path[1])
    plain = descend(tx, p, [one, two, three, four], value=values[:2] + values[3:])
    jax.tree.map(np.testing.assert_array_equal, path[-1], plain[-1])


def test_schedule_is_the_common_factor():
    optimizer = Hypernet(**SMALL)
    schedule = optimizer.schedule(optimizer.init(jax.random.key(0)), num_steps=10)
    assert schedule(3) == np.float32(0.001)


def test_the_loss_must_be_a_scalar():
    optimizer = Hypernet(**SMALL)
    tx, p = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=10), jnp.ones(2)
    with pytest.raises(ValueError, match=r"a scalar, got an array of shape \(2,\); pass its mean"):
        tx.update(p, tx.init(p), p, value=jnp.ones(2))
