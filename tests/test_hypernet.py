"""The hypernetwork optimizer against its formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_hypernet import hypernet

from learned_opt import Hypernet

SHAPES = {
    "conv": (3, 3, 2, 4), "matrix": (5, 6), "narrow": (6, 5), "scalar": (), "tensor": (3, 4, 2),
    "vector": (7,), "zeros": (4,),
}  # fmt: skip
STEPS, HORIZON = 20, 30
SMALL = {"lstm": 6, "bank": 5}


def tree(seed, scale=1.0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(scale * rng.normal(size=s), jnp.float32) for k, s in shapes.items()}


def params(shapes=SHAPES):
    return {k: 0 * x if k == "zeros" else x for k, x in tree(0, shapes=shapes).items()}


def losses(count=STEPS):
    """Falling on the whole, with jumps: one is beyond twice the largest mean."""
    found = np.exp(np.random.default_rng(5).normal(size=count) - np.arange(count) / 10)
    found[7:8] = 50.0
    return jnp.asarray(found, jnp.float32)


def trained_theta(optimizer, size=0.3):
    """A theta with every entry off its initial value, and a larger step."""
    rng = np.random.default_rng(1)
    theta = jax.tree.map(
        lambda x: x + jnp.asarray(size * rng.normal(size=x.shape), jnp.float32),
        optimizer.init(jax.random.key(0)),
    )
    theta["mixture"] = jax.tree.map(lambda x: 0.1 * x, theta["mixture"])
    theta["step_size"] = jax.tree.map(lambda x: 20 * x, theta["step_size"])
    return theta


def descender(tx):
    """Gives parameters after each step, for fixed gradients and losses (None: no losses)."""

    @jax.jit
    def step(g, state, params, value):
        steps, state = tx.update(g, state, params, value=value)
        return jax.tree.map(jnp.subtract, params, steps), state

    def descend(params, grads, values=None):
        state, path = tx.init(params), []
        for i, g in enumerate(grads):
            params, state = step(g, state, params, None if values is None else values[i])
            path.append(params)
        return path

    return descend


@pytest.mark.parametrize(
    ("as_published", "floor", "names"),
    [
        (False, 0.01, ("conv", "narrow", "scalar", "tensor", "vector")),
        (True, 0.0, ("matrix", "zeros")),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(as_published, floor, names):
    """Relative error under 1e-5 of the parameters and of the way they went."""
    optimizer, shapes = Hypernet(**SMALL, as_published=as_published), {k: SHAPES[k] for k in names}
    theta, values = trained_theta(optimizer), np.asarray(losses(), np.float64)
    descend, p = descender(optimizer.transform(theta, num_steps=HORIZON)), params(shapes)
    for scale in (1e-4, 1e3):
        grads = [tree(i + 1, scale, shapes) for i in range(STEPS)]
        got = descend(p, grads, losses())[-1]
        want = hypernet(theta, p, grads, values, HORIZON, floor)[-1]
        for name, start in p.items():
            moved = np.linalg.norm(want[name] - np.asarray(start, np.float64))
            error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
            assert moved > 0.1 * np.linalg.norm(want[name])
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

    beside, alone = params(both), params({"matrix": both["matrix"]})
    far, near = step(theta, alone), step(theta, beside)
    assert abs(near - far).max() > 1e-3 * abs(far).max()
    np.testing.assert_allclose(step(apart, beside), step(apart, alone), rtol=1e-5)


def test_without_a_loss_its_features_are_zero():
    """As they are for two losses; the third one matters, unless it is not finite."""
    optimizer, shapes = Hypernet(**SMALL), {"vector": (3,)}
    descend = descender(optimizer.transform(trained_theta(optimizer), num_steps=HORIZON))
    p, grads = params(shapes), [tree(i, shapes=shapes) for i in range(4)]
    absent = descend(p, grads)
    nan = descend(p, grads, jnp.full(4, jnp.nan))
    given = descend(p, grads, losses(4))
    broken = descend(p, grads, losses(4).at[2].set(jnp.inf))
    for i, differs in enumerate([False, False, True, True]):
        np.testing.assert_array_equal(absent[i]["vector"], nan[i]["vector"])
        assert np.array_equal(absent[i]["vector"], given[i]["vector"]) != differs
    np.testing.assert_array_equal(absent[2]["vector"], broken[2]["vector"])
    assert np.isfinite(broken[3]["vector"]).all()
    assert not np.array_equal(absent[3]["vector"], broken[3]["vector"])


def test_gradients_are_clipped_at_1000():
    optimizer, shapes = Hypernet(**SMALL), {"matrix": (2, 3), "scalar": ()}
    descend = descender(optimizer.transform(trained_theta(optimizer), num_steps=HORIZON))
    p, signs = params(shapes), jax.tree.map(jnp.sign, tree(3, shapes=shapes))
    paths = [
        descend(p, [jax.tree.map(lambda s, c=c: c * s, signs)] * 2)[-1] for c in (500.0, 1e3, 1e12)
    ]
    jax.tree.map(np.testing.assert_array_equal, paths[1], paths[2])
    assert not np.array_equal(paths[0]["matrix"], paths[1]["matrix"])


def test_at_initialisation_loss_and_time_do_not_matter():
    optimizer, shapes = Hypernet(**SMALL), {"scalar": (), "vector": (3,)}
    p, grads, found = params(shapes), [tree(i, shapes=shapes) for i in range(4)], []
    for num_steps, values in [(10, None), (1000, losses(4))]:
        tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=num_steps)
        found.append(descender(tx)(p, grads, values)[-1])
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert not np.array_equal(found[0]["vector"], p["vector"])


def test_a_skipped_step_leaves_no_trace():
    optimizer, shapes = Hypernet(**SMALL), {"narrow": SHAPES["narrow"]}
    descend = descender(optimizer.transform(trained_theta(optimizer), num_steps=HORIZON))
    one, two, three, four = (tree(seed, shapes=shapes) for seed in range(4))
    bad = {"narrow": one["narrow"].at[0, 0].set(np.nan)}
    p, values = params(shapes), [1.0, 3.0, 100.0, 2.0, 1.5]
    path = descend(p, [one, two, bad, three, four], values)
    jax.tree.map(np.testing.assert_array_equal, path[2], path[1])
    plain = descend(p, [one, two, three, four], values[:2] + values[3:])
    jax.tree.map(np.testing.assert_array_equal, path[-1], plain[-1])


def test_schedule_is_the_common_factor():
    optimizer = Hypernet(**SMALL)
    schedule = optimizer.schedule(optimizer.init(jax.random.key(0)), num_steps=10)
    assert schedule(3) == np.float32(0.001)


@pytest.mark.parametrize("wrong", [{"lstm": 0}, {"bank": 2.5}, {"hidden": True}])
def test_sizes_must_be_positive_integers(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} must be a positive integer, got"):
        Hypernet(**wrong)


def test_the_loss_must_be_a_scalar():
    optimizer = Hypernet(**SMALL)
    tx, p = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=10), jnp.ones(2)
    with pytest.raises(ValueError, match=r"a scalar, got an array of shape \(2,\); pass its mean"):
        tx.update(p, tx.init(p), p, value=jnp.ones(2))
