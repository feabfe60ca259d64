"""Problems, good and bad optimizers, and whole runs of them under a guard, for tests."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt import with_fallback

STEPS, WINDOW, LONGEST = 600, 10, 16
FACTORS = {"quadratic-1": 20.0}


class Problem(NamedTuple):
    loss: object
    start: object
    fallback: object
    good: object


def quadratic(condition):
    """Gradient descent against the same divided by the curvature."""
    curvature = jnp.logspace(0, -np.log10(condition), 6)
    newton = optax.stateless(lambda u, _: {"x": -0.1 * u["x"] / curvature})
    return Problem(
        lambda p: 0.5 * jnp.sum(curvature * p["x"] ** 2),
        {"x": jnp.linspace(1.0, 2.0, 6)},
        optax.sgd(0.02),
        newton,
    )


def rosenbrock():
    return Problem(
        lambda p: (1 - p["x"]) ** 2 + 20 * (p["y"] - p["x"] ** 2) ** 2,
        {"x": jnp.array(-1.0), "y": jnp.array(1.5)},
        optax.sgd(5e-4, momentum=0.9),
        optax.sgd(3e-3, momentum=0.9),
    )


def logistic():
    x = jax.random.normal(jax.random.key(0), (40, 3))
    y = jnp.sign(
        x @ jnp.array([1.0, -2.0, 0.5]) + 0.5 * jax.random.normal(jax.random.key(1), (40,))
    )
    return Problem(
        lambda p: jnp.mean(jax.nn.softplus(-y * (x @ p["w"] + p["b"][None]))),
        {"w": jnp.zeros(3), "b": jnp.zeros(())},
        optax.sgd(0.05),
        optax.sgd(1.0),
    )


PROBLEMS = {
    "quadratic-1": quadratic(1), "quadratic-30": quadratic(30), "quadratic-1000": quadratic(1000),
    "rosenbrock": rosenbrock(), "logistic": logistic(),
}  # fmt: skip


class Kind(NamedTuple):
    """Good for the first `count` gradients; from there the updates are factor * g + size * N."""

    count: int
    factor: float
    size: float


BAD = {
    "ascends": Kind(0, 0.1, 0.0),
    "explodes": Kind(0, 1e6, 0.0),
    "random": Kind(0, 0.0, 0.1),
    "nan": Kind(0, np.nan, 0.0),
    "freezes": Kind(0, 0.0, 0.0),
    "crawls": Kind(0, -1e-5, 0.0),
    "freezes-later": Kind(60, 0.0, 0.0),
    "diverges-later": Kind(60, 30.0, 0.0),
    "nan-later": Kind(60, np.nan, 0.0),
    "wanders-later": Kind(60, 0.0, 0.03),
}
GOOD = {"good": Kind(10**6, 0.0, 0.0)}
ALWAYS = ["ascends", "explodes", "nan", "freezes", "crawls"]


def bad(good, kind):
    def init(params):
        return jnp.zeros((), jnp.int32), good.init(params)

    def update(updates, state, params=None):
        steps, inner = state
        fine, inner = good.update(updates, inner, params)
        keys = iter(jax.random.split(jax.random.fold_in(jax.random.key(5), steps), len(updates)))

        def one(f, g):
            worse = kind.factor * g + kind.size * jax.random.normal(next(keys), g.shape)
            return jnp.where(steps < kind.count, f, worse)

        return jax.tree.map(one, fine, updates), (steps + 1, inner)

    return optax.GradientTransformation(init, update)


class Run(NamedTuple):
    """Final state; after every step the loss, the parameters, who leads and the phase."""

    state: object
    losses: jax.Array
    path: object
    leads: jax.Array
    phases: jax.Array


def descend(tx, problem, steps=STEPS, shift=0.0):
    tx = optax.with_extra_args_support(tx)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(problem.loss)(params)
        updates, state = tx.update(grads, state, params, value=value + shift)
        new = optax.apply_updates(params, updates)
        told = [getattr(state, name, jnp.zeros(())) for name in ("learned_leads", "phase")]
        return (new, state), (problem.loss(new), new, *told)

    start = (problem.start, tx.init(problem.start))
    (_, state), seen = jax.lax.scan(step, start, length=steps)
    return Run(state, *seen)


def run(tx, problem, **options):
    return jax.jit(lambda: descend(tx, problem, **options))()


def run_kinds(name, kinds, guarded=True, **options):
    """What `descend` gives for learned optimizers of many kinds, compiled once."""
    problem = PROBLEMS[name]

    def one(kind):
        tx = bad(problem.good, kind)
        return descend(guard(tx, problem.fallback) if guarded else tx, problem, **options)

    rows = Kind(*(jnp.asarray(column) for column in zip(*kinds.values(), strict=True)))
    results = jax.device_get(jax.jit(jax.vmap(one))(rows))
    return {k: jax.tree.map(lambda x, i=i: x[i], results) for i, k in enumerate(kinds)}


@functools.cache
def all_kinds(name, guarded=True):
    return run_kinds(name, {**BAD, **GOOD}, guarded)


@functools.cache
def fallback_alone(name):
    return jax.device_get(run(PROBLEMS[name].fallback, PROBLEMS[name]))


def guard(learned, fallback, **options):
    options = {"num_steps": STEPS, "window": WINDOW, "longest": LONGEST, **options}
    return with_fallback(learned, fallback, **options)


def most_wasted(steps=STEPS, window=WINDOW, longest=LONGEST):
    """The documented bound."""
    return (window + 1) * (2 + math.log2(longest) + steps / (window * longest))


def by_then(late=LONGEST * WINDOW):
    """The step at which the fallback alone is what the guard is held to."""
    return int(STEPS - most_wasted() - late)


def assert_late(guarded, alone):
    """The kept trajectory is that of one optimizer alone, late by no more than the bound."""
    wasted = int(guarded.state.wasted)
    assert 0 < wasted <= most_wasted()
    for key, x in alone.path.items():
        np.testing.assert_allclose(
            guarded.path[key][-1], x[STEPS - wasted - 1], rtol=1e-3, atol=1e-5
        )
