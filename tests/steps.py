"""Steps of an optimizer for given gradients: shared by the tests of optimizers."""

import contextlib
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt.transformation import _stacks
from learned_opt.transformation import _transformation as _shell

SHAPES = {"scalar": (), "vector": (7,), "matrix": (5, 6), "tensor": (3, 4, 2), "conv": (3, 3, 2, 4)}
WITH_ZEROS = {**SHAPES, "narrow": (6, 5), "zeros": (4,)}


def tree(seed, scale=1.0, shapes=SHAPES):
    """Normal numbers of those shapes, a dict of tuples, which may be nested."""
    rng = np.random.default_rng(seed)

    def draw(shape):
        if isinstance(shape, dict):
            return {k: draw(x) for k, x in shape.items()}
        return jnp.asarray(scale * rng.normal(size=shape), jnp.float32)

    return draw(shapes)


def start(shapes=WITH_ZEROS):
    """Parameters; those called "zeros" are."""
    return {k: 0 * x if k == "zeros" else x for k, x in tree(0, shapes=shapes).items()}


def losses(count):
    """Falling on the whole, with jumps: one is beyond twice the largest mean."""
    found = np.exp(np.random.default_rng(5).normal(size=count) - np.arange(count) / 10)
    found[7:8] = 50.0
    return jnp.asarray(found, jnp.float32)


def moved_theta(optimizer, size=0.3):
    """A theta with every entry off its initial value."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: x + jnp.asarray(size * rng.normal(size=x.shape), jnp.float32),
        optimizer.init(jax.random.key(0)),
    )


@contextlib.contextmanager
def limits(small=_stacks.SMALL, stacked=_stacks.STACKED):
    """Other limits of what is stacked; zeros for the tensors one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_stacks, "SMALL", small)
        patch.setattr(_stacks, "STACKED", stacked)
        # Traced with the limits of then.
        _shell._step.clear_cache()
        yield
    _shell._step.clear_cache()


class Step(NamedTuple):
    """`before` and `after`: parameters; `state`: after the step."""

    before: Any
    step: Any
    after: Any
    state: Any


def run(tx, params, grads, **extras):
    """Each step for a list of gradients; `extras`: keywords of the update, a list each."""
    state, found = tx.init(params), []
    for i, g in enumerate(grads):
        extra = {k: x[i] for k, x in extras.items()}
        found.append(Step(params, *_compiled(tx)(g, state, params, extra)))
        params, state = found[-1].after, found[-1].state
    return found


def descend(tx, params, grads, **extras):
    """Parameters after each step."""
    return [x.after for x in run(tx, params, grads, **extras)]


# Once for all lists of gradients.
@functools.lru_cache(maxsize=4)
def _compiled(tx):
    def update(g, state, params, extra):
        step, state = tx.update(g, state, params, **extra)
        return step, jax.tree.map(jnp.subtract, params, step), state

    return jax.jit(update)


def check_finite(tx, params, grads, starts=(0.0, 1.0)):
    """After five steps from parameters that are scaled, with gradients of extreme sizes.

    Of exactly zero, too: a unit that is masked out has such a gradient from the first step on.
    """

    def last(start, size):
        scaled = jax.tree.map(lambda p: start * p, params), jax.tree.map(lambda g: size * g, grads)

        def step(carry, _):
            found, state = tx.update(scaled[1], carry[1], carry[0])
            return (jax.tree.map(jnp.subtract, carry[0], found), state), None

        return jax.lax.scan(step, (scaled[0], tx.init(scaled[0])), length=5)[0]

    sizes = (0.0, 1e-38, 1e-30, 1e-15, 1e12, 9e16)
    both = jnp.repeat(jnp.array(starts), len(sizes)), jnp.tile(jnp.array(sizes), len(starts))
    for x in jax.tree.leaves(jax.jit(jax.vmap(last))(*both)):
        assert np.isfinite(x).all()
