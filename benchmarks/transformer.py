"""A small transformer, by hand: what benchmarks train where no task of ours is asked for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

LAYERS, WIDTH, HEADS, WORDS, LENGTH, BATCH = 2, 64, 4, 96, 64, 16


def init(key: jax.Array) -> dict[str, Any]:
    """Weights, a dict of layers: 116 thousand numbers in 23 tensors."""
    keys = iter(jax.random.split(key, 6 * LAYERS + 3))

    def dense(rows: int, cols: int) -> jax.Array:
        return jax.random.normal(next(keys), (rows, cols)) / np.sqrt(rows)

    params: dict[str, Any] = {"embedding": dense(WORDS, WIDTH), "head": dense(WIDTH, WORDS)}
    params["position"] = 0.1 * dense(LENGTH, WIDTH)
    for i in range(LAYERS):
        params[f"layer{i}"] = {
            **{name: dense(WIDTH, WIDTH) for name in ("query", "key", "value", "out")},
            "up": {"w": dense(WIDTH, 4 * WIDTH), "b": jnp.zeros(4 * WIDTH)},
            "down": {"w": dense(4 * WIDTH, WIDTH), "b": jnp.zeros(WIDTH)},
            "norm1": jnp.ones(WIDTH),
            "norm2": jnp.ones(WIDTH),
        }
    return params


def loss(params: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Mean log loss of every next token, of (BATCH, LENGTH + 1) tokens."""
    x = params["embedding"][tokens[:, :-1]] + params["position"][None]
    mask = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))[None, None]
    for i in range(LAYERS):
        layer = params[f"layer{i}"]
        y = _norm(x) * layer["norm1"][None, None]
        heads = [
            (y @ layer[name]).reshape(*y.shape[:2], HEADS, -1) for name in ("query", "key", "value")
        ]
        x += jax.nn.dot_product_attention(*heads, mask=mask).reshape(x.shape) @ layer["out"]
        y = _norm(x) * layer["norm2"][None, None]
        y = jax.nn.gelu(y @ layer["up"]["w"] + layer["up"]["b"][None, None])
        x += y @ layer["down"]["w"] + layer["down"]["b"][None, None]
    logits = _norm(x) @ params["head"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


def _norm(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(1e-6 + jnp.mean(x * x, -1, keepdims=True))
