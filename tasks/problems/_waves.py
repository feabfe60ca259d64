"""A network that fits a function without noise: its loss falls as far as the optimizer can push it.

Rahaman et al. 2019, "On the spectral bias of neural networks"; Tancik et al. 2020, "Fourier
features let networks learn high frequency functions in low dimensional domains".
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

WAVES = 8


@dataclasses.dataclass(frozen=True)
class Waves(Problem):
    """mean over points x of (f(x) - u(x))^2 / 2, f an MLP, u(x) = sum_k cos(w_k . x + b_k) / 2.

    Of eight waves u has variance 1; w_k ~ N(0, (2 pi frequency)^2), b_k uniform.

    Numbers: `frequency`, of waves over the unit square; `seed` of the waves; `width`; `depth`,
    hidden layers that act; `activation`; `gain`, the initial scale relative to He et al. 2015.
    """

    name: ClassVar[str] = "waves"
    source: ClassVar[str] = "Rahaman et al. 2019; Tancik et al. 2020"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 2
    drawn: ClassVar[Drawn] = {"frequency": "frequencies", "seed": jax.random.bits, **MLP_NUMBERS}
    max_width: Size = 32
    max_depth: Layers = 3
    frequencies: Range = (0.2, 2.0)
    widths: Sizes = (4, 32)
    depths: Counts = (1, 3)
    gains: Range = (0.5, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._network(n).init(key, jnp.zeros((1, *spec.shape)))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The mean over the batch's points."""
        guess = self._network(n).apply(params, None, 2.0 * batch.x - 1.0).astype(jnp.float32)
        wanted = self.function(n, batch.x.astype(jnp.float32))
        return 0.5 * jnp.mean((guess[:, 0] - wanted) ** 2), {}

    def function(self, n: Numbers, x: jax.Array) -> jax.Array:
        """u at points (count, dimension) of the unit square, (count,)."""
        keys = jax.random.split(jax.random.key(n["seed"]))
        frequency = n["frequency"].astype(jnp.float32)
        w = 2 * math.pi * frequency * jax.random.normal(keys[0], (x.shape[1], WAVES))
        b = jax.random.uniform(keys[1], (WAVES,), maxval=2 * math.pi)
        return jnp.sum(jnp.cos(x @ w + b[None]), axis=1) / 2

    def _network(self, n: Numbers) -> hk.Transformed:
        return hk.transform(lambda x: mlp(n, x, self.max_width, self.max_depth, 1))
