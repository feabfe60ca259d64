"""Pretrained optimizers as optax transformations."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ._base import Shape
from .artifacts import RECOMMENDED, Artifact, load
from .layouts import AxesLike
from .transformation._finish import Finish
from .transformation._guard import OnSkips
from .transformation._transformation import as_float32

ArtifactLike = Artifact | str | os.PathLike
Scalar = float | jax.Array | optax.Schedule
"""A number, or a function of the number of steps taken that gives one."""


def scale_by_learned(
    artifact_or_name: ArtifactLike = RECOMMENDED,
    *,
    num_steps: Any = None,
    epochs: Any = None,
    schedule: Shape = None,
    axes: AxesLike = None,
    on_skips: OnSkips = None,
) -> optax.GradientTransformationExtraArgs:
    """The learned step alone, un-negated, like `optax.scale_by_adam`.

    Args:
      artifact_or_name: an `Artifact`, a name from `available()`, or a path; "small" if left out.
      num_steps: updates the whole run will make, a positive integer (may be traced); needed
        unless the optimizer has no horizon.
      epochs: how often the run will see each example, where the optimizer makes use of it;
        optional. In a script `num_steps * batch_size / len(train)`, below 1 if the run ends before
        it has seen all of them; of text, bytes or tokens read over those of the training text.
        Where no example comes again, as of data made on the way, 1e-3.
      schedule: of the step size: its factor at each count, from 0 to 1 as a rule, in place of the
        warm-up and decay that the optimizer has of itself. It multiplies the peak step size, and
        whatever else a learned schedule makes of it.
      axes: what the axes of the parameters are, see `layouts`; inferred if left out.
      on_skips: see `learned`.

    Returns a transformation with a `LearnedState`.

    Raises:
      ArtifactError: no such artifact. ValueError: `num_steps`; `epochs`, also of an optimizer that
        makes no use of them; at `init` and `update` a parameter
        tree that is None or holds integer or empty leaves; at `update` gradients or a state of
        another tree.
    """
    artifact = _artifact(artifact_or_name)
    return artifact.optimizer.transform(
        artifact.theta,
        num_steps=num_steps,
        epochs=epochs,
        schedule=schedule,
        axes=axes,
        on_skips=on_skips,
    )


def learned(
    artifact_or_name: ArtifactLike = RECOMMENDED,
    *,
    num_steps: Any = None,
    epochs: Any = None,
    learning_rate: Scalar = 1.0,
    weight_decay: Scalar = 0.0,
    mask: Any | Callable[[optax.Params], Any] | None = None,
    schedule: Shape = None,
    axes: AxesLike = None,
    on_skips: OnSkips = None,
) -> optax.GradientTransformationExtraArgs:
    """A pretrained learned optimizer, used like `optax.adamw`; it needs no tuning.

    p <- p - learning_rate (u + a(t) weight_decay p), with u the learned step and a(t) the
    optimizer's own nominal step size, so `weight_decay` has the units it has in `optax.adamw`.

    Args:
      artifact_or_name: an `Artifact`, a name from `available()`, or a path; "small" if left out.
      num_steps: updates the whole run will make, a positive integer (may be traced). The step
        size of `Spectral`, `SpectralGRU`, `GatedAdam`, `HyperAdam` and `Celo2` follows
        t / num_steps and is zero from there on; the others see the time as an input, or have no
        horizon, may go without, and go on.
      epochs: see `scale_by_learned`.
      learning_rate: multiplies the whole step; 1 is what was meta-trained. Like the next a number,
        or a schedule: a function of the number of steps taken.
      weight_decay: decay on top of what the optimizer learned to apply itself.
      mask: tree of booleans, or a function of params that gives one: where to decay.
      schedule: see `scale_by_learned`.
      axes: what the axes of the parameters are, see `layouts`; inferred if left out.
      on_skips: "warn" or "raise" when more than ten steps in a row were skipped, in an update
        that is not compiled; for compiled ones see `check_skips`.

    Returns a transformation with a `LearnedState`, whatever the arguments are.

    Raises:
      ArtifactError: no such artifact. ValueError: as in `scale_by_learned`.

    Example:
      >>> import jax.numpy as jnp, optax, learned_opt
      >>> tx = optax.chain(
      ...     optax.clip_by_global_norm(1.0), learned_opt.learned(num_steps=1000)
      ... )
      >>> params = {"w": jnp.ones((3, 2))}
      >>> grads = {"w": jnp.ones((3, 2))}
      >>> updates, state = tx.update(grads, tx.init(params), params)
      >>> bool((updates["w"] < 0).all())
      True
    """
    artifact = _artifact(artifact_or_name)
    step_size = artifact.optimizer.schedule(artifact.theta, num_steps=num_steps, shape=schedule)
    decays = callable(weight_decay) or not _is_zero(weight_decay)

    def finish(params: optax.Params, count: jax.Array) -> Finish:
        masked = mask(params) if callable(mask) else True if mask is None else mask
        wanted = jax.tree.leaves(jax.tree.broadcast(masked, params))
        decay: list[jax.Array | None] = [None] * len(wanted)
        if decays:
            most = as_float32(step_size(count)) * _at(weight_decay, count)
            decay = [None if x is False else jnp.where(x, most, 0.0) for x in wanted]
        return Finish(-_at(learning_rate, count), decay)

    return artifact.optimizer.transform(
        artifact.theta,
        num_steps=num_steps,
        epochs=epochs,
        schedule=schedule,
        axes=axes,
        finish=finish,
        on_skips=on_skips,
    )


class MicroState(NamedTuple):
    """Of `multi_steps`.

    `left_out_in_a_row`: micro-batches since the last whose gradient was finite (int32 scalar);
    `inner`: the `optax.MultiStepsState`.
    """

    left_out_in_a_row: jax.Array
    inner: Any


def multi_steps(
    tx: optax.GradientTransformation, every: int | Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """`optax.MultiSteps` that leaves out micro-batches whose gradient is not finite.

    Without that, one NaN would stay in what optax accumulates, so that no later step were taken.
    The mean is over the gradients that were finite. `check_skips` hears when none is for long.

    Args:
      tx: an optimizer or a chain.
      every: micro-batches to a step, or a function of the number of steps that gives it.

    Returns a transformation with a `MicroState`.

    Example:
      >>> import jax.numpy as jnp, learned_opt
      >>> tx = learned_opt.multi_steps(learned_opt.learned(num_steps=100), 4)
      >>> params = {"w": jnp.ones(3)}
      >>> updates, state = tx.update({"w": jnp.full(3, jnp.nan)}, tx.init(params), params)
    """
    wrapped = optax.MultiSteps(tx, every, should_skip_update_fn=optax.skip_not_finite)

    def init(params: optax.Params) -> MicroState:
        return MicroState(jnp.zeros((), jnp.int32), wrapped.init(params))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MicroState]:
        # It divides floats by integers, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            steps, inner = wrapped.update(updates, state.inner, params, **extra_args)
        skip: Any = inner.skip_state
        left_out = skip["should_skip"]
        return steps, MicroState(jnp.where(left_out, state.left_out_in_a_row + 1, 0), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_zero(x: Any) -> bool:
    return isinstance(x, int | float) and x == 0


def _at(value: Any, count: jax.Array) -> jax.Array:
    """A number, or a schedule at a count."""
    return as_float32(value(count) if callable(value) else value)


def _artifact(artifact_or_name: ArtifactLike) -> Artifact:
    if isinstance(artifact_or_name, Artifact):
        return artifact_or_name
    return load(artifact_or_name)
