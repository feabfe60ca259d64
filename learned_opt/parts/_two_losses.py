"""Features of a training and a validation loss, as RNN-MLP sees them.

Metz, Maheswaranathan, Freeman, Poole, Sohl-Dickstein 2020, "Tasks, stability, architecture, and
compute: Training more effective learned optimizers, and using them to train themselves".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from ._adam import gathered

TRAIN_DECAY, VALID_DECAY = 0.9, 0.95
LARGEST = 5.0


class LossAverages(NamedTuple):
    """EMAs from zero of the losses seen, their square deviations, and counts: float32 scalars."""

    train_mean: jax.Array
    train_square: jax.Array
    train_count: jax.Array
    valid_mean: jax.Array
    valid_count: jax.Array


def init_losses() -> LossAverages:
    """No loss seen yet."""
    # Every array a buffer of its own, so that a training step may donate the state.
    return LossAverages(*(jnp.zeros(()) for _ in LossAverages._fields))


def see_losses(
    old: LossAverages, train: jax.Array, valid: jax.Array
) -> tuple[LossAverages, jax.Array]:
    """The averages after these losses, and the two features, (2,), in [-5, 5].

    (l - M) / sqrt(S + 1e-8), with l the train loss or the mean of the validation losses, M and S
    the train loss's mean and mean square deviation (of each loss from the M that holds it), each
    by an EMA corrected for its start. A loss
    that is not finite leaves its averages as they were; a feature is zero without the train loss
    of this step, that of validation also before the first validation loss.
    """
    has_train, has_valid = jnp.isfinite(train), jnp.isfinite(valid)
    train, valid = jnp.where(has_train, train, 0.0), jnp.where(has_valid, valid, 0.0)
    before, after = (gathered(TRAIN_DECAY, old.train_count + i) for i in (0, 1))
    # loss - M, exactly zero for the first loss: the root below would make rounding a feature.
    deviation = TRAIN_DECAY * before / after * (train - old.train_mean / jnp.maximum(before, 0.05))
    new = LossAverages(
        TRAIN_DECAY * old.train_mean + (1 - TRAIN_DECAY) * train,
        TRAIN_DECAY * old.train_square + (1 - TRAIN_DECAY) * deviation**2,
        old.train_count + 1,
        VALID_DECAY * old.valid_mean + (1 - VALID_DECAY) * valid,
        old.valid_count + 1,
    )
    has = LossAverages(*[has_train] * 3, *[has_valid] * 2)
    new = jax.tree.map(jnp.where, has, new, old)
    correction = gathered(TRAIN_DECAY, jnp.maximum(new.train_count, 1.0))
    seen = new.valid_mean / gathered(VALID_DECAY, jnp.maximum(new.valid_count, 1.0))
    deviations = jnp.stack([deviation, seen - new.train_mean / correction])
    features = deviations * rsqrt(new.train_square / correction + 1e-8)
    known = jnp.stack([has_train, has_train & (new.valid_count > 0)])
    return new, jnp.where(known, jnp.clip(features, -LARGEST, LARGEST), 0.0)
