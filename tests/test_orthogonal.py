"""Singular values made equal."""

import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt.layouts._layout import Layout
from learned_opt.parts._orthogonal import equal_singular_values


@pytest.mark.parametrize(
    ("values", "least"),
    [([1.0], 0.73), ([1.0, 1.0, 1.0], 0.73), ([1.0, 0.3, 0.05, 0.015], 0.73), ([1.0, 1e-3], 0.0)],
)
def test_singular_values_come_out_near_one(values, least):
    """Within .73 to 1.27 from a hundredth of (sum s^8)^(1/8) on; rank one lies on the edge."""
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.normal(size=(8, 8)))[0][:, : len(values)]
    v = np.linalg.qr(rng.normal(size=(20, 20)))[0][:, : len(values)]
    x = jnp.asarray((u * values) @ v.T * 7e-4, jnp.float32)
    found = np.linalg.svd(np.asarray(equal_singular_values(x)), compute_uv=False)[: len(values)]
    assert least <= found.min() <= found.max() < 1.275


@pytest.mark.parametrize(
    ("shape", "matrix", "fan_in", "fan_out"),
    [
        ((), False, 1, 1),
        ((7,), False, 1, 7),
        ((8, 1, 1, 1), False, 1, 8),
        ((1, 1, 1), False, 1, 1),
        ((32, 1), True, 32, 1),
        ((1, 32), True, 1, 32),
        ((3, 3, 1, 8), True, 9, 8),
        ((1, 1, 4, 8), True, 4, 8),
    ],
)
def test_what_a_shape_says(shape, matrix, fan_in, fan_out):
    layout = Layout(shape)
    assert (layout.is_matrix, layout.fan_in, layout.fan_out) == (matrix, fan_in, fan_out)
