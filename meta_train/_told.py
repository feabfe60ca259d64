"""What an optimizer is told of a run: how often it sees each example, and the loss, or neither.

An optimizer that can be told the former (`uses_epochs`) has to work with and without both. So in
meta-training each is hidden from half of the runs; in meta-validation it is told both. One that
makes no use of epochs is told the loss at all times.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from learned_opt import LearnedOptimizer, Theta

EPOCHS, LOSS = 0xE90C, 0x1055
"""Folded into the key of a run, which `begin_run` and `run_step` split in two: far from both."""


def told(
    optimizer: LearnedOptimizer,
    theta: Theta,
    family: Any,
    task: Any,
    key: jax.Array,
    horizon: jax.Array,
    *,
    hides: bool,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer at theta for a run, told what it makes use of.

    Args:
      family, task, key, horizon: of the run; the key decides what is hidden.
      hides: whether anything is.

    Raises:
      ValueError: the family does not say how often a run sees each example, and it is asked.
    """
    if not optimizer.uses_epochs:
        return optimizer.transform(theta, num_steps=horizon)
    if not hasattr(family, "supply"):
        raise ValueError(
            f"the family {type(family).__name__} must have supply(task), which returns a "
            f"tasks.Supply, for {optimizer.name} makes use of epochs"
        )
    epochs = family.supply(task).epochs(horizon)
    if not hides:
        return optimizer.transform(theta, num_steps=horizon, epochs=epochs)
    # A NaN is as if it were not told.
    epochs = jnp.where(hidden(key, EPOCHS), jnp.nan, epochs)
    tx = optimizer.transform(theta, num_steps=horizon, epochs=epochs)
    return without_loss(tx, hidden(key, LOSS))


def hidden(key: jax.Array, what: int) -> jax.Array:
    """Whether a run does without `what`, EPOCHS or LOSS: a coin, the same at all of its steps."""
    return jax.random.bernoulli(jax.random.fold_in(key, what))


def without_loss(
    tx: optax.GradientTransformationExtraArgs, away: jax.Array
) -> optax.GradientTransformationExtraArgs:
    """`tx`, which where `away` is told NaN as `value`."""

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        value = jnp.where(away, jnp.nan, extra.pop("value"))
        return tx.update(updates, state, params, value=value, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)
