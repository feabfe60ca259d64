"""Autoencoders (Hinton & Salakhutdinov 2006) and variational ones (Kingma & Welling 2014)."""

import dataclasses
import math
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Range, Size, Sizes

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem
from ._layers import Dense, activate, any_activation, on


@dataclasses.dataclass(frozen=True)
class Autoencoder(Problem):
    """x -> `max_hidden` -> `max_code` -> `max_hidden` -> x; loss mean (output - x)^2 / 2.

    Numbers: `hidden` and `code`, units that are on; `activation`; `gain`, the initial scale
    relative to LeCun's.
    """

    name: ClassVar[str] = "autoencoder"
    source: ClassVar[str] = "Hinton & Salakhutdinov 2006"
    kinds: ClassVar[tuple[str, ...]] = ("label", "value")
    variational: ClassVar[bool] = False
    drawn: ClassVar[Drawn] = {
        "hidden": "hidden",
        "code": "codes",
        "activation": any_activation,
        "gain": "gains",
    }
    max_hidden: Size = 32
    max_code: Size = 8
    hidden: Sizes = (16, 32)
    codes: Sizes = (2, 8)
    gains: Range = (0.5, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._network(n).init(key, jnp.zeros((1, math.prod(spec.shape))))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The mean over features of half the squared error, plus the code's cost over features."""
        x = batch.x.reshape(len(batch.x), -1)
        output, cost = self._network(n).apply(params, key, x)
        error = 0.5 * jnp.mean((output - x).astype(jnp.float32) ** 2)
        if not self.variational:
            return error, {}
        cost = cost.astype(jnp.float32) / x.shape[1]
        return error + cost, {"code_cost": cost}

    def _network(self, n: Numbers) -> hk.Transformed:
        def forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = Dense(self.max_hidden, columns=n["hidden"], gain=n["gain"])(x)
            h = activate(h, n["activation"])
            code = Dense(self.max_code, rows=n["hidden"], columns=n["code"], gain=n["gain"])(h)
            cost = jnp.zeros((), x.dtype)
            if self.variational:
                spread = Dense(self.max_code, rows=n["hidden"], columns=n["code"])
                code, cost = _gaussian_code(code, spread(h))
                code = code * on(n["code"], self.max_code, code.dtype)[None]
            h = Dense(self.max_hidden, rows=n["code"], columns=n["hidden"], gain=n["gain"])(code)
            h = activate(h, n["activation"])
            return Dense(x.shape[1], rows=n["hidden"], gain=n["gain"])(h), cost

        return hk.transform(forward)


def _gaussian_code(mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A draw of N(mean, std^2), and its divergence from N(0, 1) in nats, mean over the batch."""
    log_std = 3.0 * jnp.tanh(log_std / 3.0)  # or one bad step makes exp overflow
    noise = jax.random.normal(hk.next_rng_key(), mean.shape).astype(mean.dtype)
    divergence = 0.5 * (jnp.exp(2 * log_std) + mean**2 - 1.0) - log_std
    return mean + jnp.exp(log_std) * noise, divergence.sum(1).mean()


@dataclasses.dataclass(frozen=True)
class VAE(Autoencoder):
    """An autoencoder with a Gaussian code; loss is the negative evidence bound over features.

    mean over features of (output - x)^2 / 2 + KL(N(m, s^2) || N(0, 1)) / features, in nats, less
    the constant log(2 pi) / 2. Log-deviations s' are 3 tanh(s' / 3), so that none explodes.
    """

    name: ClassVar[str] = "vae"
    source: ClassVar[str] = "Kingma & Welling 2014"
    variational: ClassVar[bool] = True
