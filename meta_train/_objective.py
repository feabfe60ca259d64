"""What a training run earns."""

import dataclasses

import jax
import jax.numpy as jnp

from learned_opt._fields import NonNegative, check_fields
from learned_opt.tasks import comparable_loss, relative_loss


@dataclasses.dataclass(frozen=True)
class Objective:
    """Meta-loss of a run: valid C(V) + last C(L) + mean C(M) + steps mean_t C(l_t).

    V: loss on the whole inner validation split at the end; L: training loss averaged over the
    last tenth of the steps (one at least); M: over all of them; l_t: training loss of step t.
    C = `tasks.comparable_loss`, the logarithm of the loss relative to the task's reference, capped
    and floored; with `log` off, C = `tasks.relative_loss`, capped and no logarithm.

    V, L and M are known when the run ends, so truncated estimators credit them to the last
    truncation; `steps` is credited as it is earned, which is what truncated estimators like.
    """

    valid: NonNegative = 1.0
    last: NonNegative = 0.0
    mean: NonNegative = 0.1
    steps: NonNegative = 0.0
    log: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        weights = (self.valid, self.last, self.mean, self.steps)
        if max(weights) < 1e-6:
            raise ValueError(
                f"valid, last, mean or steps must be at least 1e-06, got {weights}: "
                "nothing is earned"
            )

    def of_step(self, loss: jax.Array, reference: jax.Array, horizon: jax.Array) -> jax.Array:
        """What one step earns (scalar)."""
        if not self.steps:
            return jnp.zeros(())
        return self.steps * self._scaled(loss, reference) / horizon.astype(jnp.float32)

    def of_end(
        self, valid: jax.Array | None, last: jax.Array, mean: jax.Array, reference: jax.Array
    ) -> jax.Array:
        """What the end of a run earns (scalar, always finite); losses in the task's own units."""
        total = jnp.zeros(())
        for weight, loss in ((self.valid, valid), (self.last, last), (self.mean, mean)):
            if weight:
                assert loss is not None
                total += weight * self._scaled(loss, reference)
        return total

    def _scaled(self, loss: jax.Array, reference: jax.Array) -> jax.Array:
        return (comparable_loss if self.log else relative_loss)(loss, reference)
