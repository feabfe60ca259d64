"""Byte-level language models with recurrent networks.

Language models as tasks for learned optimizers: Metz et al. 2020, "Using a thousand optimization
tasks". GRU: Chung et al. 2014. LSTM: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et
al. 2000, its bias raised by 1. Both are haiku's. A linear recurrence, which runs in parallel over
time: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences"; real, and
gated by the input alone, as in Feng et al. 2024, "Were RNNs all we needed?"; what leaves the layer
is gated too, as in De et al. 2024, "Griffin", by silu instead of gelu. The scan: Blelloch 1990.
"""

import dataclasses
import math
from typing import Any, ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Range, Size, Sizes

from .._base import Numbers, Params, Spec
from .._problem import Drawn, Supervised
from ._layers import Dense, on


@dataclasses.dataclass(frozen=True)
class ByteModel(Supervised):
    """Base: embedding, one recurrent layer of at most `max_width` units, linear head.

    Numbers: `width`, units that are on; `gain`, the initial scale of embedding and head.
    """

    kinds: ClassVar[tuple[str, ...]] = ("text",)
    drawn: ClassVar[Drawn] = {"width": "widths", "gain": "gains"}
    embedding: Size = 16
    max_width: Size = 32
    widths: Sizes = (16, 32)
    gains: Range = (0.5, 2.0)


@dataclasses.dataclass(frozen=True)
class GRU(ByteModel):
    """Embedding, one GRU layer of at most `max_width` units, linear head.

    Numbers: `width`, units that are on; `gain`, the initial scale of embedding and head.
    """

    name: ClassVar[str] = "gru"
    source: ClassVar[str] = "Chung et al. 2014"

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters; no weight of the cell into or out of a unit that is off."""
        params = dict(super().init(n, spec, key))
        alive = on(n["width"], self.max_width, jnp.float32)
        for module in params.keys() - {"dense", "dense_1"}:
            params[module] = {
                name: _masked(p, alive, from_states=name != "w_i")
                for name, p in params[module].items()
            }
        return params

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """Bytes (batch, length) to logits (batch, length, outputs)."""
        # A product with one-hot rows: its gradient is a product too, not a scatter.
        dtype = n["gain"].dtype
        gain = math.sqrt(spec.outputs) * n["gain"]
        x = Dense(self.embedding, gain=gain)(jax.nn.one_hot(x, spec.outputs, dtype=dtype))
        cell = self._cell()
        alive = on(n["width"], self.max_width, dtype)[None]
        state = cell.initial_state(x.shape[0])
        state = jax.tree.map(lambda s: s.astype(dtype), state)

        def step(x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
            out, state = cell(x, state)
            return out * alive, jax.tree.map(lambda s: s * alive, state)

        out, _ = hk.dynamic_unroll(step, x, state, time_major=False)
        return Dense(spec.outputs, rows=n["width"], gain=n["gain"])(out)

    def _cell(self) -> Any:
        return hk.GRU(self.max_width)


def _masked(p: jax.Array, alive: jax.Array, *, from_states: bool) -> jax.Array:
    """Gates lie side by side along the last axis; states are the last rows of a matrix."""
    p = p * jnp.broadcast_to(jnp.tile(alive, p.shape[-1] // len(alive)), p.shape)
    if p.ndim == 1 or not from_states:
        return p
    rows = jnp.concatenate([jnp.ones(len(p) - len(alive)), alive])
    return p * jnp.broadcast_to(rows[:, None], p.shape)


@dataclasses.dataclass(frozen=True)
class LSTM(GRU):
    """Embedding, one LSTM layer of at most `max_width` units, linear head; numbers as `GRU`."""

    name: ClassVar[str] = "lstm"
    source: ClassVar[str] = "Hochreiter & Schmidhuber 1997"

    def _cell(self) -> Any:
        return hk.LSTM(self.max_width)


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
