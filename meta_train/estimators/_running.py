"""Means over the last estimates, which estimators carry in their state."""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

DECAY = 0.9
"""Weight of an estimate, relative to the next: about ten of them are remembered."""


class Running(NamedTuple):
    """The mean of x_1, ..., x_t with weights .9^(t - i): no zero before the first pulls at it.

    `total`: sum_i .1 .9^(t - i) x_i; `share`: sum_i .1 .9^(t - i) (scalar), which is 1 - .9^t.

    Example:
      >>> import jax.numpy as jnp
      >>> from learned_opt.meta_train.estimators._running import Running
      >>> print(Running.blank(jnp.zeros(())).after(3.0).after(4.0).mean.round(4))
      3.5263
    """

    total: jax.Array
    share: jax.Array

    @classmethod
    def blank(cls, zero: jax.Array) -> Self:
        """Of nothing yet; `zero`: shaped as what will come."""
        return cls(zero, jnp.zeros(()))

    def after(self, x: Any) -> Self:
        """With one more."""
        return self._replace(
            total=DECAY * self.total + (1 - DECAY) * x, share=DECAY * self.share + (1 - DECAY)
        )

    @property
    def mean(self) -> jax.Array:
        """Zero before the first."""
        return self.total / jnp.where(self.share > 0, self.share, 1.0)
