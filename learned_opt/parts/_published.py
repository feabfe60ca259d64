"""What VeLO and Celo share at the level of elements: features, network, decays, clipping.

Metz et al. 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up"; Moudgil et al. 2025,
"Celo: Training Versatile Learned Optimizers on a Compute Diet".
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from ._networks import init_layers
from ._per_param import Decays, PerParamFeatures, TensorState, accumulate

LARGEST_GRADIENT = 1000.0
OUTPUTS = 3
DECAYS = ((0.9, 0.99, 0.999), 0.999, (0.9, 0.99, 0.999))
"""Of momenta, of the second moment, of its factors."""
FEATURES = PerParamFeatures(velo=True, momentum_eps=1e-36)
"""Below rank 2 the last are m_k / sqrt(R_k): what is added only keeps a zero from dividing."""


FLOOR = 0.01
"""Least scale of a tensor: that of weights with 10,000 inputs, 1 / sqrt(fan-in)."""


def init_mlp(key: jax.Array, hidden: int, *stack: int) -> Theta:
    """A 30-`hidden`-`hidden`-`OUTPUTS` network `w1`, `b1`, ..., or a stack of them."""
    widths = FEATURES.count, hidden, hidden, OUTPUTS
    return init_layers(jax.random.split(key, 3), widths, *stack)


def see_gradient(old: TensorState, g: jax.Array) -> TensorState:
    """The averages after a gradient, clipped, with the published decays."""
    decays = Decays(*(jnp.asarray(x, jnp.float32) for x in DECAYS))
    return accumulate(decays, old, clip_gradient(g))


def tensor_scale(p: Any, as_published: bool) -> jax.Array:
    """max(0.01, rms p), to which steps are relative; as published sqrt(mean p^2 + 1e-9)."""
    least = 0.0 if as_published else FLOOR**2
    return jnp.sqrt(jnp.maximum(least, jnp.mean(p * p) + 1e-9))


def clip_gradient(g: jax.Array) -> jax.Array:
    """To +-1000."""
    return jnp.clip(g, -LARGEST_GRADIENT, LARGEST_GRADIENT)


def check_published(
    name: str, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]
) -> None:
    """A ValueError that says what about `arrays` is not as published, in one sentence."""
    wrong = []
    for key, array in arrays.items():
        if key not in shapes:
            wrong.append(f"{key} is unknown")
        elif np.shape(array) != shapes[key]:
            wrong.append(f"{key} has shape {np.shape(array)}, not {shapes[key]}")
        elif not np.isfinite(array).all():
            wrong.append(f"{key} holds a number that is not finite")
    wrong += [f"{key} is missing" for key in shapes if key not in arrays]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"these are not the published weights of {name}: {', '.join(wrong[:3])}{more}; pass "
            f"the {len(shapes)} arrays of its theta file, nested keys joined by '/'"
        )
