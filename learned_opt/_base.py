"""What a learned optimizer is: a function theta -> optax gradient transformation."""

import dataclasses
import numbers
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

Theta = Any
"""Meta-parameters: a nested dict of float32 arrays."""


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

    def init(self, key: jax.Array) -> Theta:
        """Meta-parameters before any meta-training."""
        ...

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The update rule at `theta` for a run of `num_steps` inner steps (both may be traced)."""
        ...

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """The nominal step size after `count` steps, before any per-tensor correction."""
        ...


def added(default: Any) -> Any:
    """A dataclass field that an optimizer gained after artifacts of it had been released.

    `default` is what those do: where a field has it, digests and files of artifacts leave it out.
    """
    return dataclasses.field(default=default, metadata={"added": True})


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
            return num_steps.astype(jnp.float32)
        num_steps = int(num_steps)
    integral = isinstance(num_steps, numbers.Integral) and not isinstance(num_steps, bool)
    if not integral or num_steps <= 0:
        raise ValueError(
            f"num_steps must be a positive integer, got {num_steps!r}; "
            "pass the number of updates the whole training run will make"
        )
    return jnp.asarray(num_steps, jnp.float32)


def check_free_num_steps(num_steps: Any) -> None:
    """For optimizers that do not need `num_steps`: None is fine, else as `check_num_steps`."""
    if num_steps is not None:
        check_num_steps(num_steps)


def check_params(params: Any) -> None:
    """A ValueError that names the first leaf of `params` a learned optimizer cannot update."""
    if params is None:
        raise ValueError(
            "params must be passed to a learned optimizer, got None; "
            "call update(grads, state, params)"
        )
    for path, leaf in jax.tree.leaves_with_path(params):
        name = jax.tree_util.keystr(path) or "the only leaf"
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"every parameter must be floating point, got {dtype} at {name}; "
                "exclude it with optax.masked or optax.partition"
            )
        if jnp.size(leaf) == 0:
            raise ValueError(
                f"every parameter must hold at least one number, got shape {jnp.shape(leaf)} "
                f"at {name}; remove it or exclude it with optax.masked"
            )


def zeros_for(p: Any, *leading: int) -> jax.Array:
    """Float32 zeros of shape (*leading, *shape of p) in a new buffer, sharded like p."""
    zeros = jnp.zeros_like(p, dtype=jnp.float32)
    if not leading:
        return zeros
    return jnp.broadcast_to(
        zeros.reshape(*[1] * len(leading), *zeros.shape), (*leading, *zeros.shape)
    )
