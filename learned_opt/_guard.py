"""Skip a step whose gradient is not a number, and count it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ._axes import sharded_like
from ._base import check_params

LARGEST_NORM = 1e18
"""Of one tensor. Beyond this its square can overflow float32: the step is treated like a NaN."""


class GuardState(NamedTuple):
    """`skipped`: steps refused so far (int32 scalar); `inner`: the optimizer's own state."""

    skipped: jax.Array
    inner: optax.OptState


def sum_squares(g: jax.Array) -> jax.Array:
    """Of all elements of a gradient: a float32 scalar."""
    # In words that no one else uses: XLA on CPU would store a square that several loops share.
    quarter = g.astype(jnp.float32) / 4
    return 16 * jnp.sum(quarter * quarter)


def skip_nonfinite(
    inner: optax.GradientTransformationExtraArgs, *, keeps_state: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Give a zero update and keep the state when a gradient is not finite or has a norm of 1e18.

    Unlike `optax.apply_if_finite` it never gives in after a number of refusals, and it selects
    instead of branching, so it fuses into the update under jit and vmap. It also checks `params`
    once for all optimizers: ValueError for None, integer or empty leaves.

    With `keeps_state`, `inner.update` takes a keyword `accepted` (boolean scalar) and itself
    returns the state it got where that is False. It can select before anything else reads the new
    state; selected here, the new state would be written twice on CPU.
    """

    def init(params: optax.Params) -> GuardState:
        check_params(params)
        return GuardState(jnp.zeros((), jnp.int32), inner.init(params))

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args,
    ) -> tuple[optax.Updates, GuardState]:
        assert isinstance(state, GuardState)
        check_params(params)
        ok = jnp.array(True)
        for g in jax.tree.leaves(updates):
            # One fast loop on CPU, where `jnp.all` is two.
            ok &= sum_squares(g) < LARGEST_NORM**2
        if keeps_state:
            extra_args["accepted"] = ok
        steps, after = inner.update(updates, state.inner, params, **extra_args)
        steps = jax.tree.map(lambda u: jnp.where(ok, u, jnp.zeros_like(u)), steps)
        steps = jax.tree.map(sharded_like, steps, updates)
        if not keeps_state:
            after = jax.tree.map(lambda new, old: jnp.where(ok, new, old), after, state.inner)
        return steps, GuardState(state.skipped + jnp.where(ok, 0, 1), after)

    return optax.GradientTransformationExtraArgs(init, update)
