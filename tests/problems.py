"""A training problem and an optimizer small enough to be solved by hand."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from tasks import Batch, Task, full_loss, inner_init, inner_step


@functools.partial(jax.tree_util.register_dataclass, data_fields=["start"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Quadratic(Task):
    """loss(p) = p^2 / 2 + 1, from p = start; every split is the same. Reference loss: 1."""

    start: jax.Array

    def init(self, key):
        return {"p": self.start}

    def loss(self, params, batch, key):
        return 0.5 * params["p"] ** 2 + 1.0, {}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["start"], meta_fields=["noisy"])
@dataclasses.dataclass(frozen=True)
class Quadratics:
    """Every task starts at `start`, or with `noisy` at start + U(0, 1) drawn from its key."""

    start: jax.Array
    noisy: bool = False

    def sample(self, key):
        return Quadratic(self.start + (jax.random.uniform(key) if self.noisy else 0.0))

    def batch(self, task, key, split):
        return Batch(jnp.zeros((1, 1)), jnp.zeros(1, jnp.int32))

    def full(self, task, split):
        return self.batch(task, None, split)


@dataclasses.dataclass(frozen=True)
class LearnedSGD:
    """p <- p - lr g with theta = {"lr"}; `explode` makes the step NaN where lr > 0.4."""

    name: ClassVar[str] = "sgd"
    explode: bool = False

    def init(self, key):
        return {"lr": jnp.asarray(0.3)}

    def schedule(self, theta, *, num_steps=None):
        return lambda count: theta["lr"]

    def transform(self, theta, *, num_steps=None):
        def update(updates, state, params=None, **extra):
            lr = theta["lr"]
            if self.explode:
                lr = jnp.where(lr > 0.4, jnp.nan, lr)
            return jax.tree.map(lambda g: lr * g, updates), state

        return optax.GradientTransformationExtraArgs(lambda params: (), update)


def loss_ratio(family, task, tx, key, steps):
    """`inner_valid` loss after some steps of `tx` over that at the start; to be traced."""
    state = inner_init(task, tx, key)
    first, _ = full_loss(family, task, state.params, "inner_valid")

    def body(t, state):
        return inner_step(family, tx, state, jax.random.fold_in(key, t))[0]

    state = jax.lax.fori_loop(0, steps, body, state)
    return full_loss(family, task, state.params, "inner_valid")[0] / first
