"""Random trees, a theta that is off its start, and runs over given gradients: for `Nominal`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SHAPES = {"scalar": (), "vector": (7,), "matrix": (6, 5), "tensor": (3, 4, 2), "conv": (3, 3, 2, 4)}
STEPS = 20


def tree(seed, scale=1.0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(scale * rng.normal(size=s), jnp.float32) for k, s in shapes.items()}


def trained_theta(optimizer, seed=0, size=0.3):
    """A theta with every entry off its initial value."""
    theta = optimizer.init(jax.random.key(seed))
    leaves, treedef = jax.tree.flatten(theta)
    rng = np.random.default_rng(seed)
    return treedef.unflatten(
        [x + jnp.asarray(size * rng.normal(size=x.shape), jnp.float32) for x in leaves]
    )


def descend(tx, params, grads):
    """Parameters after each step, for a fixed list of gradients."""
    state, path = tx.init(params), []

    @jax.jit
    def step(g, state, params):
        updates, state = tx.update(g, state, params)
        return optax.apply_updates(params, updates), state

    for g in grads:
        params, state = step(g, state, params)
        path.append(params)
    return path


def negated(tx):
    return optax.chain(tx, optax.scale(-1.0))
