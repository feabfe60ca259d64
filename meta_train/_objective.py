"""What a training run earns."""

import abc
import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import NonNegative, check_fields
from learned_opt.tasks import comparable_loss, relative_loss

BOUND = math.log(2.0)
"""Of logarithms of ratios that are clipped: no task counts for more than a factor of two."""


@dataclasses.dataclass(frozen=True)
class MetaLoss(abc.ABC):
    """Base of the objectives: weights of what is measured of a run, and how it is counted.

    `name`: in configurations. `untrained`: whether a run is compared with that of the theta that
    meta-training begins with, on the same task with the same initial weights, data and horizon.

    V: loss on the whole inner validation split at the end; L: training loss averaged over the
    last tenth of the steps (one at least); M: over all of them. They are known when the run ends,
    so truncated estimators credit them to the last truncation.

    Args:
      valid: weight of V.
      last: of L.
      mean: of M.
    """

    name: ClassVar[str]
    untrained: ClassVar[bool] = False
    valid: NonNegative = 1.0
    last: NonNegative = 0.0
    mean: NonNegative = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        *names, last = (field.name for field in dataclasses.fields(self) if field.name != "log")
        weights = tuple(getattr(self, name) for name in (*names, last))
        if max(weights) < 1e-6:
            raise ValueError(
                f"{', '.join(names)} or {last} must be at least 1e-06, got {weights}: "
                "nothing is earned"
            )

    def of_step(self, loss: jax.Array, reference: jax.Array, horizon: jax.Array) -> jax.Array:
        """What one step earns (scalar)."""
        del loss, reference, horizon
        return jnp.zeros(())

    def of_end(
        self, valid: jax.Array | None, last: jax.Array, mean: jax.Array, reference: jax.Array
    ) -> jax.Array:
        """What the end of a run earns, always finite; losses in the task's own units.

        Of one run or of several side by side, (lanes,); an untrained one is the last, and earns
        nothing itself.
        """
        total = jnp.zeros(())
        for weight, loss in ((self.valid, valid), (self.last, last), (self.mean, mean)):
            if weight:
                assert loss is not None
                total += weight * self.counted(loss, reference)
        return total

    @abc.abstractmethod
    def counted(self, loss: jax.Array, reference: jax.Array) -> jax.Array:
        """A loss of each lane as it counts in the meta-loss."""
        ...


@dataclasses.dataclass(frozen=True)
class Objective(MetaLoss):
    """Meta-loss of a run: valid C(V) + last C(L) + mean C(M) + steps mean_t C(l_t).

    V, L, M as of `MetaLoss`; l_t: training loss of step t. C = `tasks.comparable_loss`, the
    logarithm of the loss relative to the task's reference, capped and floored; with `log` off,
    C = `tasks.relative_loss`, capped and no logarithm.

    `steps` is credited as it is earned, which is what truncated estimators like.
    """

    name: ClassVar[str] = "loss"
    steps: NonNegative = 0.0
    log: bool = True

    def of_step(self, loss: jax.Array, reference: jax.Array, horizon: jax.Array) -> jax.Array:
        """What one step earns (scalar)."""
        if not self.steps:
            return jnp.zeros(())
        return self.steps * self.counted(loss, reference) / horizon.astype(jnp.float32)

    def counted(self, loss: jax.Array, reference: jax.Array) -> jax.Array:
        """C(loss)."""
        return (comparable_loss if self.log else relative_loss)(loss, reference)


@dataclasses.dataclass(frozen=True)
class Gain(MetaLoss):
    """Meta-loss of a run: valid G(V, V0) + last G(L, L0) + mean G(M, M0).

    G(x, x0) = clip(C(x) - C(x0), -log 2, log 2): the logarithm of x / x0, a factor of two either
    way at most, with C = `tasks.comparable_loss`, in which a loss that is not finite is the cap.
    V, L, M as of `MetaLoss`; V0, L0, M0: what the theta that meta-training begins with reaches on
    the same task with the same initial weights, data and horizon. That is the untrained theta or,
    after `run.start`, the artifact's: what there would be without this meta-training. So it is 0
    for that theta itself, and -0.1 means that losses are a tenth lower.

    Within the bounds its gradient is that of `Objective` with equal weights. What differs: on a
    task that has gained or lost a factor of two nothing more is to be had, so that no task
    outweighs the others. It costs one run more a pair, or a second one where runs are single.
    """

    name: ClassVar[str] = "gain"
    untrained: ClassVar[bool] = True

    def counted(self, loss: jax.Array, reference: jax.Array) -> jax.Array:
        """G of each lane but the untrained, (lanes,) to (lanes - 1,)."""
        logs = comparable_loss(loss, reference)
        return jnp.clip(logs[:-1] - logs[-1:], -BOUND, BOUND)


OBJECTIVES: tuple[type, ...] = (Objective, Gain)
"""Every objective; the first is meant where none is named."""


def clipped_log_ratio(loss: jax.Array, reference: jax.Array) -> jax.Array:
    """clip(log(loss / reference), -log 2, log 2); NaN counts as the upper bound."""
    ratio = jnp.log(loss / reference)
    return jnp.where(ratio < BOUND, jnp.maximum(ratio, -BOUND), BOUND)
