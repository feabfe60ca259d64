"""What every optimizer in OPTIMIZERS must do to be at home in optax."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import FEW, optimizers
from sharded import SMALL

import learned_opt

PARAMS = {
    "w": jnp.ones((3, 4)) * jnp.arange(1.0, 4.0)[:, None],
    "b": jnp.ones(4),
    "s": jnp.ones(()),
}
GRADS = jax.tree.map(lambda p: 0.1 * p + 0.01, PARAMS)


@pytest.fixture(params=optimizers())
def optimizer(request):
    return request.param(**SMALL.get(request.param, {}))


@pytest.fixture
def artifact(optimizer):
    return learned_opt.Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "test"})


@pytest.fixture
def tx(artifact):
    return learned_opt.learned(artifact, num_steps=100)


few = pytest.mark.parametrize("optimizer", optimizers(FEW), indirect=True)


def steps(tx, params=PARAMS, grads=GRADS, count=3, **extra):
    state = tx.init(params)
    update = jax.jit(lambda g, s, p: tx.update(g, s, p, **extra))
    for _ in range(count):
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def near(a, b):
    """Equal to 1e-5 of the largest step: single elements may be sums that cancel."""
    size = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(b))
    close(a, b, rtol=1e-5, atol=1e-5 * size)


def test_value_hash(optimizer):
    twin = dataclasses.replace(optimizer)
    assert twin == optimizer
    assert hash(twin) == hash(optimizer)
    assert twin is not optimizer


def test_scale_by_is_unnegated_and_learned_negates_it(artifact, tx):
    scale_by = learned_opt.scale_by_learned(artifact, num_steps=100)
    up, _ = scale_by.update(GRADS, scale_by.init(PARAMS), PARAMS)
    down, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    close(up, jax.tree.map(jnp.negative, down))


def test_learning_rate_multiplies_the_step(artifact, tx):
    half = learned_opt.learned(artifact, num_steps=100, learning_rate=0.5)
    one, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    other, _ = half.update(GRADS, half.init(PARAMS), PARAMS)
    close(other, jax.tree.map(lambda u: 0.5 * u, one), rtol=1e-6)


def test_weight_decay_has_the_units_of_adamw_and_respects_the_mask(artifact, tx):
    mask = {"w": True, "b": False, "s": False}
    decayed = learned_opt.learned(artifact, num_steps=100, weight_decay=0.5, mask=mask)
    plain, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    other, _ = decayed.update(GRADS, decayed.init(PARAMS), PARAMS)
    step_size = artifact.optimizer.schedule(artifact.theta, num_steps=100)(0)
    np.testing.assert_allclose(other["w"], plain["w"] - step_size * 0.5 * PARAMS["w"], rtol=1e-6)
    close({k: other[k] for k in "bs"}, {k: plain[k] for k in "bs"}, rtol=1e-6)


def test_value_and_unknown_extras_are_accepted(tx):
    close(steps(tx), steps(tx, value=jnp.array(1.0), unknown=3))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_and_shapes_are_kept(tx, dtype):
    params, grads = (jax.tree.map(lambda x: x.astype(dtype), t) for t in (PARAMS, GRADS))
    updates, state = tx.update(grads, tx.init(params), params)
    facts = [[(x.dtype, x.shape) for x in jax.tree.leaves(t)] for t in (updates, params)]
    assert facts[0] == facts[1]
    again = tx.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(again)
    assert [x.dtype for x in jax.tree.leaves(state)] == [x.dtype for x in jax.tree.leaves(again)]


def test_bfloat16_update_is_the_float32_update_rounded(tx):
    params, grads = (jax.tree.map(lambda x: x.astype(jnp.bfloat16), t) for t in (PARAMS, GRADS))
    wide = [jax.tree.map(lambda x: x.astype(jnp.float32), t) for t in (params, grads)]
    got, _ = tx.update(grads, tx.init(params), params)
    want, _ = tx.update(wide[1], tx.init(wide[0]), wide[0])
    close(jax.tree.map(lambda x: x.astype(jnp.float32), got), want, rtol=2**-7)


def test_empty_tree(tx):
    updates, _ = tx.update({}, tx.init({}), {})
    assert updates == {}


def test_one_compilation_and_same_result_under_jit(tx):
    traces = 0

    @jax.jit
    def update(g, s, p):
        nonlocal traces
        traces += 1
        return tx.update(g, s, p)

    state = tx.init(PARAMS)
    first, state = update(GRADS, state, PARAMS)
    update(GRADS, state, PARAMS)
    assert traces == 1
    plain, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    near(first, plain)


@few
def test_state_can_be_donated(tx):
    step = jax.jit(lambda g, s, p: tx.update(g, s, p)[1], donate_argnums=1)
    state = step(GRADS, tx.init(PARAMS), PARAMS)
    step(GRADS, state, PARAMS)


def test_vmap_over_theta_and_num_steps_equals_a_loop(optimizer):
    thetas = jax.vmap(optimizer.init)(jax.random.split(jax.random.key(0), 3))
    horizons = jnp.array([10, 100, 1000])

    def one(theta, num_steps):
        tx = optimizer.transform(theta, num_steps=num_steps)
        return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]

    batched = jax.jit(jax.vmap(one))(thetas, horizons)
    for i in range(3):
        alone = one(jax.tree.map(lambda x, i=i: x[i], thetas), horizons[i])
        near(jax.tree.map(lambda x, i=i: x[i], batched), alone)


def test_scan_equals_a_loop(tx):
    def step(carry, _):
        params, state = carry
        updates, state = tx.update(GRADS, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), length=3)
    close(params, steps(tx), rtol=1e-5)


@few
def test_chain_with_clipping(tx):
    clipped = optax.chain(optax.clip_by_global_norm(1e-3), tx)
    small = jax.tree.map(lambda g: g * 1e-3 / optax.tree.norm(GRADS), GRADS)
    close(steps(clipped), steps(tx, grads=small), rtol=1e-4)


@few
def test_partition_and_masked_touch_only_their_part(artifact, tx):
    labels = {"w": "learned", "b": "sgd", "s": "sgd"}
    split = optax.partition({"learned": tx, "sgd": optax.sgd(0.1)}, labels)
    after = steps(split, count=1)
    np.testing.assert_allclose(after["b"], PARAMS["b"] - 0.1 * GRADS["b"], rtol=1e-6)
    only_w = {"w": PARAMS["w"]}
    np.testing.assert_allclose(
        after["w"], steps(tx, only_w, {"w": GRADS["w"]}, count=1)["w"], rtol=1e-6
    )
    masked = optax.masked(tx, {"w": True, "b": False, "s": False})
    updates, _ = masked.update(GRADS, masked.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["b"], GRADS["b"])


@few
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_multi_steps_averages_gradients(tx):
    every2 = optax.MultiSteps(tx, 2)
    state, params, update = every2.init(PARAMS), PARAMS, jax.jit(every2.update)
    for weight in (0.5, 1.5):
        grads = jax.tree.map(lambda g, w=weight: w * g, GRADS)
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    close(params, steps(tx, count=1), rtol=1e-5)


def test_inject_hyperparams_changes_the_learning_rate(artifact, tx):
    injected = optax.inject_hyperparams(
        lambda learning_rate: learned_opt.learned(
            artifact, num_steps=100, learning_rate=learning_rate
        )
    )(learning_rate=1.0)
    state = injected.init(PARAMS)
    state.hyperparams["learning_rate"] = jnp.asarray(2.0)
    double, _ = injected.update(GRADS, state, PARAMS)
    single, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    close(double, jax.tree.map(lambda u: 2 * u, single), rtol=1e-6)


@few
def test_apply_if_finite(tx):
    safe = optax.apply_if_finite(tx, 3)
    close(steps(safe), steps(tx), rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "bad"),
    [
        pytest.param(*cls.values, bad, id=f"{cls.id}-{bad}", marks=cls.marks if i else ())
        for i, bad in enumerate((np.nan, np.inf, -np.inf, 1e30))
        for cls in optimizers(FEW if i else None)
    ],
    indirect=["optimizer"],
)
def test_a_gradient_that_is_not_finite_skips_the_step_and_is_counted(artifact, bad):
    tx = learned_opt.learned(artifact, num_steps=100, weight_decay=0.1)
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    poisoned = {**GRADS, "b": GRADS["b"].at[1].set(bad)}
    updates, after = tx.update(poisoned, state, PARAMS)
    for u in jax.tree.leaves(updates):
        np.testing.assert_array_equal(u, 0)
    assert int(after.skipped) == 1
    assert int(after.skipped_in_a_row) == 1
    uncounted = [s._replace(skipped=0, skipped_in_a_row=0) for s in (after, state)]
    jax.tree.map(np.testing.assert_array_equal, *uncounted)
    good, _ = tx.update(GRADS, state, PARAMS)
    resumed, _ = tx.update(GRADS, after, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, good, resumed)


# Without None: an optimizer that has no horizon takes it.
@pytest.mark.parametrize("bad", [0, -5, 2.5, True, "100", np.zeros(2, int), np.float32(3)])
def test_num_steps_must_be_a_positive_integer(artifact, bad):
    with pytest.raises(ValueError, match="num_steps must be a positive integer, got"):
        learned_opt.learned(artifact, num_steps=bad)


@pytest.mark.parametrize("good", [1, np.int64(3), np.array(3), jnp.array(3)])
def test_num_steps_of_any_integer_type(artifact, good):
    learned_opt.learned(artifact, num_steps=good)


def test_params_must_be_given(tx):
    with pytest.raises(ValueError, match=r"params must be passed .* got None"):
        tx.update(GRADS, tx.init(PARAMS), None)
    with pytest.raises(ValueError, match=r"params must be passed .* got None"):
        tx.init(None)


def test_integer_and_empty_leaves_are_named(tx):
    with pytest.raises(ValueError, match=r"floating point, got int32 at \['step'\]; exclude it"):
        tx.init({"w": jnp.ones(2), "step": jnp.zeros((), jnp.int32)})
    with pytest.raises(ValueError, match=r"at least one number, got shape \(0, 3\) at \['w'\]"):
        tx.init({"w": jnp.ones((0, 3))})
