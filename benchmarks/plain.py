"""The rule of `PerParamMLP` written plainly, features last: what the fused form is measured by.

Same theta, same steps but for rounding (`main` of `benchmarks.meta_train_speed` compares them).
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt import PerParamMLP

DECAYS = np.array([0.9, 0.99, 0.999], np.float32)
TIMES = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5], np.float32)


@dataclasses.dataclass(frozen=True)
class PlainMLP:
    """Every feature of every element in one array (..., 39), then matrix products."""

    name: ClassVar[str] = "plain"
    uses_epochs: ClassVar[bool] = False

    def init(self, key: jax.Array) -> Any:
        """Meta-parameters of the fused optimizer."""
        return PerParamMLP().init(key)

    def transform(self, theta: Any, *, num_steps: Any = None) -> optax.GradientTransformation:
        """The published rule."""
        shifts = ("momentum_decays", "second_decay", "factored_decays")
        base = (DECAYS, np.float32(0.999), DECAYS)
        decays = [1 - (1 - b) * jnp.exp(10 * theta[s]) for b, s in zip(base, shifts, strict=True)]

        def init(params: Any) -> Any:
            return jnp.zeros((), jnp.int32), jax.tree.map(_start, params)

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            count, averages = state
            time = jnp.tanh(count.astype(jnp.float32) / TIMES - 1)
            leaves, treedef = jax.tree.flatten(updates)
            found = [
                _step(theta["net"], decays, time, g, p, a)
                for g, p, a in zip(
                    leaves, jax.tree.leaves(params), treedef.flatten_up_to(averages), strict=True
                )
            ]
            steps, averages = zip(*found, strict=True)
            return treedef.unflatten(steps), (count + 1, treedef.unflatten(averages))

        return optax.GradientTransformation(init, update)


def _axes(shape: tuple[int, ...]) -> tuple[int, int]:
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return order[-1], order[-2]


def _start(p: jax.Array) -> Any:
    full = jnp.zeros((*p.shape, 3))
    rows, cols = full, full
    if p.ndim > 1:
        rows, cols = (full.mean(axis) for axis in _axes(p.shape))
    return full, full[..., 0], rows, cols


def _step(net: Any, decays: Any, time: jax.Array, g: jax.Array, p: jax.Array, state: Any) -> Any:
    (m, v, rows, cols), (bm, bv, bf) = state, decays
    m = bm * m + (1 - bm) * g[..., None]
    v = bv * v + (1 - bv) * g * g
    square, inverse = (g * g + 1e-30)[..., None], jax.lax.rsqrt(v + 1e-6)[..., None]
    g = g[..., None]
    if g.ndim < 3:
        rows = bf * rows + (1 - bf) * square
        r = c = rows
        scaled = jnp.concatenate([g * _rs(rows + 1e-9), m * jax.lax.rsqrt(rows + 1e-6)], -1)
        cols = rows
    else:
        largest, second = _axes(p.shape)
        rows = bf * rows + (1 - bf) * square.mean(largest)
        cols = bf * cols + (1 - bf) * square.mean(second)
        r, c = jnp.expand_dims(rows, largest), jnp.expand_dims(cols, second)
        factor = _rs(r / (r.mean(second, keepdims=True) + 1e-9)) * _rs(c)
        scaled = jnp.concatenate([g * factor, m * factor], -1)
        r, c = (jnp.broadcast_to(x, m.shape) for x in (r, c))
    low = [r, c, jax.lax.rsqrt(r + 1e-8), jax.lax.rsqrt(c + 1e-8)]
    parts = [g, p[..., None], m, v[..., None], m * inverse, inverse, scaled[..., :3], *low]
    x = jnp.concatenate([*parts, scaled[..., 3:]], -1)
    x = x * jax.lax.rsqrt(1e-5 + jnp.mean(x * x, tuple(range(p.ndim)), keepdims=True))
    x = jnp.concatenate([x, jnp.broadcast_to(time, (*p.shape, len(TIMES)))], -1)
    x = jax.nn.relu(x @ net["w1"] + net["b1"])
    x = jax.nn.relu(x @ net["w2"] + net["b2"])
    x = x @ net["w3"] + net["b3"]
    return 0.001 * x[..., 0] * jnp.exp(0.001 * x[..., 1]), (m, v, rows, cols)


def _rs(x: jax.Array) -> jax.Array:
    return jax.lax.rsqrt(jnp.maximum(x, 1e-9))
