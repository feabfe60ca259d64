"""Steps of an optimizer at a theta off its initial value: shared by the tests of optimizers."""

import jax
import jax.numpy as jnp
import numpy as np


def tree(seed, scale=1.0, shapes=None):
    """Normal numbers of the given shapes, a nested dict of tuples."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: jnp.asarray(scale * rng.normal(size=s), jnp.float32),
        shapes,
        is_leaf=lambda s: isinstance(s, tuple),
    )


def moved_theta(optimizer, size=0.3, seed=0):
    """A theta with every entry off its initial value."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: x + jnp.asarray(size * rng.normal(size=x.shape), jnp.float32),
        optimizer.init(jax.random.key(0)),
    )
