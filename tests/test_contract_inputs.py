"""What every optimizer makes of the parameters, gradients, schedules and horizons it is given."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import every, few, optimizers
from sharded import SMALL
from steps import moved_theta

import learned_opt

PARAMS = {
    "w": jnp.ones((3, 4)) * jnp.arange(1.0, 4.0)[:, None],
    "b": jnp.ones(4),
    "s": jnp.ones(()),
}
GRADS = jax.tree.map(lambda p: 0.1 * p + 0.01, PARAMS)

every_name = pytest.mark.parametrize("name", learned_opt.available())


def artifact(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    return learned_opt.Artifact(optimizer, moved_theta(optimizer, 0.1), {"name": "test"})


def learned(cls, **options):
    return learned_opt.learned(artifact(cls), num_steps=10, **options)


def first(tx, grads=GRADS, params=PARAMS):
    return tx.update(grads, tx.init(params), params)


def near(a, b):
    """Equal to 1e-5 of the largest step."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    size = max(float(np.abs(x).max()) for x in jax.tree.leaves(b))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-5, atol=1e-5 * size)


def types(tree):
    return jax.tree.map(lambda x: str(jax.typeof(x)), tree)


# --- Types of numbers. ---


def cast(tree, dtype):
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x), dtype), tree)


def check_types(optimizer, theta):
    """theta, parameters and gradients each in float32 and in float64."""
    want, kept = first(optimizer.transform(theta, num_steps=10))
    for of_theta, of_params, of_grads in itertools.product(("float32", "float64"), repeat=3):
        with jax.enable_x64(True):
            tx = optimizer.transform(cast(theta, of_theta), num_steps=10)
            params, grads = cast(PARAMS, of_params), cast(GRADS, of_grads)
            assert (params["w"].dtype, grads["w"].dtype) == (of_params, of_grads)
            got, after = first(tx, grads, params)
            assert types(after) == types(tx.init(params)) == types(kept)
            assert {x.dtype.name for x in jax.tree.leaves(got)} == {of_grads}
        near(got, want)
    # Without x64 arrays of float64 may still come, from numpy.
    wide = [jax.tree.map(lambda x: np.asarray(x, "float64"), t) for t in (GRADS, PARAMS)]
    wide_theta = jax.tree.map(lambda x: np.asarray(x, "float64"), theta)
    got, after = first(optimizer.transform(wide_theta, num_steps=10), *wide)
    assert types(after) == types(kept)
    near(got, want)


@every
def test_types_and_x64_change_nothing(cls):
    check_types(artifact(cls).optimizer, artifact(cls).theta)


@pytest.mark.slow
@every_name
def test_types_and_x64_change_nothing_of_an_artifact(name):
    check_types(learned_opt.load(name).optimizer, learned_opt.load(name).theta)


def scanned(tx, params, grads):
    def step(carry, _):
        params, state = carry
        updates, state = tx.update(grads, state, params, value=jnp.ones((), jnp.float32))
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), length=3)[0]


def check_scan(tx):
    """Of float64 parameters, shapes and types: decay and schedules are traced, too."""
    with jax.enable_x64(True):
        params, grads = cast(PARAMS, "float64"), cast(GRADS, "float64")
        after, state = jax.eval_shape(lambda *x: scanned(tx, *x), params, grads)
        assert {x.dtype.name for x in jax.tree.leaves(after)} == {"float64"}
        assert "float64" not in str(types(state))


@every
def test_init_and_scan_under_x64(cls):
    optimizer = artifact(cls).optimizer
    plain = optimizer.init(jax.random.key(0))
    with jax.enable_x64(True):
        theta = optimizer.init(jax.random.key(0))
    assert types(theta) == types(plain)
    jax.tree.map(np.testing.assert_array_equal, theta, plain)
    schedule = optax.linear_schedule(0.1, 0.0, 10)
    check_scan(learned(cls, weight_decay=schedule, learning_rate=schedule))


@every_name
def test_artifacts_under_x64(name):
    plain = learned_opt.load(name)
    with jax.enable_x64(True):
        again = learned_opt.load(name)
    assert types(again.theta) == types(plain.theta)
    assert again.sha256 == plain.sha256
    check_scan(learned_opt.learned(name, num_steps=10, weight_decay=0.1))


# --- Schedules. ---

CONSTANTS = {
    "optax": (optax.constant_schedule(0.5), optax.constant_schedule(0.1)),
    "function": (lambda t: 0.5, lambda t: 0.1 + 0 * t.astype(jnp.float32)),
}


@every
def test_constant_schedules_are_constants(cls):
    want, _ = first(learned(cls, learning_rate=0.5, weight_decay=0.1))
    for rate, decay in CONSTANTS.values():
        got, state = first(learned(cls, learning_rate=rate, weight_decay=decay))
        near(got, want)
        assert int(optax.tree.get(state, "count")) == 1


MASKS = {
    "none": (None, "wbs"),
    "tree": ({"w": True, "b": False, "s": True}, "ws"),
    "prefix": (False, ""),
    "arrays": ({"w": jnp.asarray(True), "b": jnp.asarray(False), "s": False}, "w"),
    "function": (lambda params: jax.tree.map(lambda p: p.ndim > 1, params), "w"),
}


@every
def test_schedules_follow_the_closed_form(cls):
    """p <- p - lr(t) (u + a(t) wd(t) p), for three steps and where the mask says."""
    rate, decay = optax.linear_schedule(1.0, 0.5, 4), optax.exponential_decay(0.3, 2, 0.5)
    it = artifact(cls)
    size = it.optimizer.schedule(it.theta, num_steps=10)
    alone = learned_opt.scale_by_learned(it, num_steps=10)
    for mask, decayed in MASKS.values() if cls.name == "gated_adam" else [MASKS["tree"]]:
        tx = learned(cls, learning_rate=rate, weight_decay=decay, mask=mask)
        params, state, inner = PARAMS, tx.init(PARAMS), alone.init(PARAMS)
        for t in range(3):
            got, state = tx.update(GRADS, state, params)
            u, inner = alone.update(GRADS, inner, params)
            w = {k: float(size(t)) * float(decay(t)) * (k in decayed) for k in PARAMS}
            want = {k: -float(rate(t)) * (u[k] + w[k] * params[k]) for k in PARAMS}
            near(got, want)
            params = optax.apply_updates(params, got)


@pytest.mark.parametrize("cls", optimizers({"gated_adam"}))
def test_injected_hyperparams_may_be_schedules(cls):
    def build(learning_rate, weight_decay):
        return learned(cls, learning_rate=learning_rate, weight_decay=weight_decay)

    with jax.numpy_dtype_promotion("standard"):  # optax's own code divides floats by integers
        tx = optax.inject_hyperparams(build)(
            learning_rate=0.5, weight_decay=optax.linear_schedule(0.1, 0.0, 10)
        )
        got, state = first(tx)
    near(got, first(build(0.5, 0.1))[0])
    assert float(state.hyperparams["weight_decay"]) == np.float32(0.1)


# --- Leaves. ---


@few
def test_numbers_and_arrays_of_numpy_are_leaves(cls):
    tx = learned(cls)
    for tree, number in (({"a": 1.0}, 0.5), ({"a": np.float32(1.0)}, np.float32(0.5))):
        got, state = first(tx, {"a": number}, tree)
        want, wanted = first(tx, {"a": jnp.asarray(0.5)}, {"a": jnp.asarray(1.0)})
        near(got, want)
        assert got["a"].dtype == jnp.float32
        assert types(state) == types(tx.init(tree)) == types(wanted)
    got, want = first(tx, *(jax.tree.map(np.asarray, t) for t in (GRADS, PARAMS))), first(tx)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def part(tree, names="ws"):
    return {k: tree[k] for k in names}


@every
def test_a_gradient_of_none_freezes_its_parameter(cls):
    """Outside jit and within, twice in a row; then it moves again."""
    tx, frozen = learned(cls), {**GRADS, "b": None}
    start = tx.init(PARAMS)
    _, alone = first(tx, part(GRADS), part(PARAMS))
    want, _ = tx.update(part(GRADS), alone, part(PARAMS))
    _, once = tx.update(frozen, start, PARAMS)
    got, twice = jax.jit(tx.update)(frozen, once, PARAMS)
    assert got["b"] is None
    assert types(twice) == types(start)
    assert int(twice.count) == 2
    trees = [
        jax.tree.leaves(s.elements, is_leaf=lambda x: isinstance(x, dict)) for s in (start, twice)
    ]
    for old, new in zip(*trees, strict=True):
        np.testing.assert_array_equal(new["b"], old["b"])
    if cls.name != "open":  # which knows how many layers a tree has
        near(part(got), want)
    thawed, _ = tx.update(GRADS, twice, PARAMS)
    assert np.isfinite(thawed["b"]).all()
    assert cls.name in {"hyper_adam", "gated_adam"} or (thawed["b"] != 0).any()
    none, same = tx.update(dict.fromkeys(PARAMS), start, PARAMS)
    assert none == dict.fromkeys(PARAMS)
    jax.tree.map(np.testing.assert_array_equal, same, start)


@few
def test_equinox_modules_in_parts(cls):
    """None on both sides is no leaf; what is no array is named."""
    import equinox as eqx

    model = eqx.nn.MLP(3, 4, 4, 1, key=jax.random.key(0))
    tx = learned(cls)
    params, _ = eqx.partition(model, eqx.is_inexact_array)
    only = eqx.tree_at(lambda m: m.layers[0].bias, params, None)
    for tree in (params, only):
        grads = jax.tree.map(lambda p: 0.1 * p, tree)
        updates, state = jax.eval_shape(tx.update, grads, tx.init(tree), tree)
        assert jax.tree.structure(updates) == jax.tree.structure(tree)
        assert jax.tree.structure(state) == jax.tree.structure(tx.init(tree))
    for call in (tx.init, lambda m: tx.update(m, tx.init(params), m)):
        with pytest.raises(ValueError, match=r"got custom_jvp at \.activation; .* eqx.filter"):
            call(model)


@every
@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (3, r"floating point, got int32 at \['x'\]; exclude it"),
        (True, r"floating point, got bool at \['x'\]; exclude it"),
        (np.zeros(2, np.int8), r"floating point, got int8 at \['x'\]; exclude it"),
        (np.zeros(2, np.complex64), r"floating point, got complex64 at \['x'\]; exclude it"),
        ("text", r"an array, got str at \['x'\]; pass arrays alone"),
    ],
)
def test_other_leaves_are_named(cls, leaf, message):
    tx = learned(cls)
    with pytest.raises(ValueError, match=message):
        tx.init({"w": jnp.ones(2), "x": leaf})
    params = {"w": jnp.ones(2), "x": jnp.ones(2)}
    wrong = r"gradient must be a floating point array, got \w+ at \['x'\]; .* None for a frozen"
    with pytest.raises(ValueError, match=wrong):
        tx.update({"w": jnp.ones(2), "x": leaf}, tx.init(params), params)


@every
def test_params_are_needed(cls):
    tx = learned(cls)
    with pytest.raises(ValueError, match=r"params must be passed .*; call update\(grads, state, p"):
        tx.update(GRADS, tx.init(PARAMS))


# --- Horizons. ---


@every
def test_a_traced_horizon_of_nothing_is_one_of_a_step(cls):
    it = artifact(cls)

    @jax.jit
    def two(num_steps):
        tx = learned_opt.learned(it, num_steps=num_steps)
        step = lambda state, _: tx.update(GRADS, state, PARAMS)[::-1]  # noqa: E731
        return jax.lax.scan(step, tx.init(PARAMS), length=2)[1]

    want = two(jnp.asarray(1))
    for num_steps in (0, -3):
        got = two(jnp.asarray(num_steps))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(got))
        jax.tree.map(np.testing.assert_array_equal, got, want)


@every
@pytest.mark.parametrize("bad", [0, -3, 2.5, "a", [3], np.ones(2, int), np.float32(3)], ids=repr)
def test_any_other_horizon_is_an_error(cls, bad):
    it = artifact(cls)
    for make in (learned_opt.learned, learned_opt.scale_by_learned):
        with pytest.raises(ValueError, match="num_steps must be a positive integer, got"):
            make(it, num_steps=bad)
    with pytest.raises(ValueError, match="num_steps must be a positive integer, got"):
        it.optimizer.schedule(it.theta, num_steps=jnp.asarray(2.0))
    if not it.optimizer.horizon_free:
        return
    learned_opt.learned(it)
