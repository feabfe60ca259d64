"""A diffusion model: a network that tells the noise in an image, at every level of noise.

Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models", with the time continuous and
the cosine schedule of Nichol & Dhariwal 2021, "Improved denoising diffusion probabilistic models",
less its offset.
"""

import dataclasses
import math
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size, Sizes

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem
from ._mlp import MLP_NUMBERS, mlp

OCTAVES = (1.0, 2.0, 4.0)


@dataclasses.dataclass(frozen=True)
class Denoiser(Problem):
    """mean (f(x_t, t) - e)^2 / 2, f an MLP, x_t = cos(pi t / 2) x + sin(pi t / 2) e, e normal.

    t is uniform on [0, 1], one for each example; f sees it as cos and sin of pi t / 2, pi t and
    2 pi t. The least possible loss is not zero: near t = 0 nobody can tell the noise.

    Numbers: `width`; `depth`, hidden layers that act; `activation`; `gain`, the initial scale
    relative to He et al. 2015.
    """

    name: ClassVar[str] = "denoiser"
    source: ClassVar[str] = "Ho et al. 2020; Nichol & Dhariwal 2021"
    kinds: ClassVar[tuple[str, ...]] = ("label", "value")
    drawn: ClassVar[Drawn] = MLP_NUMBERS
    max_width: Size = 64
    max_depth: Layers = 2
    widths: Sizes = (16, 64)
    depths: Counts = (1, 2)
    gains: Range = (0.5, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        features = math.prod(spec.shape)
        inputs = jnp.zeros((1, features + 2 * len(OCTAVES)))
        return self._network(n, features).init(key, inputs)

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The mean over features and examples, each at its own time."""
        keys = jax.random.split(key)
        x = batch.x.reshape(len(batch.x), -1)
        time = jax.random.uniform(keys[0], (len(x), 1))
        noise = jax.random.normal(keys[1], x.shape)
        angles = math.pi / 2 * time * jnp.asarray(OCTAVES)[None]
        cos, sin = jnp.cos(angles), jnp.sin(angles)
        seen = cos[:, :1] * x.astype(jnp.float32) + sin[:, :1] * noise
        inputs = jnp.concatenate([seen, cos, sin], axis=1).astype(x.dtype)
        guess = self._network(n, x.shape[1]).apply(params, None, inputs)
        return 0.5 * jnp.mean((guess.astype(jnp.float32) - noise) ** 2), {}

    def _network(self, n: Numbers, features: int) -> hk.Transformed:
        return hk.transform(lambda x: mlp(n, x, self.max_width, self.max_depth, features))
