"""Layers whose width is a traced number inside arrays of the maximal size."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from .._problem import uniform_int

ACTIVATIONS = ("relu", "tanh", "silu")
"""What a task's number `activation` (int32) counts."""


def any_activation(key: jax.Array) -> jax.Array:
    """A draw of the number `activation`."""
    return uniform_int(key, (0, len(ACTIVATIONS) - 1))


def on(width: jax.Array | int, size: int, dtype: jnp.dtype) -> jax.Array:
    """(size,): 1 for the first `width` units, 0 for the rest."""
    return (jnp.arange(size) < width).astype(dtype)


def activate(x: jax.Array, kind: jax.Array) -> jax.Array:
    """The activation number `kind`, elementwise.

    One tanh serves all, as silu(x) = x (1 + tanh(x / 2)) / 2.
    """
    t = jnp.tanh(jnp.where(kind == 2, 0.5 * x, x))
    return jnp.where(kind == 0, jax.nn.relu(x), jnp.where(kind == 1, t, 0.5 * x * (1.0 + t)))


def scaled_normal(
    rows: jax.Array | None,
    columns: jax.Array | None,
    gain: jax.Array | float,
    shape: Sequence[int],
    dtype: Any,
) -> jax.Array:
    """Weights (..., inputs, outputs): normal, of deviation gain / sqrt(fan-in that is on).

    The fan-in is `rows` times the product of the leading axes. 0 from and to what is off.
    """
    fan_in = jnp.asarray(shape[-2] if rows is None else rows).astype(dtype)
    fan_in = fan_in * math.prod(shape[:-2])
    normal = jax.random.normal(hk.next_rng_key(), tuple(shape), dtype)
    for count, axis in ((rows, -2), (columns, -1)):
        if count is not None:
            alive = on(count, shape[axis], dtype)
            alive = alive[:, None] if axis == -2 else alive
            normal = normal * jnp.broadcast_to(alive, normal.shape)
    return jnp.asarray(gain).astype(dtype) / jnp.sqrt(fan_in) * normal


class Dense(hk.Module):
    """x W + b over the last axis, with units that are off.

    Args:
      size: outputs.
      rows: inputs that are on, the first `rows` (all if None).
      columns: outputs that are on; the others are 0.
      gain: standard deviation of W times sqrt(fan-in that is on): sqrt 2 is He et al. 2015, 1
        LeCun et al. 1998. No weight into or out of a unit that is off, so a mask adds no norm.
    """

    def __init__(
        self,
        size: int,
        *,
        rows: jax.Array | None = None,
        columns: jax.Array | None = None,
        gain: jax.Array | float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.size, self.rows, self.columns, self.gain = size, rows, columns, gain

    def __call__(self, x: jax.Array) -> jax.Array:
        init = functools.partial(scaled_normal, self.rows, self.columns, self.gain)
        w = hk.get_parameter("w", (x.shape[-1], self.size), x.dtype, init)
        b = hk.get_parameter("b", (self.size,), x.dtype, jnp.zeros)
        alive = None if self.columns is None else on(self.columns, self.size, x.dtype)
        # Weights or outputs are switched off, whichever are fewer.
        fewer_weights = x.shape[-1] <= math.prod(x.shape[:-1])
        if alive is not None and fewer_weights:
            w, b = w * alive[None], b * alive
        out = x @ w
        out = out + jnp.broadcast_to(b, out.shape)
        if alive is None or fewer_weights:
            return out
        return out * jnp.broadcast_to(alive, out.shape)


class LayerNorm(hk.Module):
    """(x - mean) / sqrt(var + 1e-5) * scale + offset over the last axis (Ba et al. 2016)."""

    def __call__(self, x: jax.Array) -> jax.Array:
        size = x.shape[-1:]
        scale = hk.get_parameter("scale", size, x.dtype, jnp.ones)
        offset = hk.get_parameter("offset", size, x.dtype, jnp.zeros)
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)
        return scaled * jnp.broadcast_to(scale, x.shape) + jnp.broadcast_to(offset, x.shape)


class GroupNorm(hk.Module):
    """Normalisation of (channels, height, width, batch) over groups of channels and all places.

    Wu & He 2018. gcd(channels, 4) groups.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        channels, *rest = x.shape
        groups = math.gcd(channels, 4)
        grouped = x.reshape(groups, -1, rest[-1])
        centred = grouped - grouped.mean(1, keepdims=True)
        rms = jax.lax.rsqrt(jnp.mean(centred**2, 1, keepdims=True) + 1e-5)
        scale = hk.get_parameter("scale", (channels, 1, 1, 1), x.dtype, jnp.ones)
        offset = hk.get_parameter("offset", (channels, 1, 1, 1), x.dtype, jnp.zeros)
        return (centred * rms).reshape(x.shape) * scale + offset


class Conv3x3(hk.Module):
    """A 3x3 convolution, "SAME" padding, of (channels, height, width, batch).

    With weights that differ from lane to lane, as under `vmap` over tasks, XLA's own convolution
    becomes a grouped one, several times slower on CPU. Nine shifted copies times one matrix are
    not, and with the batch innermost the copies are of whole rows (`python -m research.conv`).
    On an accelerator, XLA's own.

    Args:
      channels: outputs.
      stride: of both axes.
      rows, columns, gain: as in `Dense`; the fan-in is 9 times the inputs that are on.
    """

    def __init__(
        self,
        channels: int,
        stride: int,
        *,
        rows: jax.Array | None = None,
        columns: jax.Array | None = None,
        gain: jax.Array | float = 1.0,
    ) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride
        self.rows, self.columns, self.gain = rows, columns, gain

    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[0], self.channels)
        init = functools.partial(scaled_normal, self.rows, self.columns, self.gain)
        w = hk.get_parameter("w", shape, x.dtype, init)
        b = hk.get_parameter("b", (self.channels,), x.dtype, jnp.zeros)
        if self.columns is not None:
            alive = on(self.columns, self.channels, x.dtype)
            w, b = w * alive.reshape(1, 1, 1, -1), b * alive
        convolve = _by_patches if jax.default_backend() == "cpu" else _by_xla
        return convolve(x, w, self.stride) + b.reshape(-1, 1, 1, 1)


def _by_xla(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", dimension_numbers=("CHWN", "HWIO", "CHWN")
    )


def _by_patches(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
    inputs = x.shape[0]
    copies = [column for row in _thirds(x, 1, stride) for column in _thirds(row, 2, stride)]
    patches = jnp.concatenate(copies).reshape(9 * inputs, -1)
    out = w.reshape(9 * inputs, -1).T @ patches
    return out.reshape(-1, *copies[0].shape[1:])


def _thirds(x: jax.Array, axis: int, stride: int) -> list[jax.Array]:
    """What the first, second and third weight along an axis are multiplied with.

    Cut and joined anew, not sliced: transposed, a slice is a sum into zeros, which XLA on CPU
    computes element by element.
    """
    size = x.shape[axis]
    places = -(-size // stride)
    # "SAME" padding, as XLA places it: the odd pixel goes after. Then up to a multiple of stride.
    before = max((places - 1) * stride + 3 - size, 0) // 2
    rows = places + (1 if stride == 2 else 2)
    zeros = [(0, 0)] * x.ndim
    zeros[axis] = (before, rows * stride - size - before)
    x = jnp.pad(x, zeros)
    if stride == places == 1:
        return jnp.split(x, 3, axis)
    if stride == 1:
        first, second, middle, *last = jnp.split(x, [1, 2, places, places + 1], axis)
        return [
            jnp.concatenate(part, axis)
            for part in ([first, second, middle], [second, middle, last[0]], [middle, *last])
        ]
    even, odd = jnp.split(x.reshape(*x.shape[:axis], rows, 2, *x.shape[axis + 1 :]), 2, axis + 1)
    even, odd = even.squeeze(axis + 1), odd.squeeze(axis + 1)
    first, middle, last = jnp.split(even, [1, places], axis)
    inside, _ = jnp.split(odd, [places], axis)
    return [
        jnp.concatenate([first, middle], axis),
        inside,
        jnp.concatenate([middle, last], axis),
    ]
