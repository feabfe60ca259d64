"""An inner training run from start to horizon, and the meta-loss it earns."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from learned_opt import LearnedOptimizer, Theta
from tasks import InnerState, TaskFamily, full_loss, inner_init, inner_step

LOSS_CAP = 10.0
"""Training losses above this many nats, and NaN, count as this many: no task drowns another."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """Meta-loss of a run: valid log(V) + last log(L) + mean log(M), in log nats.

    V: loss on the whole inner validation split at the end; L: training loss averaged over the
    last tenth of the steps (one at least); M: over all of them. Each is capped at 10 and raised
    by `floor`, which keeps a memorised training set from outweighing everything else. Logarithms
    make the losses of different tasks comparable (Metz et al. 2022, VeLO; Harrison et al. 2022).
    """

    valid: float = 1.0
    last: float = 0.0
    mean: float = 0.1
    floor: float = 1e-3

    def __call__(self, valid: jax.Array, last: jax.Array, mean: jax.Array) -> jax.Array:
        """Scalars in nats to a scalar; always finite."""
        terms = ((self.valid, valid), (self.last, last), (self.mean, mean))
        return sum(
            (weight * jnp.log(capped(loss) + self.floor) for weight, loss in terms),
            start=jnp.zeros(()),
        )


def capped(loss: jax.Array) -> jax.Array:
    """min(loss, LOSS_CAP), with NaN at the cap."""
    return jnp.where(loss < LOSS_CAP, loss, LOSS_CAP)


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
    tail_steps = jnp.maximum(1, horizon // 10)

    def body(t: jax.Array, carry: tuple) -> tuple:
        state, total, tail = carry
        new, loss = inner_step(family, tx, state, jax.random.fold_in(step_key, t))
        on = t < horizon
        params = jax.tree.map(lambda a, b: jnp.where(on, a, b), new.params, state.params)
        loss = jnp.where(on, capped(loss), 0.0)
        tail = tail + jnp.where(t >= horizon - tail_steps, loss, 0.0)
        return InnerState(task, params, new.opt_state), total + loss, tail

    zero = jnp.zeros(())
    state, total, tail = jax.lax.fori_loop(0, max_steps, body, (state, zero, zero))
    valid, _ = full_loss(family, task, state.params, "inner_valid")
    return objective(
        valid, tail / tail_steps.astype(tail.dtype), total / horizon.astype(total.dtype)
    )
