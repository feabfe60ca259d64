"""What comes out of every optimizer and wrapper: no parameter that was finite is made infinite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sharded import SMALL
from steps import moved_theta

import learned_opt
from learned_opt import OPTIMIZERS, HyperAdam, Hypernet

SIZES = {"float32": (1e20, 1e30, 3e38), "float16": (6e4,), "bfloat16": (3e38,)}
FAST = {"gated_adam"}
"""Of which all types are tried at each change."""

BLIND = {
    "spectral", "hyper_adam", "nn_adam", "momentum_mlp", "per_param_mlp", "celo_adam", "celo2",
    "open",
}  # fmt: skip
"""Whose steps do not follow the size of the parameters, or within bounds: no reason to refuse."""


def artifact(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    return learned_opt.Artifact(optimizer, moved_theta(optimizer, 0.1), {"name": "test"})


def trees(dtype, size, mixed):
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(4), "s": jnp.ones(())}
    large = ("b",) if mixed else tuple(params)
    params = {k: (size * p if k in large else p).astype(dtype) for k, p in params.items()}
    return params, jax.tree.map(lambda p: jnp.full_like(p, 0.1), params)


def finite(tree):
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return all(np.isfinite(np.asarray(x, np.float32)).all() for x in floats)


def updater(tx):
    value = jnp.ones((), jnp.float32)
    tx = optax.with_extra_args_support(tx)
    return jax.jit(lambda g, s, p: tx.update(g, s, p, value=value))


def follow(tx, params, grads, steps=3, update=None, own=("b", "s", "w")):
    """How many of the steps were refused; each of those changes nothing of its `own`."""
    state, update = tx.init(params), update or updater(tx)
    refused = 0
    for _ in range(steps):
        updates, state = update(grads, state, params)
        after = optax.apply_updates(params, updates)
        assert finite(after)
        assert finite(state)
        if int(optax.tree.get(state, "skipped")) > refused:
            refused += 1
            for name in own:
                np.testing.assert_array_equal(after[name], params[name])
            assert int(optax.tree.get(state, "skipped_in_a_row")) > 0
        else:
            assert int(optax.tree.get(state, "skipped_in_a_row")) == 0
        params = after
    return refused


def check_sizes(tx, dtypes):
    """How many steps were refused in float32, of 18."""
    update, refused = updater(tx), {}
    for dtype in dtypes:
        every = [trees(dtype, size, mixed) for size in SIZES[dtype] for mixed in (False, True)]
        refused[dtype] = sum(follow(tx, *both, update=update) for both in every)
    return refused["float32"]


@pytest.mark.parametrize(
    ("cls", "dtypes"),
    [
        pytest.param(
            cls, dtypes, id=f"{cls.name}-{len(dtypes)}",
            marks=() if len(dtypes) == 1 or cls.name in FAST else pytest.mark.slow,
        )
        for cls in OPTIMIZERS
        for dtypes in ([*SIZES],) + (() if cls.name in FAST else (["float32"],))
    ],
)  # fmt: skip
def test_large_parameters_stay_finite(cls, dtypes):
    tx = learned_opt.learned(artifact(cls), num_steps=10, weight_decay=0.1, learning_rate=3.0)
    refused = check_sizes(tx, dtypes)
    assert (refused == 0) == (cls.name in BLIND)
    if cls is Hypernet:
        assert refused == 18


@pytest.mark.slow
@pytest.mark.parametrize("name", learned_opt.available())
def test_large_parameters_stay_finite_under_what_ships(name):
    check_sizes(learned_opt.learned(name, num_steps=10), SIZES)


def wrappers(make):
    """Every way to an optimizer, for tests of one that must be refused."""
    labels = {"w": "it", "b": "it", "s": "sgd"}
    return {
        "learned": make(),
        "chain": optax.chain(optax.clip(1.0), make()),
        "masked": optax.masked(make(), {"w": True, "b": True, "s": False}),
        "partition": optax.partition({"it": make(), "sgd": optax.sgd(0.1)}, labels),
        "MultiSteps": optax.MultiSteps(make(), 1).gradient_transformation(),
        "multi_steps": learned_opt.multi_steps(make(), 1),
    }


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_large_parameters_stay_finite_in_every_wrapper():
    it = artifact(Hypernet)
    ways = wrappers(lambda: learned_opt.learned(it, num_steps=10, weight_decay=0.1))
    ways["scale_by"] = learned_opt.scale_by_learned(it, num_steps=10)
    ways["chained"] = optax.chain(ways["scale_by"], optax.scale(-1.0))
    params, grads = trees("float32", 1e20, True)
    for name, tx in ways.items():
        # "s" is another's, in two of them.
        assert follow(tx, params, grads, 2, own=("b", "w")) == 2, name


def test_what_counts_is_the_update_after_learning_rate_and_decay():
    """Of stacks of tensors, with and without decay, too."""
    it = artifact(HyperAdam)
    params = {"a": jnp.ones(3), "b": 2 * jnp.ones(3), "c": jnp.ones((2, 3))}
    grads = jax.tree.map(lambda p: 0.1 * p, params)

    def refused(params=params, **options):
        tx = learned_opt.learned(it, num_steps=10, **options)
        return follow(tx, params, grads, 2, own=params)

    assert refused() == refused(learning_rate=10.0, weight_decay=1.0) == 0
    assert refused(learning_rate=1e30, weight_decay=1e30) == 2
    for name in params:
        only = {k: k == name for k in params}
        large = {**params, name: 1e30 * params[name]}
        assert refused(large, weight_decay=1e15, mask=only) == 2
        assert refused(large, weight_decay=1e15, mask={k: not x for k, x in only.items()}) == 0


def test_an_odd_theta_is_refused_and_heard():
    """100 times the bias of the mixture overflows an exponential of Hypernet."""
    it = artifact(Hypernet)
    theta = {**it.theta, "mixture": {**it.theta["mixture"], "b": 1e8 * it.theta["mixture"]["b"]}}
    odd = learned_opt.Artifact(it.optimizer, theta, it.card)
    params, grads = trees("float32", 1.0, False)
    tx = learned_opt.learned(odd, num_steps=20, on_skips="raise")
    assert follow(tx, params, grads, 11) == 11
    state = tx.init(params)._replace(skipped_in_a_row=jnp.asarray(10, jnp.int32))
    message = (
        "the last 11 steps were skipped, because a gradient was not finite or had a norm of 1e[+]18"
        ", or an update would have made a parameter infinite: the parameters stay as they are; "
        "look for the NaN in the loss and for large parameters, "
    )
    with pytest.raises(learned_opt.SkippedError, match=message):
        tx.update(grads, state, params, value=jnp.ones(()))


def test_a_step_refused_for_what_comes_out_has_seen_its_gradient():
    """Its averages and count go on, so that no later step is out of scale."""
    it = artifact(HyperAdam)
    params, grads = {"w": jnp.ones(3)}, {"w": jnp.full(3, 0.1)}
    plain = learned_opt.learned(it, num_steps=10)
    _, want = plain.update(grads, plain.init(params), params)
    tx = learned_opt.learned(it, num_steps=10, learning_rate=lambda t: jnp.where(t == 0, 3e38, 1))
    large = {"w": jnp.full(3, -3.4028e38)}
    updates, state = tx.update(grads, tx.init(large), large)
    np.testing.assert_array_equal(updates["w"], 0)
    assert (int(state.count), int(state.skipped), int(state.skipped_in_a_row)) == (1, 1, 1)
    jax.tree.map(np.testing.assert_array_equal, state.elements, want.elements)
    _, state = tx.update(grads, state, params)
    assert (int(state.count), int(state.skipped), int(state.skipped_in_a_row)) == (2, 1, 0)


@pytest.mark.parametrize(
    ("dtype", "start", "step", "refused"),
    [
        ("float32", 1.0, 1e39, 3),
        ("float32", 3e38, -3e38, 0),
        ("float32", 3e38, 3e38, 3),
        ("float32", np.inf, 1.0, 0),
        ("float32", np.inf, 1e39, 3),
        ("float16", 6e4, 6e3, 3),
        ("float16", 6e4, -6e3, 0),
        ("float16", 1.0, 7e4, 3),
        ("bfloat16", 3e38, 1e38, 3),
    ],
)
def test_any_optimizer_is_guarded_at_both_ends(dtype, start, step, refused):
    """p <- p + 10 (step / 10)."""
    tx = learned_opt.skip_nonfinite(optax.scale(step / 10))
    params = {"w": jnp.full((2, 3), start, dtype), "b": jnp.zeros(2, dtype)}
    grads = {"w": jnp.full((2, 3), 10.0, dtype), "b": jnp.zeros(2, dtype)}
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(3):
        updates, state = update(grads, state, params)
        assert finite(updates)
        assert np.isinf(start) or finite(optax.apply_updates(params, updates))
    assert int(state.skipped) == int(state.skipped_in_a_row) == refused


def test_the_race_is_lost_by_what_leaves_the_range_of_float16():
    tx = learned_opt.with_fallback(optax.sgd(-3e4), optax.sgd(1.0), window=2)
    params = {"w": jnp.full(3, 6e4, jnp.float16)}
    grads, state, update = {"w": jnp.ones(3, jnp.float16)}, tx.init(params), jax.jit(tx.update)
    for _ in range(8):
        updates, state = update(grads, state, params, value=jnp.ones((), jnp.float32))
        params = optax.apply_updates(params, updates)
        assert finite(params)
    assert not bool(state.learned_leads)


def test_a_nan_among_thousands_of_tensors_is_seen():
    """XLA's maximum loses it on CPU."""
    axes = {"w": learned_opt.Axes(batch=(0,), inputs=(1,), outputs=(2,))}
    tx = learned_opt.learned(artifact(HyperAdam), num_steps=10, axes=axes)
    params = {"w": jnp.ones((8192, 2, 2))}
    grads = {"w": params["w"].at[4096, 0, 0].set(jnp.nan)}
    updates, state = jax.jit(tx.update)(grads, tx.init(params), params)
    np.testing.assert_array_equal(updates["w"], 0)
    assert int(state.skipped) == 1
    assert int(state.count) == 0
