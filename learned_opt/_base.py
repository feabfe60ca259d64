"""What a learned optimizer is: a function theta -> optax gradient transformation."""

import numbers
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

Theta = Any
"""Meta-parameters: a nested dict of float32 arrays."""

Shape = Callable[[Any], Any] | None
"""Of a schedule: count -> factor of the peak step size; None for the rule's own."""


@runtime_checkable
class LearnedOptimizer(Protocol):
    """A family of update rules indexed by meta-parameters `theta`.

    Implementations are frozen dataclasses: equal configurations are equal and hash alike, so they
    are safe static arguments of `jax.jit`. `transform` follows the `scale_by_*` convention of
    optax: it returns the un-negated step, so that `params - step` descends.
    """

    name: ClassVar[str]
    """In artifacts and configurations."""

    use: ClassVar[str]
    """When to use it, in a sentence."""

    @property
    def horizon_free(self) -> bool:
        """It never uses `num_steps`, whether that is passed or not."""
        ...

    def init(self, key: jax.Array) -> Theta:
        """Meta-parameters before any meta-training."""
        ...

    def transform(
        self,
        theta: Theta,
        *,
        num_steps: Any = None,
        schedule: Shape = None,
        axes: Any = None,
        **shell: Any,
    ) -> optax.GradientTransformationExtraArgs:
        """The update rule at `theta` for a run of `num_steps` inner steps (both may be traced).

        `schedule` as below; `axes` as in `learned_opt.layouts`; `shell`: see `as_transformation`.
        """
        ...

    def schedule(
        self, theta: Theta, *, num_steps: Any = None, shape: Shape = None
    ) -> optax.Schedule:
        """The nominal step size after `count` steps, before any per-tensor correction.

        Its peak times shape(count), where `shape` is given in place of the rule's own warm-up and
        decay.
        """
        ...


def check_num_steps(num_steps: Any) -> jax.Array:
    """`num_steps` as a float32 scalar; a ValueError unless it is a positive integer or traced."""
    if isinstance(num_steps, np.ndarray):
        num_steps = jnp.asarray(num_steps)
    if isinstance(num_steps, jax.Array):
        if num_steps.ndim != 0 or not jnp.issubdtype(num_steps.dtype, jnp.integer):
            raise ValueError(
                "num_steps must be a positive integer, got an array of shape "
                f"{num_steps.shape} and dtype {num_steps.dtype}; pass a scalar integer"
            )
        if isinstance(num_steps, Tracer):
            # Lest a run of no steps divides by them.
            return jnp.maximum(num_steps.astype(jnp.float32), 1.0)
        num_steps = int(num_steps)
    integral = isinstance(num_steps, numbers.Integral) and not isinstance(num_steps, bool)
    if not integral or num_steps <= 0:
        raise ValueError(
            f"num_steps must be a positive integer, got {num_steps!r}; "
            "pass the number of updates the whole training run will make"
        )
    return jnp.asarray(num_steps, jnp.float32)


def zeros_for(p: Any, *leading: int) -> jax.Array:
    """Float32 zeros of shape (*leading, *shape of p) in a new buffer, sharded like p."""
    zeros = jnp.zeros_like(p, dtype=jnp.float32)
    if not leading:
        return zeros
    return jnp.broadcast_to(
        zeros.reshape(*[1] * len(leading), *zeros.shape), (*leading, *zeros.shape)
    )


def shaped(peak: Any, shape: Shape = None) -> optax.Schedule:
    """peak times shape(count); the peak at any time without a shape."""

    def step_size(count: Any) -> jax.Array:
        factor = 1.0 if shape is None else shape(count)
        return jnp.asarray(peak, jnp.float32) * jnp.asarray(factor, jnp.float32)

    return step_size
