"""The one training step that meta-training, tuning, evaluation and every baseline share."""

from typing import Any, NamedTuple

import jax
import optax

from ._base import Params, TaskFamily


class InnerState(NamedTuple):
    """A training run in progress: the task, its parameters, the optimizer's state."""

    task: Any
    params: Params
    opt_state: optax.OptState


def inner_init(task: Any, tx: optax.GradientTransformationExtraArgs, key: jax.Array) -> InnerState:
    """A run at step 0, with the task's initial parameters under `key`."""
    params = task.init(key)
    return InnerState(task, params, tx.init(params))


def inner_step(
    family: TaskFamily,
    tx: optax.GradientTransformationExtraArgs,
    state: InnerState,
    key: jax.Array,
) -> tuple[InnerState, jax.Array]:
    """One step on a training minibatch; `tx` emits what is added to the parameters.

    Returns the next state and the loss at the parameters before the step (scalar).
    """
    batch_key, loss_key = jax.random.split(key)
    batch = family.batch(batch_key, "train")
    grad = jax.value_and_grad(state.task.loss, has_aux=True)
    (loss, _), grads = grad(state.params, batch, loss_key)
    updates, opt_state = tx.update(grads, state.opt_state, state.params, value=loss)
    params = optax.apply_updates(state.params, updates)
    return InnerState(state.task, params, opt_state), loss


def full_loss(
    family: TaskFamily, task: Any, params: Params, split: Any
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss and metrics over a whole split."""
    return task.loss(params, family.full(split), jax.random.key(0))
