"""What optimizers with a controller for every tensor share: step size, decay, averages, options."""

import dataclasses
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .._base import Theta
from .._fields import Momenta, Scale, Share, Weight
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Now
from ._accumulators import Accumulators, init_accumulators, update_accumulators
from ._schedule import ramp_and_decay, ramp_and_fade

LOG_GAIN = 3.0
"""Scalars stored as logarithms move this much faster under a common perturbation sigma."""


@dataclasses.dataclass(frozen=True)
class Controlled(LearnedOptimizer):
    """Three momenta and a second moment; a step size that warms up, then falls.

    theta: `log_lr`, `log_decay`, `log_power`, zero at initialisation, and more.
    """

    learning_rate: Scale = 3e-3
    weight_decay: Weight = 0.1
    warmup: Share = 0.05
    momenta: Momenta = "float32"
    factored: bool = False
    horizon_free: bool = False

    def _own_schedule(self, theta: Theta, peak: Any, total: jax.Array | None) -> optax.Schedule:
        """a(t) = lr min(1, (t + 1) / (warmup T)) max(0, 1 - t/T)^power, t = 0, 1, ...

        With `horizon_free` lr min(1, (t + 1) / 50) (1 + t/100)^(-power/2).
        """
        power = jnp.exp(theta["log_power"])
        if total is None:
            return ramp_and_fade(peak, power)
        return ramp_and_decay(peak, power, self.warmup, total)

    def _init_scalars(self) -> dict[str, Any]:
        return {name: jnp.zeros((), jnp.float32) for name in ("log_lr", "log_decay", "log_power")}

    def _peak(self, theta: Theta) -> jax.Array:
        return self.learning_rate * jnp.exp(LOG_GAIN * theta["log_lr"])

    def _decay(self, theta: Theta) -> jax.Array:
        return self.weight_decay * jnp.exp(LOG_GAIN * theta["log_decay"])

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Accumulators:
        return init_accumulators(zeros, jnp.dtype(self.momenta), self.factored)

    def _accumulate(
        self, now: Now, kind: Hashable, old: Accumulators, g: jax.Array
    ) -> Accumulators:
        return update_accumulators(old, g)


def seen_times(now: Now) -> jax.Array:
    """What networks see of the time after t of T steps, or without a horizon, (NUM_TIMES,)."""
    t, total = now.t, now.total
    if total is None:
        return jnp.stack([jnp.log10(t + 1) - 2, jnp.exp(-t / 100), jnp.exp(-t / 1000)])
    return jnp.stack([t / total, jnp.exp(-10 * t / total), jnp.log10(total) - 2.5])
