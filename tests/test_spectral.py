"""Spectral against float64 and against closed forms, one term of its equation at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import SHAPES, descend, moved_theta, run, tree
from test_gated_adam import TWINS, check_agreement

from learned_opt import Spectral

OFF = -50.0
"""Of a learned logarithm: what it multiplies is then zero."""


def start(optimizer, **learned):
    """Theta at its start, but for those scalars; `log_start` and `log_kept` are the damping's."""
    theta = optimizer.init(jax.random.key(0))
    for name, value in learned.items():
        table = theta["damping"] if name in ("log_start", "log_kept") else theta
        table[name] = jnp.asarray(value)
    return theta


@pytest.mark.parametrize(
    ("stacked", "options"),
    [
        (False, {}),
        (True, {"horizon_free": True, "learning_rate": 0.2}),
        (True, {"factored": True}),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(stacked, options):
    # Steps of a root mean square of 0.2: as long a way as others, so as much of rounding.
    optimizer = Spectral(**({"learning_rate": 5e-2, "weight_decay": 1e-3} | options))
    shapes = TWINS if stacked else SHAPES
    # The logarithm of its size has no bound near zero.
    params = tree(0, shapes=shapes) | {"scalar": jnp.asarray(6.0)}
    check_agreement(optimizer, moved_theta(optimizer), shapes, params=params)


def test_its_size_is_that_of_adam_whatever_the_gradients_are():
    """Of a matrix a root mean square of about .2 a(t), of a vector at the first step 1."""
    optimizer = Spectral(weight_decay=0.0, warmup=0.0)
    tx, params = optimizer.transform(start(optimizer), num_steps=1), tree(0)
    for scale in (1e-3, 1.0, 1e3):
        steps = run(tx, params, [tree(1, scale)])[0].step
        for name, shape in SHAPES.items():
            size = float(jnp.sqrt(jnp.mean(steps[name] ** 2))) / optimizer.learning_rate
            assert (0.14 < size < 0.26) if len(shape) > 1 else abs(size - 1) < 1e-5


def test_scales_that_are_shaped_to_broadcast_step_like_a_vector():
    """Those of a group norm, (channels, 1, 1, 1); of Equinox a convolution's biases too."""
    optimizer = Spectral()
    tx, paths = optimizer.transform(moved_theta(optimizer, 0.1), num_steps=5), []
    for shape in ((12,), (12, 1, 1, 1), (12, 1, 1)):
        trees = [tree(i, shapes={"scale": shape, "w": (4, 5)}) for i in range(6)]
        paths.append(descend(tx, trees[0], trees[1:])[-1])
    vector, *others = (path["scale"].ravel() for path in paths)
    for other in others:
        np.testing.assert_allclose(other, vector, rtol=1e-5)


def test_feedback_tells_steps_that_overshoot_from_steps_that_could_be_longer():
    """On p^2 / 2: far below 1 the gradient keeps its sign, steps of 2 p turn it every time."""
    optimizer = Spectral()
    tx = optimizer.transform(start(optimizer), num_steps=100)
    update, found = jax.jit(tx.update), {}
    for rate in (0.01, 2.0):
        p, state = {"w": jnp.ones((4, 3))}, tx.init({"w": jnp.ones((4, 3))})
        for _ in range(30):
            _, state = update(p, state, p)
            p = jax.tree.map(lambda x, rate=rate: x - rate * x, p)
        found[rate] = [float(x[0]) for x in state.tensors]
    # Before the first gradient there is nothing to compare it with.
    np.testing.assert_allclose(found[0.01][0], 1 - 0.8**29, rtol=1e-4)
    np.testing.assert_allclose(found[2.0][:2], [-(1 - 0.8**29), -(1 - 0.98**29)], rtol=1e-4)
    # Untrained, the controller makes nothing of it.
    assert found[0.01][2] == found[2.0][2] == 0


def test_decay_takes_at_most_half_at_a_step():
    """With a w = 3, where all of it would turn weights over and make them twice as large."""
    optimizer = Spectral(learning_rate=0.1, weight_decay=30.0, warmup=0.0)
    params = {"w": jnp.full((4, 3), 2.0)}
    tx = optimizer.transform(start(optimizer), num_steps=10)
    updates, _ = tx.update({"w": jnp.zeros((4, 3))}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], 1.0, rtol=1e-6)


def test_steps_shrink_where_gradients_have_vanished():
    """After ten gradients of ones one of r: by D = min(1, e^k (r / sqrt(l) + 1e-4)); decay grows.

    By 1 / D.
    """
    params = {"w": jnp.full((4, 3), 0.5)}  # In scale: rms(p) sqrt(fan in) is one.
    for r in (0.1, 1e-3):
        steps = []
        for decay, begins in ((0.0, 1.0), (0.0, 0.0), (0.02, 0.0)):
            optimizer = Spectral(learning_rate=0.1, warmup=0.0, weight_decay=decay)
            theta = start(optimizer, log_start=begins, log_fade=OFF, log_selectivity=OFF)
            tx, ones = optimizer.transform(theta, num_steps=100), {"w": jnp.ones((4, 3))}
            state, update = tx.init(params), jax.jit(tx.update)
            for _ in range(10):
                _, state = update(ones, state, params)
            small = jax.tree.map(lambda x, r=r: r * x, ones)
            steps.append(np.asarray(update(small, state, params)[0]["w"]))
        factor = min(1, np.exp(2.5) * (r / np.sqrt((10 + 2 * r**2) / 12) + 1e-4))
        assert (factor == 1) == (r == 0.1)
        np.testing.assert_allclose(steps[1] / steps[0], factor, 1e-4)
        decayed = float(optimizer.schedule(theta, num_steps=100)(10)) * 0.02 * 0.5
        np.testing.assert_allclose(steps[2] - steps[1], decayed / factor, 1e-3)


def test_damping_forgets_how_large_gradients_were_at_first():
    """One of 1,000 before steps of 1: its share of the level at step t is 2 / ((t + 1) (t + 2))."""
    optimizer, params = Spectral(), {"w": jnp.ones((4, 3))}
    tx = optimizer.transform(start(optimizer), num_steps=1000)

    def step(state, size):
        _, state = tx.update(jax.tree.map(lambda x: size * x, params), state, params)
        return state, state.tensors.level[0]

    sizes = jnp.ones(200).at[0].set(1000.0)
    _, levels = jax.lax.scan(step, tx.init(params), sizes)
    t = np.arange(200.0)
    share = 2 / ((t + 1) * (t + 2))
    np.testing.assert_allclose(levels, 1 + (1e6 - 1) * share, rtol=1e-4)


def test_decay_finds_weights_that_are_out_of_scale():
    """Of matrices with rms c / sqrt(fan in): each loses a w c^2, at most e^5 a w."""
    optimizer = Spectral(learning_rate=0.1, weight_decay=0.01, warmup=0.0)
    scales = {"in scale": 1.0, "above": 2.0, "below": 0.5, "far above": 100.0}
    rng = np.random.default_rng(0)
    params = {k: jnp.asarray(c / 4 * rng.choice([-1.0, 1.0], (16, 5)), jnp.float32)
              for k, c in scales.items()}  # fmt: skip
    theta = start(optimizer, log_kept=OFF)
    tx = optimizer.transform(theta, num_steps=10)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    for name, c in scales.items():
        want = 0.1 * 0.01 * np.clip(c**2, np.exp(-5), np.exp(5))
        np.testing.assert_allclose(updates[name] / params[name], want, rtol=1e-4)


def test_decay_is_where_gradients_are_noise():
    """From equal gradients c = 1 - .98^t, from changing signs minus that, from noise about 0."""
    rng, count = np.random.default_rng(0), 200
    params, once = {"w": jnp.full((16, 8), 2.0)}, rng.normal(size=(16, 8))
    signs = (-1.0) ** np.arange(count)
    kinds = {
        "equal": np.broadcast_to(once, (count, 16, 8)),
        "back and forth": signs[:, None, None] * once,
        "noise": rng.normal(size=(count, 16, 8)),
    }
    drawn = jnp.asarray(np.stack(list(kinds.values()), 1), jnp.float32)
    ends = {}
    for selectivity in (OFF, 0.0):
        for decay in (0.0, 0.1):
            optimizer = Spectral(learning_rate=0.1, warmup=0.0, weight_decay=decay)
            theta = start(optimizer, log_selectivity=selectivity, log_bound=OFF, log_kept=OFF)
            tx = optimizer.transform(theta, num_steps=300)

            def one(state, g, tx=tx):
                step, state = tx.update({"w": g}, state, params)
                return state, jnp.mean(step["w"])

            every = jax.vmap(lambda g, one=one, tx=tx: jax.lax.scan(one, tx.init(params), g)[1])
            ends[selectivity, decay] = jax.jit(every)(jnp.swapaxes(drawn, 0, 1))[:, -1]
    equal, back, noise = (ends[0.0, 0.1] - ends[0.0, 0.0]) / (ends[OFF, 0.1] - ends[OFF, 0.0])
    np.testing.assert_allclose(equal, np.exp(-5 * (1 - 0.98**199)), rtol=1e-2)
    # The momentum before is of the last gradient's sign, which this one changes.
    np.testing.assert_allclose(back, equal, rtol=2e-2)
    # A cosine of 128 normals has a deviation of 128^-.5, and a mean over 50 or so a tenth of it.
    assert noise > np.exp(-5 * 4 * 128**-0.5 * 0.1)
