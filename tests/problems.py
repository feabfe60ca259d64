"""A training problem and an optimizer small enough to be solved by hand."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt.meta_train import Objective
from learned_opt.tasks import Batch, FamilySpec, Task, full_loss, inner_init, inner_step
from learned_opt.tasks.problems import InfluenceBalancing

FINAL = Objective(valid=1.0, last=0.0, mean=0.0)
FLOOR = 5e-4


def mesh(devices=2):
    return jax.make_mesh(
        (devices,), ("lanes",), axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )  # fmt: skip


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
    uses_epochs: ClassVar[bool] = False
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
    start = inner_init(task, tx, key)

    def body(t, state):
        return inner_step(family, tx, state, jax.random.fold_in(key, t))[0]

    end = jax.lax.fori_loop(0, steps, body, start)
    # A loop over the two, so that the evaluation is compiled once.
    first, last = jax.lax.map(
        lambda params: full_loss(family, task, params, "inner_valid")[0],
        jax.tree.map(lambda *x: jnp.stack(x), start.params, end.params),
    )
    return last / first


@dataclasses.dataclass(frozen=True)
class InfluenceOptimizer:
    """p <- p - g + u s with theta = {"u"}: +1 for the first 10 of 23 units, -1 for the rest."""

    name: ClassVar[str] = "influence"
    uses_epochs: ClassVar[bool] = False

    def init(self, key):
        return {"u": jnp.zeros(())}

    def transform(self, theta, *, num_steps=None):
        def update(updates, state, params=None, **extra):
            return {"p": updates["p"] - theta["u"] * jnp.asarray(SIGNS, jnp.float32)}, state

        return optax.GradientTransformationExtraArgs(lambda params: (), update)


SIGNS = np.where(np.arange(23) < 10, 1.0, -1.0)


def influence_family():
    return FamilySpec(InfluenceBalancing(), "points/23", 1).build()


def influence_gradients(horizon, length):
    """d/du at u = 0 of the mean relative loss over the run, whole and within truncations.

    p <- A p + u s from p = 0, so dp/du obeys the same recursion; the loss of a step is
    (p_1 - 1)^2 / 2 before it, relative to 1/2.
    """
    a = 0.5 * np.eye(23) + 0.5 * np.eye(23, k=1)
    whole = within = 0.0
    far, near = np.zeros(23), np.zeros(23)
    for t in range(horizon):
        if t % length == 0:
            near = np.zeros(23)
        whole, within = whole - 2 * far[0] / horizon, within - 2 * near[0] / horizon
        far, near = a @ far + SIGNS, a @ near + SIGNS
    return whole, within
