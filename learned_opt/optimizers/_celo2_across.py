"""The network of `PerParamFeatures` on a stack of matrices whose g^2 is factored across it.

Moudgil, Knyazev, Belilovsky 2026, "Celo2: Towards Learned Optimization Free Lunch": its published
code factors over the two largest axes of a tensor, but normalises over its last two.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import Theta
from ..parts._accumulators import factored_axes
from ..parts._networks import dense
from ..parts._per_param import LARGEST, PerParamFeatures, TensorState


def is_across(shape: tuple[int, ...]) -> bool:
    """Whether the two largest axes are not the last two of a tensor of rank above 2."""
    axes = factored_axes(shape)
    return len(shape) > 2 and axes is not None and set(axes) != {len(shape) - 2, len(shape) - 1}


def step_across(
    features: PerParamFeatures,
    net: Theta,
    g: jax.Array,
    p: jax.Array,
    new: TensorState,
    combine: Callable[[list[jax.Array], jax.Array], jax.Array],
) -> jax.Array:
    """The network's step for one tensor of rank above 2.

    Arguments are those of `PerParamFeatures.step`, `new` of averages from its `init` without
    `stacked`, and `features` with `velo`. R_k and C_k are averages over the two largest axes of
    the tensor; the normalisers are means over its last two, and `combine` sees one matrix of the
    stack.
    """
    x = _features(features, g, p, new)
    x = x * rsqrt(features.norm_eps + jnp.mean(x * x, (-2, -1), keepdims=True))
    layers = len(net) // 2
    for i in range(1, layers + 1):
        x = dense(net[f"w{i}"], net[f"b{i}"], x if i == 1 else jax.nn.relu(x))
    for _ in range(g.ndim - 2):
        combine = jax.vmap(combine)
    return combine(list(x), p)


def _features(
    features: PerParamFeatures, g: jax.Array, p: jax.Array, acc: TensorState
) -> jax.Array:
    """The 30 features in order, (30, *shape)."""
    axes = factored_axes(g.shape)
    assert axes is not None
    largest, second = axes
    m, v = jnp.stack([x.astype(jnp.float32) for x in acc.momenta]), acc.second
    row = jnp.expand_dims(jnp.stack(acc.rows), 1 + largest)
    col = jnp.expand_dims(jnp.stack(acc.cols), 1 + second)
    ratio = row / (jnp.mean(row, 1 + second, keepdims=True) + 1e-9)
    factor = rsqrt(jnp.maximum(ratio, 1e-9)) * rsqrt(jnp.maximum(col, 1e-9))
    root = rsqrt(v + features.eps)
    row, col = (jnp.broadcast_to(x, m.shape) for x in (row, col))
    one = [jnp.stack([g, jnp.clip(g, -LARGEST, LARGEST), p]), m, v[None], m * root[None]]
    one += [root[None], g[None] * factor, (g * root)[None], row, col]
    one += [rsqrt(row + 1e-8), rsqrt(col + 1e-8), m * factor]
    return jnp.concatenate(one)
