"""Skip a step that starts or ends in what is not finite, count it, and be heard in the end."""

import warnings
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from ._trees import check_params, leaf_dtype

LARGEST_NORM = 1e18
"""Of one tensor. Beyond this its square can overflow float32: the step is treated like a NaN."""

MOST_IN_A_ROW = 10
"""Skipped steps in a row from which on a run is taken to be stuck."""

IN_A_ROW = ("skipped_in_a_row", "left_out_in_a_row", "notfinite_count")
"""Counters of such steps and micro-batches: ours, and that of `optax.apply_if_finite`."""

OnSkips = Literal["raise", "warn"] | None


class SkippedError(RuntimeError):
    """Too many steps in a row were skipped."""


class SkippedWarning(RuntimeWarning):
    """Too many steps in a row were skipped."""


class GuardState(NamedTuple):
    """Of `skip_nonfinite`.

    `skipped`: steps refused so far, `skipped_in_a_row`: since the last that was taken (int32
    scalars); `inner`: the optimizer's own state.
    """

    skipped: jax.Array
    skipped_in_a_row: jax.Array
    inner: optax.OptState


def sum_squares(g: jax.Array) -> jax.Array:
    """Of all elements of a gradient: a float32 scalar."""
    # In words that no one else uses: XLA on CPU would store a square that several loops share.
    quarter = g.astype(jnp.float32) / 4
    return 16 * jnp.sum(quarter * quarter)


def stays_finite(p: jax.Array, u: jax.Array, types: tuple[Any, Any]) -> jax.Array:
    """Whether p + u is finite wherever p is, and u where p is not: a scalar.

    `types`: in which p and u will be kept, which may be narrower than theirs.
    """
    kind, of_update = (jnp.finfo(x) for x in types)
    if of_update.nmant < jnp.finfo(u.dtype).nmant:
        # Not a cast there and back, which XLA leaves out.
        u = jax.lax.reduce_precision(u, of_update.nexp, of_update.nmant)
    most = min(float(kind.max), float(jnp.finfo(p.dtype).max))
    start = jnp.where(jnp.abs(p) <= most, p, 0)
    return jnp.all(jnp.abs(start + u) <= most)


def all_stay_finite(params: Any, steps: Any) -> jax.Array:
    """`stays_finite` of trees; None is no step."""
    leaves, treedef = jax.tree.flatten(params)
    found = []
    for p, u in zip(leaves, treedef.flatten_up_to(steps), strict=True):
        if u is not None:
            types = leaf_dtype(p), leaf_dtype(u)
            wide = jnp.float64 if jnp.float64 in types else jnp.float32
            p, u = (jnp.asarray(x).astype(wide) for x in (p, u))
            found.append(stays_finite(p, u, types))
    return jnp.all(jnp.array([True, *found]))


def apart(ok: jax.Array) -> jax.Array:
    """Else XLA would compile how it is made into each of the thousand places that look at it."""
    return jax.lax.cond(ok, lambda: jnp.array(True), lambda: jnp.array(False))


def skip_nonfinite(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer, guarded as the learned ones are.

    It gives a zero update and keeps the state when a gradient is not finite or has a norm of 1e18,
    or when the update would make a parameter not finite.
    Unlike `optax.apply_if_finite` it never gives in after a number of refusals, and it selects
    instead of branching, so it fuses into the update under jit and vmap.

    Raises:
      ValueError: at `init` and `update`, `params` that are None or hold integer or empty leaves.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: optax.Params) -> GuardState:
        check_params(params)
        return GuardState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), inner.init(params))

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, GuardState]:
        check_params(params)
        if not isinstance(state, GuardState):
            raise TypeError(f"state must be a GuardState, got {type(state).__name__}; call init")
        sums = [sum_squares(g) for g in jax.tree.leaves(updates)]
        steps, after = inner.update(updates, state.inner, params, **extra_args)
        # No maximum: of thousands of numbers XLA on CPU loses a NaN.
        small = jnp.all(jnp.array([0.0, *sums], jnp.float32) < LARGEST_NORM**2)
        ok = apart(small & all_stay_finite(params, steps))
        steps = jax.tree.map(lambda u: jnp.where(ok, u, jnp.zeros_like(u)), steps)
        after = jax.tree.map(lambda new, old: jnp.where(ok, new, old), after, state.inner)
        in_a_row = jnp.where(ok, 0, state.skipped_in_a_row + 1)
        return steps, GuardState(state.skipped + jnp.where(ok, 0, 1), in_a_row, after)

    return optax.GradientTransformationExtraArgs(init, update)


def check_skips(
    state: Any, *, at_most: int = MOST_IN_A_ROW, on_skips: Literal["raise", "warn"] = "raise"
) -> None:
    """Be heard when many steps in a row were skipped; to be called now and then, outside jit.

    Args:
      state: of an optimizer or of any chain or wrapper with learned optimizers inside, or with
        `optax.apply_if_finite`, which skips before they see the gradient.
      at_most: so many steps in a row are nothing to worry about, such as those that loss scaling
        takes to find its scale.
      on_skips: "raise" a `SkippedError` or "warn" with a `SkippedWarning`.

    Example:
      >>> import jax.numpy as jnp, learned_opt
      >>> tx, params = learned_opt.learned(num_steps=100), {"w": jnp.ones(3)}
      >>> learned_opt.check_skips(tx.init(params))
    """
    for path, leaf in jax.tree.leaves_with_path(state):
        names = [getattr(key, "name", None) for key in path]
        if names and names[-1] in IN_A_ROW and int(jnp.max(leaf)) > at_most:
            _tell(int(jnp.max(leaf)), on_skips)


def check_on_skips(on_skips: Any) -> None:
    """A ValueError unless it is "raise", "warn" or None."""
    if on_skips not in (None, "raise", "warn"):
        raise ValueError(f'on_skips must be "raise", "warn" or None, got {on_skips!r}')


def check_in_a_row(in_a_row: jax.Array, on_skips: OnSkips) -> None:
    """As `check_skips`, of one counter; nothing inside jit."""
    if on_skips and not isinstance(in_a_row, Tracer) and int(jnp.max(in_a_row)) > MOST_IN_A_ROW:
        _tell(int(jnp.max(in_a_row)), on_skips)


def _tell(count: int, on_skips: str) -> None:
    text = (
        f"the last {count} steps were skipped, because a gradient was not finite or had a norm of "
        f"{LARGEST_NORM:.0e}, or an update would have made a parameter infinite: the parameters "
        "stay as they are; look for the NaN in the loss and for large parameters, and with "
        "optax.MultiSteps use learned_opt.multi_steps"
    )
    if on_skips == "raise":
        raise SkippedError(text)
    warnings.warn(text, SkippedWarning, stacklevel=4)
