"""The one training run that meta-training, tuning, evaluation and every baseline share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ._base import Batch, Loss, Params, Split, TaskFamily

CHUNK = 512
"""Examples evaluated at once by `full_loss`; memory does not grow with the split."""


class InnerState(NamedTuple):
    """A training run in progress: the task, its parameters, the optimizer's state.

    `gradient_state`: of `task.gradients()`, what befalls gradients before the optimizer;
    `model_state`: what the model itself carries from step to step, such as batch statistics.
    """

    task: Any
    params: Params
    opt_state: optax.OptState
    gradient_state: optax.OptState
    model_state: Any = ()


def inner_init(task: Any, tx: optax.GradientTransformationExtraArgs, key: jax.Array) -> InnerState:
    """A run at step 0, with the task's initial parameters under `key`."""
    params = task.init(key)
    gradient_state = task.gradients().init(params)
    return InnerState(task, params, tx.init(params), gradient_state, task.init_state(key))


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
    batch = family.batch(state.task, batch_key, "train")
    grad = jax.value_and_grad(state.task.train_loss, has_aux=True)
    (loss, aux), grads = grad(state.params, state.model_state, batch, loss_key)
    grads, gradient_state = state.task.gradients().update(grads, state.gradient_state)
    updates, opt_state = tx.update(grads, state.opt_state, state.params, value=loss)
    params = optax.apply_updates(state.params, updates)
    return InnerState(state.task, params, opt_state, gradient_state, aux[1]), loss


def begin_run(task: Any, tx: optax.GradientTransformationExtraArgs, key: jax.Array) -> InnerState:
    """A run at step 0; `key` decides its initial parameters and, in `run_step`, all it draws."""
    init_key, _ = jax.random.split(key)
    return inner_init(task, tx, init_key)


def run_step(
    family: TaskFamily,
    tx: optax.GradientTransformationExtraArgs,
    state: InnerState,
    key: jax.Array,
    t: jax.Array | int,
) -> tuple[InnerState, jax.Array]:
    """Step number `t`, from 0, of the run that `begin_run` began with `key`; see `inner_step`."""
    _, step_key = jax.random.split(key)
    return inner_step(family, tx, state, jax.random.fold_in(step_key, t))


def parameter_count(task: Any) -> int:
    """Number of parameters of a task."""
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(task.init, jax.random.key(0))))


def full_loss(
    family: TaskFamily, task: Any, params: Params, split: Split, model_state: Any = ()
) -> Loss:
    """Loss and metrics over a whole split, under a fixed key."""
    batch = family.full(task, split)
    size = jax.tree.leaves(batch)[0].shape[0]
    chunks, rest = divmod(size, CHUNK)
    key = jax.random.key(0)
    if chunks + bool(rest) == 1:
        return task.valid_loss(params, model_state, batch, key)

    def part(chunk: Batch) -> Loss:
        return task.valid_loss(params, model_state, chunk, key)

    head = jax.tree.map(lambda x: x[: chunks * CHUNK].reshape(chunks, CHUNK, *x.shape[1:]), batch)
    mean = jax.tree.map(jnp.mean, jax.lax.map(part, head))
    if not rest:
        return mean
    tail = part(jax.tree.map(lambda x: x[chunks * CHUNK :], batch))
    share = rest / size
    return jax.tree.map(lambda a, b: (1 - share) * a + share * b, mean, tail)
