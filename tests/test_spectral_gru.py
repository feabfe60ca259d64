"""SpectralGRU against float64 and `Spectral`, and what its controller sees and remembers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_controlled import reference
from steps import SHAPES, descend, moved_theta, run, tree
from test_gated_adam import STEPS, TWINS, gradients

import learned_opt
from learned_opt import Spectral, SpectralGRU
from learned_opt.parts._loss import init_loss, loss_progress

KEY = jax.random.key(0)
LOSSES = np.exp(-np.arange(STEPS) / 8) * (1 + 0.2 * np.cos(3 * np.arange(STEPS)))


def values(losses=LOSSES):
    return list(jnp.asarray(losses, jnp.float32))


def gru_of(optimizer, theta):
    """`SpectralGRU` with the theta of a `Spectral` where both have it."""
    ours = SpectralGRU(**dataclasses.asdict(optimizer))
    start = ours.init(KEY)
    rows, columns = theta["controller"]["skip"].shape
    skip = start["controller"]["skip"].at[:rows, :columns].set(theta["controller"]["skip"])
    return ours, {**start, **theta, "controller": {**start["controller"], "skip": skip}}


@pytest.mark.parametrize(
    ("stacked", "options", "told"),
    [
        (False, {"learning_rate": 1.0}, {"losses": LOSSES.tolist(), "epochs": 7.5}),
        (True, {"learning_rate": 20.0, "horizon_free": True}, {"losses": LOSSES.tolist()}),
        (True, {"learning_rate": 0.05, "factored": True, "hidden": 3}, {}),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(stacked, options, told):
    # This theta's steps are short: rates at which the way is far more than rounding of parameters.
    optimizer = SpectralGRU(weight_decay=1e-3, **options)
    shapes, theta = TWINS if stacked else SHAPES, moved_theta(optimizer)
    params = tree(0, shapes=shapes) | {"scalar": jnp.asarray(6.0)}
    grads = gradients(STEPS, shapes=shapes)
    tx = optimizer.transform(theta, num_steps=STEPS, epochs=told.get("epochs"))
    extras = {"value": values()} if "losses" in told else {}
    got = descend(tx, params, grads, **extras)[-1]
    want = reference(optimizer, theta, params, grads, STEPS, **told)[-1]
    for name in shapes:
        moved = want[name] - np.asarray(params[name], np.float64)
        error = np.asarray(got[name], np.float64) - want[name]
        assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(want[name])
        assert np.linalg.norm(error) < 2e-5 * np.linalg.norm(moved)


TREES = {
    "all": SHAPES,
    "twins": TWINS,
    "vectors": {"a": (3,), "b": (1,)},
    "matrices": {"a": (5, 6), "b": (1, 1)},
}


@pytest.mark.parametrize("name", TREES)
def test_with_the_theta_of_a_spectral_it_is_that(name):
    """Told the loss and the epochs, and not; to 1e-5 of the way and a rounding of parameters."""
    shapes, optimizer = TREES[name], Spectral(learning_rate=0.05)
    params, grads = tree(0, shapes=shapes), gradients(STEPS, shapes=shapes)
    theta = moved_theta(optimizer, 0.0 if name == "all" else 0.1)
    want = descend(optimizer.transform(theta, num_steps=STEPS), params, grads)[-1]
    ours, start = gru_of(optimizer, theta)
    for epochs, extras in ((None, {}), (3, {"value": values()})):
        tx = ours.transform(start, num_steps=STEPS, epochs=epochs)
        found = run(tx, params, grads, **extras)
        for k in shapes:
            error, way = (jnp.linalg.norm(want[k] - x[k]) for x in (found[-1].after, params))
            assert error < 1e-5 * way + 1e-6 * jnp.linalg.norm(want[k])
        # It has learned nothing yet, but remembers.
        assert (found[-1].state.tensors.hidden != 0).all()


def test_the_initial_theta_is_that_of_a_spectral():
    optimizer = Spectral(momenta="bfloat16", horizon_free=True)
    ours, theta = gru_of(optimizer, optimizer.init(KEY))
    jax.tree.map(np.testing.assert_array_equal, theta, ours.init(KEY))


def test_steps_do_not_follow_the_scale_of_the_loss():
    """Under g -> k g, loss -> k loss with powers of two, up to rounding of EMAs of tiny g^2."""
    optimizer = SpectralGRU(learning_rate=0.1)
    tx = optimizer.transform(moved_theta(optimizer, 0.1), num_steps=STEPS, epochs=2)
    ends = []
    for k in (1.0, 2.0**-12, 2.0**12):
        grads = gradients(STEPS, 0.1 * k)
        ends.append(descend(tx, tree(0), grads, value=values(k * LOSSES))[-1])
    for end in ends[1:]:
        for name in SHAPES:
            np.testing.assert_allclose(end[name], ends[0][name], rtol=1e-4, atol=1e-5)


def test_features_of_the_loss():
    """Of one that falls as e^-t/9: where all means are full, ratios of sums of two exponentials."""
    state, total, fall = init_loss(), jnp.float32(1000.0), 9.0
    see = jax.jit(lambda state, value: loss_progress(state, value, total))
    for t in range(300):
        found, state = see(state, jnp.exp(-t / fall))
    rates = 1 / np.array([10.0, 10 ** (5 / 3), 10 ** (7 / 3), 1000.0])
    b, r = np.exp(-rates), np.exp(-1 / fall)
    # (1 - b) sum b^(t-i) r^i over 1 - b^(t+1)
    c = (1 - b) * (b**300 - r**300) / (b - r) / (1 - b**300)
    ratio = (c[1:] - c[:-1]) / (c[1:] + c[:-1])
    np.testing.assert_allclose(found, [1, *(ratio / (ratio + 0.05)), 0], rtol=1e-3, atol=1e-6)
    for k in (1e-6, 1e6):
        scaled = init_loss()
        for t in range(3):
            again, scaled = see(scaled, k * (3.0 - t))
        # Falling by a third, then by half: all features but the last are above zero.
        assert again[0] == 1
        assert (again[1:4] > 0).all()
        assert again[4] == 0
        assert see(scaled, k * 5.0)[0][4] > 0.3


def test_a_loss_or_epochs_that_are_not_known_are_as_if_not_told():
    optimizer = SpectralGRU(learning_rate=0.1)
    theta, shapes = moved_theta(optimizer, 0.1), {"w": (4, 3)}
    grads = jax.tree.map(lambda *x: jnp.stack(x), *gradients(5, shapes=shapes))

    def end(epochs=None, values=None):
        tx, params = optimizer.transform(theta, num_steps=9, epochs=epochs), tree(0, shapes=shapes)

        def step(carry, given):
            extra = {} if values is None else {"value": given[1]}
            u, state = tx.update(given[0], carry[1], carry[0], **extra)
            return (jax.tree.map(jnp.subtract, carry[0], u), state), None

        start = params, tx.init(params)
        return jax.lax.scan(step, start, (grads, values))[0][0]["w"]

    told, unknown, known = jax.jit(end), jnp.full(5, jnp.nan), jnp.asarray(LOSSES[:5], jnp.float32)
    plain = told()
    for epochs in (jnp.nan, 0.0, -1.0, jnp.inf):
        np.testing.assert_allclose(told(epochs, unknown), plain, rtol=1e-6, atol=1e-7)
    every = [told(epochs, x) for epochs in (jnp.nan, 0.5, 1.0, 100.0) for x in (unknown, known)]
    for k, one in enumerate(every):
        for other in every[:k]:
            assert jnp.abs(one - other).max() > 1e-5


def test_epochs_are_refused_where_they_are_not_used_or_no_number_above_zero():
    with pytest.raises(ValueError, match="spectral makes no use of epochs, got 3; leave"):
        learned_opt.learned("small", num_steps=10, epochs=3)
    optimizer = SpectralGRU()
    theta = optimizer.init(KEY)
    for wrong in (0, -1.0, True, "3", jnp.ones(2), float("nan")):
        with pytest.raises(ValueError, match="epochs must be a number above zero, got "):
            optimizer.transform(theta, num_steps=10, epochs=wrong)


def test_tensors_see_each_other_through_the_memory():
    """One step late, tensors of a kind more than others; alone it is a mean of itself."""
    optimizer = SpectralGRU(learning_rate=0.1, weight_decay=0.0)
    theta = moved_theta(optimizer, 0.1)
    tx = optimizer.transform(theta, num_steps=50)
    shapes = {"a": (4, 3), "b": (4, 3), "c": (3,)}
    grads = gradients(3, shapes=shapes)
    other = [g | {"b": 3 * (i + 1) * jnp.abs(g["b"])} for i, g in enumerate(grads)]
    one, two = (run(tx, tree(0, shapes=shapes), g) for g in (grads, other))
    apart = [x.state.tensors.hidden - y.state.tensors.hidden for x, y in zip(one, two, strict=True)]
    # At the first step all that tells tensors of equal statistics apart is their own.
    np.testing.assert_array_equal(apart[0][0], 0)
    assert (apart[2][jnp.array([0, 2])] != 0).any(1).all()


def test_a_long_run_does_not_drift():
    """20,000 steps of noise at a theta far out: the memory stays within 1, all is finite."""
    optimizer = SpectralGRU(horizon_free=True)
    theta = jax.tree.map(lambda x: 3 * x, moved_theta(optimizer, 0.5))
    params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(1)}
    tx = optimizer.transform(theta)

    def step(carry, key):
        p, state = carry
        keys = dict(zip(p, jax.random.split(key), strict=True))
        g = {k: jax.random.normal(keys[k], x.shape) for k, x in p.items()}
        u, state = tx.update(g, state, p, value=jnp.sum(g["w"] ** 2))
        return (jax.tree.map(jnp.subtract, p, u), state), jnp.abs(state.tensors.hidden).max()

    run = jax.jit(
        lambda: jax.lax.scan(step, (params, tx.init(params)), jax.random.split(KEY, 20_000))
    )
    (p, state), largest = run()
    assert float(largest.max()) <= 1
    assert int(state.skipped) == 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((p, state)))


def test_bfloat16_momenta_and_factors_keep_little():
    """Of a matrix 3 bfloat16 a parameter, a float a row and a column; a few numbers a tensor."""
    optimizer = SpectralGRU(momenta="bfloat16", factored=True)
    tx = optimizer.transform(optimizer.init(KEY), num_steps=10)
    state = tx.init({"w": jnp.zeros((256, 128))})
    assert sum(x.nbytes for x in jax.tree.leaves(state.elements)) == 6 * 256 * 128 + 4 * (256 + 128)
    assert sum(x.size for x in jax.tree.leaves((state.tensors, state.run))) == 5 + 8 + 21


@pytest.mark.slow
def test_the_initial_theta_has_finite_gradients_in_all_that_acts():
    """Of the end of five steps, one of them of zeros, from parameters that are zero in part."""
    optimizer = SpectralGRU(learning_rate=0.1)
    params = {"w": jnp.ones((4, 3)), "b": jnp.zeros(3)}
    losses, sizes = jnp.array([[2.0, 1.0, 0.0, 1.0, 1.5], [1.0, 0.5, 0.0, 1.0, 0.3]])
    g = tree(1, shapes={"w": (4, 3), "b": (3,)})

    def end(theta):
        tx = optimizer.transform(theta, num_steps=9, epochs=2.0)

        def step(carry, given):
            grads = jax.tree.map(lambda p, x: given[0] * (p + x), carry[0], g)
            u, state = tx.update(grads, carry[1], carry[0], value=given[1] * jnp.sum(carry[0]["w"]))
            return (jax.tree.map(jnp.subtract, carry[0], u), state), None

        (p, _), _ = jax.lax.scan(step, (params, tx.init(params)), (sizes, losses))
        return jnp.sum(p["w"] ** 2) + jnp.sum(p["b"] ** 2)

    slopes = jax.jit(jax.grad(end))
    start = slopes(optimizer.init(KEY))
    moved = slopes(moved_theta(optimizer, 0.1))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((start, moved)))
    # All five outputs act at once, the memory as soon as its head is not zero.
    assert (start["controller"]["head"]["w"] != 0).all()
    assert (moved["controller"]["memory"]["w"] != 0).any(0).all()
