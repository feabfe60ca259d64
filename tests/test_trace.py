"""What an optimizer does along a run, against closed forms and Adam in float64."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from learned_opt.eval.baselines import warmup_cosine
from learned_opt.eval.running import eval_steps
from learned_opt.eval.running._trace import trace, watch
from learned_opt.tasks import EvalTask, FamilySpec, inner_init, inner_step
from learned_opt.tasks.problems import MLP

HORIZON = 45
TASK = EvalTask(
    "tiny",
    FamilySpec(MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1)), "digits", 16),
    (("activation", 0),),
    HORIZON,
)
PARAMS = {"w": jnp.array([[3.0, 1.0], [2.0, -1.0]]), "b": jnp.array([0.5, -2.0])}
GRADS = {"w": jnp.array([[0.3, -0.1], [0.2, 0.4]]), "b": jnp.array([-0.5, 0.1])}


@pytest.fixture(autouse=True)
def optax_promotes():
    """Optax's own code divides floats by integers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def watched(tx, grads, params=PARAMS):
    """`seen` after each of a sequence of gradients: 4 arrays (steps,)."""
    tx = watch(tx)

    def step(carry, g):
        params, state = carry
        updates, state = tx.update(g, state, params)
        return (optax.apply_updates(params, updates), state), state.seen

    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *grads)
    scan = jax.jit(lambda params, grads: jax.lax.scan(step, (params, tx.init(params)), grads)[1])
    return [np.asarray(column) for column in scan(params, stacked)]


def rms(x):
    return np.sqrt(np.mean(np.asarray(x, np.float64) ** 2))


def flat(tree):
    return np.concatenate([np.asarray(tree[name], np.float64).ravel() for name in ("w", "b")])


@pytest.mark.parametrize(
    "schedule",
    [lambda count: jnp.full((), 3e-3), lambda count: 3e-2 * warmup_cosine(HORIZON)(count)],
    ids=["constant", "cosine"],
)
def test_of_adam_itself_the_cosine_is_one_and_the_rate_its_learning_rate(schedule):
    found = trace(TASK, optax.adam(schedule), seed=3)
    np.testing.assert_array_equal(found.steps, np.unique(eval_steps(HORIZON)))
    assert found.steps[-1] == HORIZON
    rates = [float(schedule(step - 1)) for step in found.steps]
    np.testing.assert_allclose(found.effective_lr, rates, rtol=1e-5)
    np.testing.assert_allclose(found.cosine, 1.0, atol=1e-5)


def test_of_ascent_the_cosine_is_minus_one():
    _, _, rate, cosine = watched(optax.adam(-0.1), [GRADS] * 3)
    np.testing.assert_allclose(cosine, -1.0, atol=1e-6)
    np.testing.assert_allclose(rate, 0.1, rtol=1e-6)


def test_of_gradient_descent_on_a_constant_gradient():
    """Adam's step is -sign(g), of rms 1: the rate is lr rms(g), the cosine mean|g| / rms(g)."""
    size, relative, rate, cosine = watched(optax.sgd(0.1), [GRADS] * 5)
    g = flat(GRADS)
    np.testing.assert_allclose(size, 0.1 * rms(g), rtol=1e-6)
    # 1 - 0.999^t in float32 is 3e-5 off.
    np.testing.assert_allclose(rate, 0.1 * rms(g), rtol=3e-5)
    np.testing.assert_allclose(cosine, np.mean(np.abs(g)) / rms(g), rtol=3e-5)
    p = [rms(flat(PARAMS) - 0.1 * t * g) for t in range(5)]
    np.testing.assert_allclose(relative, 0.1 * rms(g) / p, rtol=1e-5)


def test_adam_beside_is_that_of_kingma_and_ba():
    """Twenty random gradients, moments in float64."""
    rng = np.random.default_rng(0)
    grads = [
        {name: rng.normal(size=p.shape).astype(np.float32) for name, p in PARAMS.items()}
        for _ in range(20)
    ]
    _, _, rate, cosine = watched(optax.sgd(0.5), grads)
    m, v = np.zeros(6), np.zeros(6)
    for t, grad in enumerate(grads, 1):
        g = flat(grad)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        d = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        assert rate[t - 1] == pytest.approx(0.5 * rms(g) / rms(d), rel=1e-4)
        want = g @ d / np.linalg.norm(g) / np.linalg.norm(d)
        assert cosine[t - 1] == pytest.approx(want, abs=1e-5)


def test_a_trace_is_of_the_plain_loop():
    """The parameters themselves, before and after each step; their difference to 1e-3."""
    tx = optax.with_extra_args_support(optax.sgd(0.3))
    found = trace(TASK, tx, seed=101)
    family, task = TASK.family, TASK.member
    init_key, step_key = jax.random.split(jax.random.key(101))
    state = inner_init(task, tx, init_key)
    step = jax.jit(lambda state, key: inner_step(family, tx, state, key)[0])
    for t in range(HORIZON):
        before, state = state, step(state, jax.random.fold_in(step_key, t))
        if t + 1 not in found.steps:
            continue
        (row,) = np.flatnonzero(found.steps == t + 1)
        old, new = (
            np.concatenate([p.ravel() for p in jax.tree.leaves(s.params)]) for s in (before, state)
        )
        assert found.update_rms[row] == pytest.approx(rms(new - old), rel=1e-3)
        assert found.relative[row] == pytest.approx(rms(new - old) / rms(old), rel=1e-3)


def test_a_gradient_that_is_not_finite_leaves_no_trace():
    """One NaN: that step is undefined, the next is as if it had not been."""
    bad = {"w": GRADS["w"].at[0, 0].set(jnp.nan), "b": GRADS["b"]}
    tx = optax.apply_if_finite(optax.adam(0.01), 5)
    size, relative, rate, cosine = watched(tx, [GRADS, bad, GRADS])
    np.testing.assert_array_equal(size[1], 0.0)
    np.testing.assert_array_equal(relative[1], 0.0)
    assert np.isnan([rate[1], cosine[1]]).all()
    np.testing.assert_allclose(rate[2], 0.01, rtol=1e-5)
    np.testing.assert_allclose(cosine[2], 1.0, atol=1e-5)


def test_a_diverged_run_is_undefined_and_json():
    found = trace(TASK, optax.sgd(1e30), seed=0)
    made = found.to_json()
    json.dumps(made, allow_nan=False)
    assert set(made) == {"steps", "update_rms", "relative", "effective_lr", "cosine"}
    assert made["effective_lr"][-1] is None


def test_what_cannot_be_divided_is_undefined():
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    size, relative, rate, cosine = watched(optax.sgd(0.1), [zeros], zeros)
    np.testing.assert_array_equal(size, 0.0)
    assert all(np.isnan(column).all() for column in (relative, rate, cosine))


@pytest.mark.parametrize("lr", [1e-30, 1e27])
def test_no_square_overflows_or_vanishes(lr):
    """Rms of float32 whose squares are no float32."""
    size, _, rate, cosine = watched(optax.sgd(lr), [GRADS])
    g = flat(GRADS)
    np.testing.assert_allclose(size[0], lr * rms(g), rtol=1e-5)
    np.testing.assert_allclose(rate[0], lr * rms(g), rtol=1e-5)
    np.testing.assert_allclose(cosine[0], np.mean(np.abs(g)) / rms(g), rtol=1e-5)


def test_updates_are_the_optimizers_own_and_extras_reach_it():
    """Also in bfloat16; the trace, and the Adam beside, are float32."""
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra)
        return jax.tree.map(lambda g: -0.1 * g, updates), state

    tx = watch(optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update))
    params, grads = (jax.tree.map(lambda x: x.astype(jnp.bfloat16), t) for t in (PARAMS, GRADS))
    updates, state = tx.update(grads, tx.init(params), params, value=2.0)
    assert seen == {"value": 2.0}
    np.testing.assert_array_equal(updates["w"], -0.1 * grads["w"])
    assert all(column.dtype == jnp.float32 for column in state.seen)
    assert {x.dtype for x in jax.tree.leaves(state.adam)} == {
        jnp.dtype("int32"),
        jnp.dtype("float32"),
    }
    want = rms(flat(jax.tree.map(lambda g: np.float32(-0.1 * g), grads)))
    assert float(state.seen[0]) == pytest.approx(want, rel=1e-5)
