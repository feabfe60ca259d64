"""Small convolutional networks on images (Metz et al. 2022, "Practical tradeoffs").

Plain, where the initial scale matters, and with group normalisation (Wu & He 2018), where it does
not.
"""

import dataclasses
from typing import ClassVar

import jax

from learned_opt._fields import Channels, Counts, Range

from .._base import Numbers, Spec
from .._problem import Supervised, log_uniform, uniform_int
from ._layers import ACTIVATIONS, Conv3x3, Dense, GroupNorm, activate


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
    channels: Channels = (8, 16, 16)
    widths: Counts = (4, 8)
    gains: Range = (0.5, 2.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw width, activation and initial scale."""
        keys = jax.random.split(key, 3)
        return {
            "width": uniform_int(keys[0], self.widths),
            "activation": uniform_int(keys[1], (0, len(ACTIVATIONS) - 1)),
            "gain": log_uniform(keys[2], self.gains),
        }

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
    channels: Channels = (8, 16, 16)
    gains: Range = (0.5, 2.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw activation and initial scale."""
        keys = jax.random.split(key)
        return {
            "activation": uniform_int(keys[0], (0, len(ACTIVATIONS) - 1)),
            "gain": log_uniform(keys[1], self.gains),
        }

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        x = x.transpose(3, 1, 2, 0)
        for layer, channels in enumerate(self.channels):
            x = Conv3x3(channels, 1 if layer == 0 else 2, gain=n["gain"])(x)
            x = activate(GroupNorm()(x), n["activation"])
        return Dense(spec.outputs, gain=n["gain"])(x.mean((1, 2)).T)
