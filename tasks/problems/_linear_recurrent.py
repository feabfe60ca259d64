"""Byte-level language models with a linear recurrence, which runs in parallel over time.

Feng et al. 2024, "Were RNNs all we needed?" (minGRU): real, and gated by the input alone; what
leaves the layer is gated too, as in De et al. 2024, "Griffin", by silu instead of gelu. Linear
recurrent units: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences".
The scan: Blelloch 1990, "Prefix sums and their applications".
"""

import dataclasses
import math
from typing import ClassVar

import jax

from .._base import Numbers, Spec
from ._layers import Dense
from ._recurrent import ByteModel


@dataclasses.dataclass(frozen=True)
class LRU(ByteModel):
    """Embedding e_t, h_t = a_t h_{t-1} + (1 - a_t) z_t, linear head of h_t silu(g_t).

    a_t = sigmoid(A e_t + a + 1), which starts near 0.73; z_t and g_t are linear in e_t as well. At
    most `max_width` units, h_0 = 0.

    Numbers: `width`, units that are on; `gain`, the initial scale of embedding and head.
    """

    name: ClassVar[str] = "lru"
    source: ClassVar[str] = "Orvieto et al. 2023; Feng et al. 2024; De et al. 2024"

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """Bytes (batch, length) to logits (batch, length, outputs)."""
        # A product with one-hot rows: its gradient is a product too, not a scatter.
        x = jax.nn.one_hot(x, spec.outputs, dtype=n["gain"].dtype)
        # The product picks one row, so this gain starts embeddings at a deviation of `gain`.
        gain = math.sqrt(spec.outputs) * n["gain"]
        x = Dense(self.embedding, gain=gain, name="embedding")(x)
        keep, write, show = (
            Dense(self.max_width, columns=n["width"], name=name)(x)
            for name in ("keep", "write", "show")
        )
        # Raised by 1, as an LSTM's forget gate is: at 0.5 a state would halve with every byte.
        keep = jax.nn.sigmoid(keep + 1.0)
        h = linear_scan(keep, (1.0 - keep) * write)
        head = Dense(spec.outputs, rows=n["width"], gain=n["gain"], name="head")
        return head(h * jax.nn.silu(show))


def linear_scan(a: jax.Array, b: jax.Array) -> jax.Array:
    """h_t = a_t h_{t-1} + b_t along axis 1, h_0 = 0, in a number of steps logarithmic in time."""

    def after(
        first: tuple[jax.Array, jax.Array], second: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        # Each pair stands for the map h -> a h + b.
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(after, (a, b), axis=1)[1]
