"""Sharded parameters: the same step, and a state that is sharded like them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from learned_opt import OPTIMIZERS, Hypernet

SMALL = {Hypernet: {"lstm": 8, "bank": 4}}


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_sharded_parameters_take_the_same_steps_and_shard_the_state(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    mesh = jax.make_mesh((jax.device_count(),), ("model",), axis_types=(AxisType.Auto,))
    assert mesh.size > 1
    specs = {"w": PartitionSpec("model"), "b": PartitionSpec()}
    # Above what is packed with others.
    keys = jax.random.split(jax.random.key(0), 4)
    params = {"w": jax.random.normal(keys[0], (256, 80)), "b": jax.random.normal(keys[1], (80,))}
    grads = {"w": jax.random.normal(keys[2], (256, 80)), "b": jax.random.normal(keys[3], (80,))}
    tx = optimizer.transform(optimizer.init(jax.random.key(1)), num_steps=50)

    @jax.jit
    def step(grads, state, params):
        updates, state = tx.update(grads, state, params, value=jnp.asarray(1.0))
        return jax.tree.map(jnp.subtract, params, updates), state

    def run(params, grads):
        state = tx.init(params)
        for _ in range(3):
            params, state = step(grads, state, params)
        return params, state

    plain, _ = run(params, grads)
    place = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
    params, grads = (jax.device_put(tree, place) for tree in (params, grads))
    sharded, state = run(params, grads)
    for name in specs:
        moved = np.abs(plain[name] - params[name]).max()
        # Sums over a tensor come in another order; a parameter near one is rounded to 6e-8.
        np.testing.assert_allclose(sharded[name], plain[name], rtol=1e-6, atol=5e-5 * moved)
    assert sharded["w"].sharding.is_equivalent_to(place["w"], 2)
    for found in (tx.init(params), state):
        large = [x for x in jax.tree.leaves(found) if x.size >= params["w"].size]
        assert len(large) >= 2
        for x in large:
            assert not x.sharding.is_fully_replicated
            assert x.addressable_shards[0].data.size * mesh.size == x.size
