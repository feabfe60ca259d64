"""Losses of different problems on one scale."""

from typing import Any

import jax
import jax.numpy as jnp

from ._base import TaskFamily
from ._inner import full_loss

CAP = 4.0
"""Relative losses above this, and NaN, count as this: no task drowns another."""

FLOOR = 5e-4
"""Added to relative losses before the logarithm: a problem solved to the last digit, or a
memorised training set, does not outweigh everything else."""


def reference_loss(family: TaskFamily, task: Any) -> jax.Array:
    """Loss (scalar) on `inner_valid` with all parameters zero: the answer that ignores its input.

    Log of the number of labels or of distinct bytes for classifiers and language models, half the
    mean square of what is to be predicted for regressions and autoencoders, the cost of doing
    nothing for a policy. Computed, not assumed, so that it follows every augmentation of the loss.
    Of a model of somebody's own whose loss is then no positive number, that at its start.
    """
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), shapes)
    loss = _loss(family, task, zeros)
    if not task.zeros_are_plain:
        start = _loss(family, task, task.init(jax.random.key(0)))
        loss = jnp.where(jnp.isfinite(loss) & (loss > 0), loss, start)
    return jnp.maximum(loss, jnp.finfo(loss.dtype).tiny)


def _loss(family: TaskFamily, task: Any, params: Any) -> jax.Array:
    model_state = task.init_state(jax.random.key(0))
    return full_loss(family, task, params, "inner_valid", model_state)[0]


def relative_loss(loss: jax.Array, reference: jax.Array) -> jax.Array:
    """min(loss / reference, CAP), with NaN at the cap."""
    ratio = loss / reference
    return jnp.where(ratio < CAP, ratio, CAP)


def comparable_loss(loss: jax.Array, reference: jax.Array) -> jax.Array:
    """log(relative_loss + FLOOR): finite, within [-7.6, 1.39], monotone in the loss.

    0 is as good as ignoring the input; halving any loss is worth the same 0.69, whatever the
    problem's scale (Metz et al. 2022, VeLO; Harrison et al. 2022 use the logarithm alike).
    """
    return jnp.log(relative_loss(loss, reference) + FLOOR)
