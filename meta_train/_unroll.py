"""An inner training run from start to horizon, and the meta-loss it earns."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from learned_opt import LearnedOptimizer, Theta
from tasks import (
    TaskFamily,
    comparable_loss,
    full_loss,
    inner_init,
    inner_step,
    reference_loss,
    relative_loss,
)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Meta-loss of a run: valid C(V) + last C(L) + mean C(M), C = `tasks.comparable_loss`.

    V: loss on the whole inner validation split at the end; L: training loss averaged over the
    last tenth of the steps (one at least); M: over all of them. C is the logarithm of the loss
    relative to the task's reference, capped and floored.
    """

    valid: float = 1.0
    last: float = 0.0
    mean: float = 0.1

    def __call__(
        self, valid: jax.Array, last: jax.Array, mean: jax.Array, reference: jax.Array
    ) -> jax.Array:
        """Scalars in the loss's own units to a scalar; always finite."""
        terms = ((self.valid, valid), (self.last, last), (self.mean, mean))
        return sum(
            (weight * comparable_loss(loss, reference) for weight, loss in terms),
            start=jnp.zeros(()),
        )


def unroll(
    optimizer: LearnedOptimizer,
    objective: Objective,
    family: TaskFamily,
    task: Any,
    theta: Theta,
    key: jax.Array,
    *,
    horizon: jax.Array,
    max_steps: jax.Array,
) -> jax.Array:
    """Meta-loss (scalar) of training `task` for `horizon` steps with the optimizer at `theta`.

    The loop runs `max_steps` >= `horizon` times, so that under `vmap` runs of several horizons
    share it: past its horizon a run stands still. Both are traced: no recompilation.
    """
    direction = optimizer.transform(theta, num_steps=horizon)
    tx = optax.with_extra_args_support(optax.chain(direction, optax.scale(-1.0)))
    init_key, step_key = jax.random.split(key)
    state = inner_init(task, tx, init_key)
    reference = reference_loss(family, task)
    tail_steps = jnp.maximum(1, horizon // 10)

    def body(t: jax.Array, carry: tuple) -> tuple:
        state, total, tail = carry
        new, loss = inner_step(family, tx, state, jax.random.fold_in(step_key, t))
        on = t < horizon
        params = jax.tree.map(lambda a, b: jnp.where(on, a, b), new.params, state.params)
        loss = jnp.where(on, relative_loss(loss, reference), 0.0)
        tail = tail + jnp.where(t >= horizon - tail_steps, loss, 0.0)
        return new._replace(params=params), total + loss, tail

    zero = jnp.zeros(())
    state, total, tail = jax.lax.fori_loop(0, max_steps, body, (state, zero, zero))
    valid, _ = full_loss(family, task, state.params, "inner_valid")
    last = reference * tail / tail_steps.astype(tail.dtype)
    mean = reference * total / horizon.astype(total.dtype)
    return objective(valid, last, mean, reference)
