"""Matrices with their singular values made equal, by products alone.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Its size as of Adam's
steps: Liu et al. 2025, "Muon is scalable for LLM training".
"""

import math

import jax
import jax.numpy as jnp

from ..devices._axes import untyped

MUON = 5 * ((3.4445, -4.7750, 2.0315),)
"""Five times the same polynomial, as published."""

FAST = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))
"""Three polynomials that take [.01, 1] to 1 +- .27, each the best after those before.

Above 1 they run away: 1.001 comes out as 3.5.
"""

RMS = 0.2
"""Of a direction: about that of m_hat / sqrt(v_hat) in the middle of a run."""


def newton_schulz(x: jax.Array) -> jax.Array:
    """Matrices (..., rows, cols) with the singular vectors of `x` and singular values .7 to 1.2.

    X = x / |x|, then five times X <- a X + (b A + c A A) X with A = X X^T and (a, b, c) =
    (3.4445, -4.7750, 2.0315). A zero matrix stays zero; very small singular values stay below .7.
    """
    # The smaller of the two products of the matrix with itself.
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (_norm(x) + 1e-8)
    for a, b, c in MUON:
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


def equal_singular_values(x: jax.Array) -> jax.Array:
    """As `newton_schulz` in 9 products of matrices, not 15: singular values .73 to 1.27.

    X = x / S, S = (tr (x x^T)^4)^(1/8), which the first of three polynomials with coefficients of
    their own needs anyway (Amsel, Persson, Musco, Gower 2025, "The Polar Express"). S is at least
    the largest singular value and at most rows^(1/8) times it; those below S / 100 stay smaller.
    Of (..., rows, cols) with rows <= cols.
    """
    x = x / _norm(x)  # Lest an eighth power underflows.
    gram = _times(x, x.mT)
    square = _times(gram, gram)
    scale = (jnp.sum(square * square, (-2, -1), keepdims=True) + 1e-24) ** -0.25  # 1 / S^2
    x, gram, square = jnp.sqrt(scale) * x, scale * gram, scale * scale * square
    for i, (a, b, c) in enumerate(FAST):
        if i:
            gram = _times(x, x.mT)
            square = _times(gram, gram)
        x = a * x + _times(b * gram + c * square, x)
    return x


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    # Accelerators would round factors to ten bits, and a singular value of 1 come out above it.
    return jnp.matmul(a, b, precision="highest")


def _norm(x: jax.Array) -> jax.Array:
    # Above zero, where the square root has a derivative: meta-gradients may come by backprop.
    return jnp.sqrt(jnp.sum(x * x, (-2, -1), keepdims=True) + 1e-30)


def equalised(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`equal_singular_values` of every tensor, times 0.2 sqrt(max(rows, cols)): of rms about 0.2.

    Args:
      x: a tensor of that shape, or several along a first axis.
      shape: (*window, in, out): the matrix of its last axis against all others.
    """
    return untyped(lambda x: _equalised(x, shape), x)


def _equalised(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    rows, cols = math.prod(shape[:-1]), shape[-1]
    matrices = x.reshape(*x.shape[: x.ndim - len(shape)], rows, cols)
    tall = rows > cols
    found = equal_singular_values(matrices.mT if tall else matrices)
    found = RMS * math.sqrt(max(rows, cols)) * found
    return (found.mT if tall else found).reshape(x.shape)
