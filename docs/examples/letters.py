"""Which of 26 letters a noisy picture of 64 numbers shows: made up, to have it at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt import tasks

rng = np.random.default_rng(0)
centres = rng.normal(size=(26, 64)).astype(np.float32)
y = rng.integers(0, 26, 6000).astype(np.int32)
x = centres[y] + 2.0 * rng.normal(size=(6000, 64)).astype(np.float32)


def init(key):
    """Parameters of two layers."""
    a, b = jax.random.split(key)
    return {
        "l1": {"w": jax.random.normal(a, (64, 64)) / 8, "b": jnp.zeros(64)},
        "l2": {"w": jax.random.normal(b, (64, 26)) / 8, "b": jnp.zeros(26)},
    }


def loss(params, batch):
    """Cross-entropy, in nats."""
    h = jax.nn.relu(batch["x"] @ params["l1"]["w"] + params["l1"]["b"])
    scores = h @ params["l2"]["w"] + params["l2"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["y"]).mean()


letters = tasks.from_functions(
    init, loss, {"x": x, "y": y}, batch_size=64, valid=0.25, num_steps=300
)
