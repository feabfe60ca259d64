"""Which letter comes next in the documentation of NumPy, from the eight before it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt import tasks

CONTEXT, LETTERS, WIDTH = 8, 96, 64


def examples():
    """Windows of text: (n, 8) letters, and (n,) the next one."""
    pages = [getattr(np, name).__doc__ or "" for name in sorted(dir(np))]
    codes = np.frombuffer("".join(pages).encode("ascii", "ignore"), np.uint8)[:100_000]
    letters = np.clip(codes, 31, 126) - 31
    windows = np.lib.stride_tricks.sliding_window_view(letters, CONTEXT + 1)
    return {"x": windows[:, :-1].astype(np.int32), "y": windows[:, -1].astype(np.int32)}


def init(key):
    """Parameters of an embedding and two layers."""
    draw = jax.nn.initializers.lecun_normal()
    a, b, c = jax.random.split(key, 3)
    return {
        "embedding": 0.1 * jax.random.normal(a, (LETTERS, 16)),
        "hidden": {"w": draw(b, (CONTEXT * 16, WIDTH)), "b": jnp.zeros(WIDTH)},
        "head": {"w": draw(c, (WIDTH, LETTERS)), "b": jnp.zeros(LETTERS)},
    }


def loss(params, batch):
    """Cross-entropy of the next letter, in nats."""
    seen = params["embedding"][batch["x"]].reshape(len(batch["x"]), -1)
    hidden = jax.nn.relu(seen @ params["hidden"]["w"] + params["hidden"]["b"])
    scores = hidden @ params["head"]["w"] + params["head"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["y"]).mean()


letters = tasks.from_functions(
    init, loss, examples(), batch_size=64, valid=0.03, name="letters", num_steps=500
)
