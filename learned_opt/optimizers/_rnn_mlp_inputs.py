"""What RNN-MLP sees: statistics of a tensor and of its shape, a training and a validation loss.

Metz, Maheswaranathan, Freeman, Poole, Sohl-Dickstein 2020, "Tasks, stability, architecture, and
compute: Training more effective learned optimizers, and using them to train themselves".
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import zeros_for
from ..parts._averages import ema, gathered

TRAIN_DECAY, VALID_DECAY = 0.9, 0.95
LARGEST_FEATURE = 5.0
DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)


class TensorAverages(NamedTuple):
    """Five EMAs of the clipped gradient and of its square, each of the tensor's shape."""

    momenta: tuple[jax.Array, ...]
    second: tuple[jax.Array, ...]


def init_tensor(p: Any) -> TensorAverages:
    """Zeros, sharded like p."""
    return TensorAverages(*(tuple(zeros_for(p) for _ in DECAYS) for _ in range(2)))


def see_gradient(old: TensorAverages, g: jax.Array) -> TensorAverages:
    """The averages after a gradient, float32."""
    pairs = ((old.momenta, g), (old.second, g * g))
    return TensorAverages(
        *(tuple(ema(b, x, new) for b, x in zip(DECAYS, olds, strict=True)) for olds, new in pairs)
    )


def tensor_statistics(g: jax.Array, p: jax.Array, averages: TensorAverages) -> jax.Array:
    """Means of m, v, p, their variances, norms of p and g, (8,)."""
    arrays = [*(jnp.stack(x) for x in averages), p]
    means = [jnp.mean(x) for x in arrays]
    spreads = [jnp.var(x) for x in arrays]
    # Above zero, where the square root has a derivative: meta-gradients may come by backprop.
    norms = [jnp.sqrt(jnp.sum(x * x) + 1e-30) for x in (p, g)]
    return jnp.stack([*means, *spreads, *norms])


def shape_statistics(shape: tuple[int, ...]) -> list[float]:
    """1 for a scalar, else -1; log(n) - 1 of four dimensions, the fourth and later taken as one."""
    dims = [*shape[:3], math.prod(shape[3:])]
    dims += [1] * (4 - len(dims))
    return [-1.0 if shape else 1.0, *(math.log(n) - 1 for n in dims)]


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
        ema(TRAIN_DECAY, old.train_mean, train),
        ema(TRAIN_DECAY, old.train_square, deviation**2),
        old.train_count + 1,
        ema(VALID_DECAY, old.valid_mean, valid),
        old.valid_count + 1,
    )
    has = LossAverages(*[has_train] * 3, *[has_valid] * 2)
    new = jax.tree.map(jnp.where, has, new, old)
    correction = gathered(TRAIN_DECAY, jnp.maximum(new.train_count, 1.0))
    seen = new.valid_mean / gathered(VALID_DECAY, jnp.maximum(new.valid_count, 1.0))
    deviations = jnp.stack([deviation, seen - new.train_mean / correction])
    features = deviations * rsqrt(new.train_square / correction + 1e-8)
    known = jnp.stack([has_train, has_train & (new.valid_count > 0)])
    return new, jnp.where(known, jnp.clip(features, -LARGEST_FEATURE, LARGEST_FEATURE), 0.0)
