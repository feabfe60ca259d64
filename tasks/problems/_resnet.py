"""Residual convolutional networks with group normalisation.

He et al. 2016, "Identity mappings in deep residual networks" (activation before convolution); Wu &
He 2018, "Group normalization": no running statistics, hence no hidden state.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Channels, Counts, Layers, Range

from .._base import Numbers, Spec
from .._problem import Supervised, log_uniform, uniform_int
from ._layers import ACTIVATIONS, Conv3x3, Dense, GroupNorm, activate


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
    channels: Channels = (8, 16)
    max_depth: Layers = 2
    depths: Counts = (1, 2)
    gains: Range = (0.5, 2.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw depth, activation and initial scale."""
        keys = jax.random.split(key, 3)
        return {
            "depth": uniform_int(keys[0], self.depths),
            "activation": uniform_int(keys[1], (0, len(ACTIVATIONS) - 1)),
            "gain": log_uniform(keys[2], self.gains),
        }

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        he = math.sqrt(2) * n["gain"]
        x = Conv3x3(self.channels[0], 1, gain=he)(x.transpose(3, 1, 2, 0))
        for stage, channels in enumerate(self.channels):
            for block in range(self.max_depth):
                stride = 2 if stage > 0 and block == 0 else 1
                h = activate(GroupNorm()(x), n["activation"])
                if stride == 2:
                    # The shortcut of a new stage: every other pixel, through a matrix.
                    x = jnp.moveaxis(Dense(channels)(jnp.moveaxis(x[:, ::2, ::2], 0, -1)), -1, 0)
                h = Conv3x3(channels, stride, gain=he)(h)
                h = Conv3x3(channels, 1, gain=he)(activate(GroupNorm()(h), n["activation"]))
                x = x + h * (block < n["depth"]).astype(x.dtype)
        x = activate(GroupNorm()(x), n["activation"])
        return Dense(spec.outputs)(x.mean((1, 2)).T)
