"""A small network and its data, for tests of tasks of one's own."""

import jax
import jax.numpy as jnp
import numpy as np

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 8)).astype(np.float32)
Y = np.sin(3 * X[:, :1])


def init(key):
    keys = jax.random.split(key)
    return {
        "w": 0.3 * jax.random.normal(keys[0], (8, 16)),
        "v": 0.3 * jax.random.normal(keys[1], (16, 1)),
    }


def loss(params, batch):
    return jnp.mean((jnp.tanh(batch["x"] @ params["w"]) @ params["v"] - batch["y"]) ** 2)
