"""Small convolutional networks on images: an architecture the quickstart never meta-trains on."""

import dataclasses
import functools
import math
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from ._base import Batch, Params
from ._classify import Classifiers, Range, cross_entropy, log_uniform


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["gain"],
    meta_fields=["channels", "classes", "shape"],
)
@dataclasses.dataclass(frozen=True)
class ConvTask:
    """3x3 convolutions with SiLU, stride 2 after the first, global mean pooling, linear head."""

    gain: jax.Array
    channels: tuple[int, ...]
    classes: int
    shape: tuple[int, ...]

    def init(self, key: jax.Array) -> Params:
        """Haiku parameters, weights scaled by `gain`."""
        params = _network(self).init(key, jnp.zeros((1, *self.shape)))
        return jax.tree.map(lambda p: self.gain * p, params)

    def loss(
        self, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Cross-entropy in nats, and accuracy."""
        return cross_entropy(_network(self).apply(params, key, batch.x), batch)


def _network(task: ConvTask) -> hk.Transformed:
    def forward(x: jax.Array) -> jax.Array:
        x = x.transpose(3, 1, 2, 0)
        for layer, channels in enumerate(task.channels):
            stride = 1 if layer == 0 else 2
            x = jax.nn.silu(_Conv3x3(channels, stride)(x))
        return hk.Linear(task.classes)(x.mean((1, 2)).T)

    return hk.transform(forward)


class _Conv3x3(hk.Module):
    """`hk.Conv2D(channels, 3, stride)` on (channels, height, width, batch), as one product.

    With weights that differ from lane to lane, as under `vmap` over tasks, XLA's own convolution
    becomes a grouped one, several times slower on CPU. Nine shifted copies times one matrix are
    not, and with the batch innermost the copies are of whole rows (`python -m benchmarks.conv`).
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def __call__(self, x: jax.Array) -> jax.Array:
        inputs, height, width, batch = x.shape
        shape = (3, 3, inputs, self.channels)
        init = hk.initializers.TruncatedNormal(1.0 / math.sqrt(9 * inputs))
        w = hk.get_parameter("w", shape, x.dtype, init)
        b = hk.get_parameter("b", (self.channels,), x.dtype, jnp.zeros)
        # "SAME" padding, as XLA places it: the odd pixel goes after.
        pads = []
        for size in (height, width):
            total = max((-(-size // self.stride) - 1) * self.stride + 3 - size, 0)
            pads.append((total // 2, total - total // 2))
        padded = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        down, right = rows * self.stride, columns * self.stride
        copies = [
            padded[:, i : i + down : self.stride, j : j + right : self.stride]
            for i in range(3)
            for j in range(3)
        ]
        patches = jnp.concatenate(copies).reshape(9 * inputs, rows * columns * batch)
        out = w.reshape(9 * inputs, self.channels).T @ patches
        return (out + b[:, None]).reshape(self.channels, rows, columns, batch)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["data"],
    meta_fields=["batch_size", "channels", "gains"],
)
@dataclasses.dataclass(frozen=True)
class ConvFamily(Classifiers):
    """Convolutional networks of fixed shape and random initial scale on one image set."""

    channels: tuple[int, ...] = (8, 16, 16)
    gains: Range = (0.5, 2.0)

    def sample(self, key: jax.Array) -> ConvTask:
        """Draw the initial scale."""
        return self.task(gain=log_uniform(key, self.gains))

    def task(self, gain: Any = 1.0) -> ConvTask:
        """One member, by its initial scale."""
        return ConvTask(
            gain=jnp.asarray(gain, jnp.float32),
            channels=self.channels,
            classes=self.data.classes,
            shape=self.data.shape,
        )
