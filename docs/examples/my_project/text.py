"""A transformer in Flax NNX that reads Python's manual, byte by byte."""

from pydoc_data.topics import topics

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from learned_opt import tasks

CONTEXT, WIDTH, HEADS, LAYERS = 16, 32, 2, 2

text = np.frombuffer("\n".join(topics.values()).encode("ascii", "replace"), np.uint8)
rows = text[: 6000 * (CONTEXT + 1)].reshape(6000, CONTEXT + 1)


class Block(nnx.Module):
    """Causal attention and an MLP, each behind a norm and beside a shortcut."""

    def __init__(self, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        """(examples, places, WIDTH) to the same."""
        mask = nnx.make_causal_mask(x[..., 0])
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norms[1](x))))


class Transformer(nnx.Module):
    """Scores of the next of 128 bytes."""

    def __init__(self, rngs: nnx.Rngs):
        self.bytes = nnx.Embed(128, WIDTH, rngs=rngs)
        self.places = nnx.Embed(CONTEXT, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, 128, rngs=rngs)

    def __call__(self, x):
        """Bytes (examples, places) to scores (examples, places, 128)."""
        h = self.bytes(x) + self.places(jnp.arange(CONTEXT))
        for block in self.blocks:
            h = block(h)
        return self.out(self.norm(h))


graph = nnx.graphdef(Transformer(nnx.Rngs(0)))


def init(key):
    """Parameters."""
    return nnx.state(Transformer(nnx.Rngs(key)), nnx.Param)


def loss(params, batch):
    """Cross-entropy, in nats a byte."""
    scores = nnx.merge(graph, params)(batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch[:, 1:]).mean()


manual = tasks.from_functions(
    init, loss, rows, batch_size=8, valid=0.25, name="manual", num_steps=200
)
