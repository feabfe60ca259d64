"""Meta-parameters as named arrays, and whether an optimizer can be used with them."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from .._checks import shown
from ..transformation._learned_optimizer import LearnedOptimizer

LARGEST, USUAL = 1e4, 10.0
"""In size: of any number, and of those that are trusted without a trial.

What is meta-trained stays far below: networks begin near 1, and e^(3 x 10) is a factor of 1e13.
"""

TRIAL = {"matrix": (3, 2), "scalar": (), "vector": (2,)}
TRIAL_STEPS, TRIAL_HORIZON = 3, 100


def flatten_theta(theta: Theta) -> dict[str, np.ndarray]:
    """Arrays by their path, its parts joined by dots."""
    leaves = jax.tree.leaves_with_path(theta)
    return {".".join(_part(k) for k in path): np.array(x) for path, x in leaves}


def _part(key: Any) -> str:
    return str(key.key) if isinstance(key, jax.tree_util.DictKey) else str(key).strip("[].")


def restore_theta(optimizer: LearnedOptimizer, tensors: Mapping[str, np.ndarray]) -> Theta:
    """The nested dict of an optimizer's meta-parameters, from `flatten_theta`.

    Raises:
      ValueError: the arrays do not have exactly the names, shapes and dtypes that `init` gives, or
        hold a number that is not finite, beyond 10,000, or so large that updates are not finite.
    """
    like = jax.eval_shape(optimizer.init, jax.random.key(0))
    leaves = {".".join(_part(k) for k in path): x for path, x in jax.tree.leaves_with_path(like)}
    for name in tensors:
        if name not in leaves:
            raise ValueError(f"theta has a leaf {shown(name)}, which {optimizer.name} has not")
    sizes: dict[str, Any] = {}
    for name, leaf in leaves.items():
        if name not in tensors:
            raise ValueError(f"theta lacks the leaf {name!r} of {optimizer.name}")
        wanted, got = ((x.shape, jnp.dtype(x.dtype)) for x in (leaf, tensors[name]))
        if got != wanted:
            raise ValueError(
                f"the leaf {name!r} of theta must have shape {wanted[0]} and dtype {wanted[1]}, "
                f"got {got[0]} and {got[1]}"
            )
        size = np.abs(tensors[name]).max(initial=0.0)
        # A NaN is not within.
        if not size <= LARGEST:
            raise ValueError(
                f"the leaf {name!r} of theta must hold finite numbers of at most {LARGEST:,.0f} in "
                f"size, got {size:g}"
            )
        sizes[name] = size
    theta = jax.tree.unflatten(jax.tree.structure(like), [tensors[name] for name in leaves])
    largest = max(sizes, key=lambda name: sizes[name])
    if sizes[largest] > USUAL:
        # Also where the caller is being traced.
        with jax.ensure_compile_time_eval():
            right = bool(_try(optimizer, theta))
        if not right:
            raise ValueError(
                f"the leaf {largest!r} of theta holds a number of size {sizes[largest]:g}, with "
                "which updates are not finite"
            )
    return jax.tree.map(jnp.asarray, theta)


@functools.partial(jax.jit, static_argnums=0)
def _try(optimizer: LearnedOptimizer, theta: Theta) -> jax.Array:
    """Whether a few updates of a small tree are finite, and the step size above zero."""
    params = {
        name: jnp.linspace(-1.0, 0.9, math.prod(shape), dtype=jnp.float32).reshape(shape)
        for name, shape in TRIAL.items()
    }
    tx = optimizer.transform(theta, num_steps=TRIAL_HORIZON)

    def step(carry: Any, _: None) -> Any:
        params, state = carry
        steps, state = tx.update(grads, state, params, value=jnp.float32(1.0))
        return (jax.tree.map(jnp.subtract, params, steps), state), steps

    grads = jax.tree.map(lambda p: jnp.sin(9 * p), params)
    _, steps = jax.lax.scan(step, (params, tx.init(params)), length=TRIAL_STEPS)
    first = jnp.asarray(optimizer.schedule(theta, num_steps=TRIAL_HORIZON)(0))
    finite = [jnp.isfinite(x).all() for x in jax.tree.leaves(steps)]
    return jnp.stack([*finite, jnp.isfinite(first) & (first > 0)]).all()
