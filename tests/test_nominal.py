"""The nominal + correction rule against AdamW, against float64, and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nominal_runs import SHAPES, STEPS, descend, negated, trained_theta, tree
from reference_nominal import reference

from learned_opt import Nominal

TWINS = {**SHAPES, "a": (6, 5), "z": (7,)}
"""With stacks of two, of leaves that are not neighbours."""


@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_initial_theta_is_adamw_with_warmup_and_linear_decay():
    optimizer = Nominal(learning_rate=3e-2, weight_decay=0.2, warmup=0.2)

    def schedule(count):
        t = jnp.asarray(count, jnp.float32)
        return 3e-2 * jnp.minimum(1.0, (t + 1) / (0.2 * STEPS)) * (1 - t / STEPS)

    adamw = optax.adamw(schedule, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.2)
    theta = optimizer.init(jax.random.key(0))
    ours = negated(optimizer.transform(theta, num_steps=STEPS))
    params, grads = tree(0), [tree(i + 1, 0.1) for i in range(STEPS)]
    for got, want in zip(descend(ours, params, grads), descend(adamw, params, grads), strict=True):
        for name in SHAPES:
            np.testing.assert_allclose(got[name], want[name], rtol=2e-5, atol=2e-6)


def test_descends_before_any_meta_training():
    """Only a rule that starts as AdamW promises this."""
    optimizer = Nominal()
    tx = negated(optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=100))
    params = jax.tree.map(lambda p: jnp.abs(p) + 1, tree(0))
    after = descend(tx, params, [jax.tree.map(lambda p: 0.1 * p + 0.01, params)] * 3)[-1]
    for name in SHAPES:
        assert (after[name] < params[name]).all()


def test_a_horizon_is_needed():
    optimizer = Nominal()
    with pytest.raises(ValueError, match="num_steps must be a positive integer, got None"):
        optimizer.transform(optimizer.init(jax.random.key(0)))


@pytest.mark.parametrize(
    ("stacked", "options"),
    [
        (False, {}),
        (True, {"feedback": True}),
        (False, {"factored": True, "feedback": True}),
        (True, {"factored": True}),
        (False, {"orthogonal": True, "feedback": True}),
        (True, {"orthogonal": True, "hidden": 0, "controller_hidden": 0}),
        (True, {"orthogonal": True, "feedback": True, "horizon_free": True, "fading": True}),
        (False, {"fading": True}),
        (False, {"damped": True}),
        (True, {"orthogonal": True, "feedback": True, "damped": True}),
        (True, {"orthogonal": True, "damped": True, "bounded": True, "weight_decay": 1e-3}),
        (False, {"bounded": True, "weight_decay": 1e-3, "learning_rate": 3e-2}),
        (False, {"feedback": True, "selective": True, "paced": True}),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(stacked, options):
    """Relative error under 1e-5 of the parameters, 2e-5 of the way they went; stacked or not."""
    # Orthogonal steps are of a root mean square of 0.2: as long a way, so as much of rounding.
    # Paced ones are short where gradients are noise, as these are.
    rate = 5e-2 if "orthogonal" in options else 1e-1 if "paced" in options else 1e-2
    optimizer = Nominal(**({"learning_rate": rate} | options))
    theta = trained_theta(optimizer)
    shapes = TWINS if stacked else SHAPES
    params, *grads = (tree(i, 0.1 if i else 1.0, shapes) for i in range(STEPS + 1))
    if optimizer.bounded:
        params["scalar"] = jnp.asarray(6.0)  # The logarithm of its size has no bound near zero.
    got = descend(negated(optimizer.transform(theta, num_steps=STEPS)), params, grads)[-1]
    want = reference(optimizer, theta, params, grads, STEPS)[-1]
    for name in shapes:
        moved = want[name] - np.asarray(params[name], np.float64)
        error = np.asarray(got[name], np.float64) - want[name]
        assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(want[name])
        assert np.linalg.norm(error) < 2e-5 * np.linalg.norm(moved)


def test_bfloat16_momenta_agree_with_a_reference_that_rounds_them():
    """To 2^-9 of a step: a last bit that float32 and float64 round differently moves it so far."""
    optimizer = Nominal(learning_rate=1e-2, momenta="bfloat16", factored=True)
    theta = trained_theta(optimizer)
    params, grads = tree(0), [tree(i + 1, 0.1) for i in range(STEPS)]
    got = descend(negated(optimizer.transform(theta, num_steps=STEPS)), params, grads)[-1]
    want = reference(optimizer, theta, params, grads, STEPS)[-1]
    for name in SHAPES:
        moved = want[name] - np.asarray(params[name], np.float64)
        error = np.asarray(got[name], np.float64) - want[name]
        assert np.linalg.norm(error) < 2**-9 * np.linalg.norm(moved)


def test_feedback_tells_steps_that_overshoot_from_steps_that_could_be_longer():
    """On p^2 / 2: far below 1 the gradient keeps its sign, steps of 2 p turn it every time."""
    optimizer = Nominal(feedback=True)
    tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=100)
    found = {}
    for rate in (0.01, 2.0):
        p, state = {"w": jnp.ones((4, 3))}, tx.init({"w": jnp.ones((4, 3))})
        for _ in range(30):
            _, state = jax.jit(tx.update)(p, state, p)
            p = jax.tree.map(lambda x, rate=rate: x - rate * x, p)
        found[rate] = [float(x[0]) for x in state.tensors.feedback]
    # Before the first gradient there is nothing to compare it with.
    np.testing.assert_allclose(found[0.01][0], 1 - 0.8**29, rtol=1e-4)
    np.testing.assert_allclose(found[2.0][:2], [-(1 - 0.8**29), -(1 - 0.98**29)], rtol=1e-4)
    # Untrained, the controller makes nothing of it.
    assert found[0.01][2] == found[2.0][2] == 0


def test_orthogonal_steps_have_a_size_of_their_own():
    """Gates seven times as large: the same step of a matrix, seven times that of a vector."""
    optimizer = Nominal(orthogonal=True, weight_decay=0.0)
    theta = optimizer.init(jax.random.key(0))
    gates = theta["gate"] | {"b3": 7 * theta["gate"]["b3"]}
    params, grads = tree(0), tree(1)

    def step(theta):
        tx = optimizer.transform(theta, num_steps=1)
        return tx.update(grads, tx.init(params), params)[0]

    once, more = step(theta), step(theta | {"gate": gates})
    for name, shape in SHAPES.items():
        times = 7.0 if len(shape) < 2 else 1.0
        np.testing.assert_allclose(more[name], times * once[name], rtol=1e-3, atol=1e-8)
        if len(shape) >= 2:
            size = float(jnp.sqrt(jnp.mean(once[name] ** 2)))
            assert 0.7 < size / (0.2 * optimizer.learning_rate) < 1.3


def test_scales_that_are_shaped_to_broadcast_step_like_a_vector():
    """Those of a group norm, (channels, 1, 1, 1); of Equinox a convolution's biases too."""
    optimizer = Nominal(orthogonal=True, feedback=True, bounded=True)
    theta = trained_theta(optimizer, size=0.1)
    tx, paths = optimizer.transform(theta, num_steps=5), []
    for shape in ((12,), (12, 1, 1, 1), (12, 1, 1)):
        trees = [tree(i, shapes={"scale": shape, "w": (4, 5)}) for i in range(6)]
        paths.append(descend(negated(tx), trees[0], trees[1:])[-1])
    vector, *others = (path["scale"].ravel() for path in paths)
    for other in others:
        np.testing.assert_allclose(other, vector, rtol=1e-5)


def test_the_lean_variant_keeps_half_the_momenta_and_no_second_moment():
    """Of a matrix: 3 bfloat16 a parameter, a float a row and one a column."""
    params = {"w": jnp.zeros((256, 128))}
    optimizer = Nominal(momenta="bfloat16", factored=True)
    theta = optimizer.init(jax.random.key(0))
    state = optimizer.transform(theta, num_steps=10).init(params)
    held = sum(x.nbytes for x in jax.tree.leaves(state) if x.ndim)
    assert held == 3 * 2 * 256 * 128 + 4 * (256 + 128)


def test_without_a_horizon_num_steps_changes_nothing():
    optimizer = Nominal(horizon_free=True)
    theta, params, grads = trained_theta(optimizer), tree(0), [tree(1)]
    paths = [
        descend(negated(optimizer.transform(theta, num_steps=n)), params, grads)
        for n in (None, 10, 10**6)
    ]
    for path in paths[1:]:
        jax.tree.map(np.testing.assert_array_equal, path, paths[0])
    schedule = optimizer.schedule(optimizer.init(jax.random.key(0)))
    for step, want in ((0, 1 / 50), (49, (1 + 0.49) ** -0.5), (9900, 0.1)):
        np.testing.assert_allclose(schedule(step), 3e-3 * want, rtol=1e-5)
    with pytest.raises(ValueError, match="num_steps must be a positive integer, got 0"):
        optimizer.transform(theta, num_steps=0)


def test_flipping_a_coordinate_flips_its_update():
    optimizer = Nominal(feedback=True)
    tx = optimizer.transform(trained_theta(optimizer), num_steps=STEPS)
    rng = np.random.default_rng(5)
    signs = {k: jnp.asarray(rng.choice([-1.0, 1.0], s), jnp.float32) for k, s in SHAPES.items()}
    params, grads = tree(0), [tree(i + 1, 0.1) for i in range(5)]
    flip = lambda x: jax.tree.map(jnp.multiply, x, signs)  # noqa: E731
    plain = descend(negated(tx), params, grads)[-1]
    flipped = descend(negated(tx), flip(params), [flip(g) for g in grads])[-1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), flip(plain), flipped
    )


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scale_of_the_loss_does_not_matter(scale):
    optimizer = Nominal(feedback=True)
    tx = optimizer.transform(trained_theta(optimizer), num_steps=STEPS)
    params, grads = tree(0), [tree(i + 1) for i in range(5)]
    scaled = [jax.tree.map(lambda g: scale * g, tree) for tree in grads]
    plain, other = (descend(negated(tx), params, g)[-1] for g in (grads, scaled))
    for name in SHAPES:
        np.testing.assert_allclose(plain[name], other[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-15])
def test_a_tensor_without_gradient_stays_finite(size):
    """A unit that is masked out has a gradient of exactly zero from the first step on."""
    optimizer = Nominal(feedback=True)
    tx = optimizer.transform(trained_theta(optimizer), num_steps=STEPS)
    params, grads = tree(0), [tree(i + 1, size) for i in range(5)]
    for p in jax.tree.leaves(descend(negated(tx), params, grads)[-1]):
        assert np.isfinite(p).all()


def test_its_derivative_exists_where_gradients_are_zero():
    """Rows without, like images with blank borders; a matrix and a vector without, like masked."""
    params = {"w": jnp.ones((3, 2)), "u": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    seen = jax.tree.map(jnp.zeros_like, params)
    seen["w"] = seen["w"].at[1].set(jnp.array([0.3, -0.2]))
    optimizer = Nominal(hidden=2, controller_hidden=2, feedback=True)

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
    optimizer = Nominal()
    tx = negated(optimizer.transform(trained_theta(optimizer), num_steps=3))
    path = descend(tx, tree(0), [tree(i + 1) for i in range(6)])
    assert float(jnp.abs(path[2]["matrix"] - path[1]["matrix"]).max()) > 0
    for name in SHAPES:
        np.testing.assert_array_equal(path[3][name], path[2][name])
        np.testing.assert_array_equal(path[5][name], path[2][name])
