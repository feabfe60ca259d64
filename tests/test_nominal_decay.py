"""Decay and damping of `Nominal`, one option at a time, by closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt import Nominal

ORTHOGONAL = {"orthogonal": True, "hidden": 0, "controller_hidden": 0}


def test_decay_takes_at_most_half_at_a_step():
    """With a w = 3, where all of it would turn weights over and make them twice as large."""
    optimizer = Nominal(**ORTHOGONAL, learning_rate=0.1, weight_decay=30.0, warmup=0.0)
    params = {"w": jnp.full((4, 3), 2.0)}
    tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=10)
    updates, _ = tx.update({"w": jnp.zeros((4, 3))}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], 1.0, rtol=1e-6)


@pytest.mark.parametrize("bounded", [False, True])
def test_damped_steps_shrink_where_gradients_have_vanished(bounded):
    """After ten gradients of ones one of r: by D = min(1, e^k (r / before + 1e-4)).

    With `bounded` decay grows by 1 / D.
    """
    rule = ORTHOGONAL | {"learning_rate": 0.1, "warmup": 0.0, "bounded": bounded}
    params = {"w": jnp.full((4, 3), 0.5)}  # In scale: rms(p) sqrt(fan in) is one.
    for r in (0.1, 1e-3):
        mean = (10 + 2 * r**2) / 12 if bounded else ema_of_squares(10, r)
        ratio, start = r / np.sqrt(mean), 2.5 if bounded else 4.0
        steps = []
        for decay, damped in ((0.0, False), (0.0, True), (0.02, True)):
            optimizer = Nominal(**rule, weight_decay=decay, damped=damped)
            theta = optimizer.init(jax.random.key(0))
            tx = optimizer.transform(theta, num_steps=100)
            ones = jax.tree.map(jnp.ones_like, params)
            state = tx.init(params)
            for _ in range(10):
                _, state = tx.update(ones, state, params)
            small = jax.tree.map(lambda x, r=r: r * x, ones)
            steps.append(np.asarray(tx.update(small, state, params)[0]["w"]))
        factor = min(1, np.exp(start) * (ratio + 1e-4))
        assert (factor == 1) == (r == 0.1)
        np.testing.assert_allclose(steps[1] / steps[0], factor, 1e-4)
        decayed = float(optimizer.schedule(theta, num_steps=100)(10)) * 0.02 * 0.5
        np.testing.assert_allclose(steps[2] - steps[1], decayed / factor**bounded, 1e-3)


def ema_of_squares(ones, r):
    """Bias-corrected .999 EMA of the squares of that many ones, then of r."""
    return (0.999 * (1 - 0.999**ones) + 0.001 * r**2) / (1 - 0.999 ** (ones + 1))


def test_damping_forgets_how_large_gradients_were_at_first():
    """One of 1,000 before steps of 1: its share of the level at step t is 2 / ((t + 1) (t + 2))."""
    optimizer = Nominal(**ORTHOGONAL, damped=True, bounded=True)
    tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=1000)
    params = {"w": jnp.ones((4, 3))}

    def step(state, size):
        _, state = tx.update(jax.tree.map(lambda x: size * x, params), state, params)
        return state, state.tensors.level[0]

    sizes = jnp.ones(200).at[0].set(1000.0)
    _, levels = jax.lax.scan(step, tx.init(params), sizes)
    t = np.arange(200.0)
    share = 2 / ((t + 1) * (t + 2))
    np.testing.assert_allclose(levels, 1 + (1e6 - 1) * share, rtol=1e-4)


def test_bounded_decay_finds_weights_that_are_out_of_scale():
    """Of matrices with rms c / sqrt(fan in), no gradient: each loses a w c^2, at most e^5 a w."""
    rule = ORTHOGONAL | {"learning_rate": 0.1, "weight_decay": 0.01, "warmup": 0.0}
    optimizer = Nominal(**rule, bounded=True)
    scales = {"in scale": 1.0, "above": 2.0, "below": 0.5, "far above": 100.0}
    rng = np.random.default_rng(0)
    params = {k: jnp.asarray(c / 4 * rng.choice([-1.0, 1.0], (16, 5))) for k, c in scales.items()}
    params = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=10)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(nothing, tx.init(params), params)
    for name, c in scales.items():
        want = 0.1 * 0.01 * np.clip(c**2, np.exp(-5), np.exp(5))
        np.testing.assert_allclose(updates[name] / params[name], want, rtol=1e-4)


def test_selective_decay_is_where_gradients_are_noise():
    """From equal gradients c = 1 - .98^t, from changing signs minus that, from noise about 0."""
    rule = ORTHOGONAL | {"learning_rate": 0.1, "warmup": 0.0, "feedback": True}
    rng = np.random.default_rng(0)
    params = {"w": jnp.full((16, 8), 2.0)}
    once = rng.normal(size=(16, 8))
    grads = {
        "equal": lambda t: once,
        "back and forth": lambda t: (-1) ** t * once,
        "noise": lambda t: rng.normal(size=(16, 8)),
    }
    drawn = {kind: [jnp.asarray(draw(t), jnp.float32) for t in range(200)]
             for kind, draw in grads.items()}  # fmt: skip

    def decay_at_the_end(kind, update, tx):
        state = tx.init(params)
        for g in drawn[kind]:
            step, state = update({"w": g}, state, params)
        return np.mean(np.asarray(step["w"]))

    ends = {}
    for selective in (False, True):
        for decay in (0.0, 0.1):
            optimizer = Nominal(**rule, weight_decay=decay, selective=selective)
            tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=300)
            update = jax.jit(tx.update)
            for kind in grads:
                ends[kind, selective, decay] = decay_at_the_end(kind, update, tx)
    found = {
        kind: (ends[kind, True, 0.1] - ends[kind, True, 0.0])
        / (ends[kind, False, 0.1] - ends[kind, False, 0.0])
        for kind in grads
    }
    np.testing.assert_allclose(found["equal"], np.exp(-5 * (1 - 0.98**199)), rtol=1e-2)
    # The momentum before is of the last gradient's sign, which this one changes.
    np.testing.assert_allclose(found["back and forth"], found["equal"], rtol=2e-2)
    # A cosine of 128 normals has a deviation of 128^-.5, and a mean over 50 or so a tenth of it.
    assert found["noise"] > np.exp(-5 * 4 * 128**-0.5 * 0.1)


def test_paced_steps_are_short_where_gradients_are_noise():
    """Over steps without it exp(15 min(0, q - .4)), q^2 the weighted mean of cosines squared."""
    rng = np.random.default_rng(0)
    once = rng.normal(size=(16, 8))
    signs = itertools.cycle((1.0, -1.0))
    kinds = {"equal": lambda: once, "back and forth": lambda: next(signs) * once,
             "mixed": lambda: 0.1 * once + rng.normal(size=(16, 8)),
             "noise": lambda: rng.normal(size=(16, 8))}  # fmt: skip
    rule = ORTHOGONAL | {"warmup": 0.0, "weight_decay": 0.0, "feedback": True}
    params = {"w": jnp.ones((16, 8))}
    updates = []
    for paced in (False, True):
        optimizer = Nominal(**rule, paced=paced)
        tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=300)
        updates.append((tx.init(params), jax.jit(tx.update)))
    for kind, draw in kinds.items():
        states = [state for state, _ in updates]
        momentum, squares, weights = np.zeros((16, 8)), 0.0, 0.0
        for _ in range(60):
            g = draw()
            grads = {"w": jnp.asarray(g, jnp.float32)}
            steps = []
            for i, (_, update) in enumerate(updates):
                step, states[i] = update(grads, states[i], params)
                steps.append(np.asarray(step["w"], np.float64))
            length = max(np.linalg.norm(momentum), 0.01 * np.linalg.norm(g)) * np.linalg.norm(g)
            squares = 0.98 * squares + 0.02 * (np.sum(momentum * g) / length) ** 2
            weights = 0.98 * weights + 0.02
            momentum = 0.9 * momentum + 0.1 * g
        want = np.exp(15 * min(0.0, np.sqrt(squares / weights) - 0.4))
        np.testing.assert_allclose(steps[1], want * steps[0], rtol=1e-4)
        assert want < 0.1 if kind in ("mixed", "noise") else want == 1.0


@pytest.mark.parametrize("name", ["selective", "paced"])
def test_what_listens_to_gradients_needs_feedback(name):
    with pytest.raises(ValueError, match=f"{name} needs feedback, got feedback=False"):
        Nominal(**{name: True})
