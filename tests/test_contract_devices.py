"""What every optimizer must do with a state over two devices, in `jax.shard_map` and outside."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sharded import SMALL

import learned_opt
from learned_opt import OPTIMIZERS


def learned(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    it = learned_opt.Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "test"})
    return learned_opt.learned(it, num_steps=10)


def kinds(tree):
    """Shapes and dtypes."""
    return jax.tree.map(lambda x: (x.shape, jnp.dtype(x.dtype).name), tree)


SHARDED = {"w": jnp.ones((4, 3)) * jnp.arange(1.0, 5.0)[:, None], "b": jnp.arange(1.0, 5.0)}
SPECS = {"w": P("m", None), "b": P("m")}


@pytest.fixture
def mesh():
    return jax.make_mesh((2,), ("m",), axis_types=(AxisType.Auto,))


def state_specs(tx, state):
    return optax.tree_utils.tree_map_params(
        tx, lambda _, spec: spec, state, SPECS, transform_non_params=lambda _: P()
    )


def whole(cls):
    """Whether all averages have the shapes of the parameters."""
    trees = learned(cls).init(SHARDED).elements
    trees = jax.tree.leaves(trees, is_leaf=lambda x: isinstance(x, dict))
    return all(jnp.shape(t[k]) == SHARDED[k].shape for t in trees for k in SHARDED)


WHOLE = [cls for cls in OPTIMIZERS if cls.name in {
    "gated_adam", "spectral", "spectral_gru", "hyper_adam", "nn_adam", "momentum_mlp", "rnn_mlp",
    "celo_adam",
}]  # fmt: skip


@pytest.mark.parametrize("cls", WHOLE, ids=lambda cls: cls.name)
def test_specs_of_the_parameters_place_the_state(cls, mesh):
    assert whole(cls)
    tx = learned(cls)
    state = tx.init(SHARDED)
    specs = state_specs(tx, state)
    placed = jax.device_put(state, jax.tree.map(lambda s: NamedSharding(mesh, s), specs))
    want = NamedSharding(mesh, P("m"))
    for x in jax.tree.leaves(placed.elements):
        assert x.sharding.is_equivalent_to(want, x.ndim)
    assert placed.count.sharding.is_fully_replicated


def three_steps(tx):
    """Checked by scan: that nothing changes its type."""

    def run(params, state, grads):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), length=3)[0]

    return run


@pytest.mark.parametrize("cls", [*OPTIMIZERS, None], ids=lambda cls: cls.name if cls else "adamw")
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_in_shard_map_the_carry_of_a_scan_keeps_its_types(cls, mesh):
    """With parameters that differ by device and with those that do not; no device is needed."""
    tx = optax.adamw(0.1) if cls is None else learned(cls)
    for spec in (P("m"), P()):

        def whole_run(params):
            params, state = three_steps(tx)(params, tx.init(params), params)
            return params, optax.tree.get(state, "count")[None]

        f = jax.shard_map(whole_run, mesh=mesh, in_specs=spec, out_specs=(spec, spec))
        params, count = jax.eval_shape(f, SHARDED)
        assert kinds(params) == kinds(SHARDED)
        assert count.dtype == jnp.int32


FAST = {"gated_adam"}


@pytest.mark.parametrize(
    "cls",
    [pytest.param(c, marks=() if c.name in FAST else pytest.mark.slow) for c in WHOLE],
    ids=lambda cls: cls.name,
)
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_in_shard_map_a_state_from_outside_agrees_with_adamw_on_its_counters(cls, mesh):
    """And a NaN on one device skips the step on all."""
    grads = jax.tree.map(lambda p: 0.1 * p, SHARDED)
    bad = {**grads, "b": grads["b"].at[3].set(jnp.nan)}
    for tx in (learned(cls), optax.adamw(0.1)):
        state = tx.init(SHARDED)
        specs = state_specs(tx, state)
        f = jax.jit(
            jax.shard_map(
                three_steps(tx), mesh=mesh, in_specs=(SPECS, specs, SPECS), out_specs=(SPECS, specs)
            )
        )
        params, after = f(SHARDED, state, grads)
        assert int(optax.tree.get(after, "count")) == 3
        assert all((params[k] != SHARDED[k]).all() for k in SHARDED)
        if isinstance(state, learned_opt.LearnedState):
            params, after = f(SHARDED, state, bad)
            assert (int(after.count), int(after.skipped), int(after.skipped_in_a_row)) == (0, 3, 3)
            jax.tree.map(np.testing.assert_array_equal, params, SHARDED)
            jax.tree.map(np.testing.assert_array_equal, after.elements, state.elements)
