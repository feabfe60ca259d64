"""Pretrained optimizers as optax transformations."""

import os
from collections.abc import Callable
from typing import Any

import jax
import optax

from ._artifact import RECOMMENDED, Artifact, load
from ._guard import skip_nonfinite

ArtifactLike = Artifact | str | os.PathLike


def scale_by_learned(
    artifact_or_name: ArtifactLike = RECOMMENDED, *, num_steps: Any = None
) -> optax.GradientTransformationExtraArgs:
    """The learned step alone, un-negated, like `optax.scale_by_adam`.

    Args:
      artifact_or_name: an `Artifact`, a name from `available()`, or a path; "small" if left out.
      num_steps: updates the whole run will make, a positive integer (may be traced); needed
        unless the optimizer has no horizon.

    Raises:
      ArtifactError: no such artifact. ValueError: `num_steps`, or at `init` and `update` a
        parameter tree that is None or holds integer or empty leaves.
    """
    artifact = _artifact(artifact_or_name)
    return artifact.optimizer.transform(artifact.theta, num_steps=num_steps)


def learned(
    artifact_or_name: ArtifactLike = RECOMMENDED,
    *,
    num_steps: Any = None,
    learning_rate: float | jax.Array = 1.0,
    weight_decay: float | jax.Array = 0.0,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A pretrained learned optimizer, used like `optax.adamw`; it needs no tuning.

    p <- p - learning_rate (u + a(t) weight_decay p), with u the learned step and a(t) the
    optimizer's own nominal step size, so `weight_decay` has the units it has in `optax.adamw`.

    Args:
      artifact_or_name: an `Artifact`, a name from `available()`, or a path; "small" if left out.
      num_steps: updates the whole run will make, a positive integer (may be traced). The step
        size of `Nominal`, `HyperAdam` and `Celo2` follows t / num_steps and is zero from there
        on; the others see the time as an input, or have no horizon, may go without, and go on.
      learning_rate: multiplies the whole step; 1 is what was meta-trained.
      weight_decay: decay on top of what the optimizer learned to apply itself.
      mask: tree of booleans, or a function of params that gives one: where to decay.

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
    direction = scale_by_learned(artifact, num_steps=num_steps)
    descend = optax.scale_by_learning_rate(learning_rate)
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return optax.chain(direction, descend)
    step_size = artifact.optimizer.schedule(artifact.theta, num_steps=num_steps)
    decay = optax.add_decayed_weights(lambda count: weight_decay * step_size(count), mask)
    # Guard the whole chain: a step with a NaN gradient must not decay the weights either.
    return skip_nonfinite(optax.chain(direction, decay, descend))


def _artifact(artifact_or_name: ArtifactLike) -> Artifact:
    if isinstance(artifact_or_name, Artifact):
        return artifact_or_name
    return load(artifact_or_name)
