"""Convolutional networks on images: plain, with group normalisation, and residual.

Metz et al. 2022, "Practical tradeoffs", where the initial scale matters; Wu & He 2018, "Group
normalization", where it does not: no running statistics, hence no hidden state; He et al. 2016,
"Identity mappings in deep residual networks" (activation before convolution); De & Smith 2020,
"Batch normalization biases residual blocks towards the identity function in deep networks" (no
normalisation at all).
"""

import dataclasses
import math
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Channels, Counts, Layers, Range

from .._base import Numbers, Spec
from .._problem import Drawn, Supervised
from ._layers import Conv3x3, Dense, GroupNorm, activate, any_activation


@dataclasses.dataclass(frozen=True)
class Conv(Supervised):
    """3x3 convolutions, stride 2 after the first, global mean pooling, linear head.

    Numbers: `width`, eighths of the channels that are on; `activation`; `gain`, the initial scale
    relative to LeCun's.
    """

    name: ClassVar[str] = "conv"
    source: ClassVar[str] = "Metz et al. 2022"
    images: ClassVar[bool] = True
    max_width: ClassVar[int] = 8
    drawn: ClassVar[Drawn] = {"width": "widths", "activation": any_activation, "gain": "gains"}
    channels: Channels = (8, 16, 16)
    widths: Counts = (4, 8)
    gains: Range = (0.5, 2.0)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        x, rows = x.transpose(3, 1, 2, 0), None
        for layer, channels in enumerate(self.channels):
            columns = channels * n["width"] // 8
            stride = 1 if layer == 0 else 2
            x = Conv3x3(channels, stride, rows=rows, columns=columns, gain=n["gain"])(x)
            x, rows = activate(x, n["activation"]), columns
        return Dense(spec.outputs, rows=rows, gain=n["gain"])(x.mean((1, 2)).T)


@dataclasses.dataclass(frozen=True)
class NormConv(Supervised):
    """3x3 convolutions, each act(norm(conv(x))); stride, pooling and head as those of `Conv`.

    Numbers: `activation`; `gain`, the initial scale relative to LeCun's.
    """

    name: ClassVar[str] = "norm_conv"
    source: ClassVar[str] = "Wu & He 2018"
    images: ClassVar[bool] = True
    drawn: ClassVar[Drawn] = {"activation": any_activation, "gain": "gains"}
    channels: Channels = (8, 16, 16)
    gains: Range = (0.5, 2.0)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        x = x.transpose(3, 1, 2, 0)
        for layer, channels in enumerate(self.channels):
            x = Conv3x3(channels, 1 if layer == 0 else 2, gain=n["gain"])(x)
            x = activate(GroupNorm()(x), n["activation"])
        return Dense(spec.outputs, gain=n["gain"])(x.mean((1, 2)).T)


@dataclasses.dataclass(frozen=True)
class ResNet(Supervised):
    """A stem, then for each entry of `channels` a stage of `max_depth` blocks; stride 2 in between.

    A block adds conv(act(norm(conv(act(norm(x)))))) to x. The published ResNet-18 has channels
    (64, 128, 256, 512) and max_depth 2: 11 million parameters.

    Numbers: `depth`, blocks of each stage that act (at least the first); `activation`; `gain`,
    the initial scale relative to He et al. 2015.
    """

    name: ClassVar[str] = "resnet"
    source: ClassVar[str] = "He et al. 2016; Wu & He 2018"
    images: ClassVar[bool] = True
    drawn: ClassVar[Drawn] = {"depth": "depths", "activation": any_activation, "gain": "gains"}
    channels: Channels = (8, 16)
    max_depth: Layers = 2
    depths: Counts = (1, 2)
    gains: Range = (0.5, 2.0)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        he = math.sqrt(2) * n["gain"]
        x = Conv3x3(self.channels[0], 1, gain=he)(x.transpose(3, 1, 2, 0))
        for stage, channels in enumerate(self.channels):
            for block in range(self.max_depth):
                stride = 2 if stage > 0 and block == 0 else 1
                h = self._activated(n, x)
                if stride == 2:
                    # The shortcut of a new stage: every other pixel, through a matrix.
                    x = jnp.moveaxis(Dense(channels)(jnp.moveaxis(x[:, ::2, ::2], 0, -1)), -1, 0)
                h = Conv3x3(channels, stride, gain=he)(h)
                h = Conv3x3(channels, 1, gain=he)(self._activated(n, h))
                h = self._scaled(h, f"{stage}_{block}")
                x = x + h * (block < n["depth"]).astype(x.dtype)
        return Dense(spec.outputs)(self._activated(n, x).mean((1, 2)).T)

    def _activated(self, n: Numbers, x: jax.Array) -> jax.Array:
        """What a convolution, or the head, is given of x."""
        return activate(GroupNorm()(x), n["activation"])

    def _scaled(self, h: jax.Array, block: str) -> jax.Array:
        """What a block adds."""
        return h


@dataclasses.dataclass(frozen=True)
class SkipInit(ResNet):
    """A residual network without norms: a block adds alpha conv(act(conv(act(x)))) to x.

    alpha, a scalar for each block, starts at 0, so that the network starts as its shortcuts. Stem,
    stages and numbers are those of `ResNet`.
    """

    name: ClassVar[str] = "skip_init"
    source: ClassVar[str] = "De & Smith 2020"

    def _activated(self, n: Numbers, x: jax.Array) -> jax.Array:
        return activate(x, n["activation"])

    def _scaled(self, h: jax.Array, block: str) -> jax.Array:
        return h * hk.get_parameter(f"alpha_{block}", (), h.dtype, jnp.zeros)
