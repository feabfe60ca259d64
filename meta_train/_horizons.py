"""How long training runs are: constant, log-uniform, or longer as meta-training goes on."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt._fields import Natural, Steps, check_fields


@dataclasses.dataclass(frozen=True)
class Horizons:
    """Log-uniform in [low, high]; constant if both are equal.

    Args:
      low: lower bound, in steps.
      high: upper bound, in steps.
      curriculum: outer steps over which the upper bound grows from `low` to `high`, by equal
        factors; 0: it is `high` from the start. Longer runs have rougher meta-losses (Metz et al.
        2019, "Understanding and correcting pathologies in the training of learned optimizers").
    """

    low: Steps = 100
    high: Steps = 300
    curriculum: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.low > self.high:
            raise ValueError(f"low must be at most high ({self.high}), got {self.low}")

    def draw(self, key: jax.Array, outer_step: jax.Array) -> jax.Array:
        """A horizon (float32 scalar, not rounded)."""
        low, high = self._logs(outer_step)
        return jnp.exp(jax.random.uniform(key, minval=low, maxval=high))

    def mean(self, outer_steps: int) -> float:
        """Mean horizon over a run of so many outer steps."""
        some = np.linspace(0, outer_steps - 1, min(outer_steps, 1000))
        done = some / self.curriculum if self.curriculum else np.ones(1)
        span = np.minimum(1.0, done) * math.log(self.high / self.low)
        # The mean of low exp(u span) for u uniform; at a span of zero it is low.
        means = self.low * np.where(span, np.expm1(span) / np.where(span, span, 1.0), 1.0)
        return float(means.mean())

    def truncations(self, length: int, outer_step: jax.Array) -> jax.Array:
        """Mean number (float32 scalar) of truncations of `length` steps in a run."""
        low, high = self._logs(outer_step)
        middles = jnp.asarray((np.arange(256) + 0.5) / 256, jnp.float32)
        return jnp.mean(whole_truncations(jnp.exp(low + (high - low) * middles), length))

    def _logs(self, outer_step: jax.Array) -> tuple[jax.Array, jax.Array]:
        low, high = jnp.log(jnp.asarray([self.low, self.high], jnp.float32))
        if not self.curriculum:
            return low, high
        done = jnp.minimum(1.0, outer_step.astype(jnp.float32) / self.curriculum)
        return low, low + done * (high - low)


def whole_truncations(horizon: jax.Array, length: int) -> jax.Array:
    """Truncations of `length` steps nearest to `horizon`, one at least (float32)."""
    return jnp.maximum(1.0, jnp.round(horizon / length))
