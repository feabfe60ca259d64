"""Low-rank matrix factorisation: a non-convex problem with a known best loss.

Koren, Bell & Volinsky 2009, "Matrix factorization techniques for recommender systems"; Gunasekar
et al. 2017, "Implicit regularization in matrix factorization".
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Range, Size

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem
from ._layers import on


@dataclasses.dataclass(frozen=True)
class Factorisation(Problem):
    """mean over entries (i, j) of (U_i . V_j - M_ij)^2 / 2; M = A B^T + noise, A and B random.

    An example is a point of the unit square: its entry. Entries of A B^T have variance 1. The
    minimum is sum_{k > max_rank} s_k(M)^2 / (2 rows columns), s_k the singular values (Eckart &
    Young 1936): the noise that `max_rank` factors cannot fit.

    Numbers: `rank` of M; `noise`; `gain`, the initial scale of U and V; `seed` of A and B.
    """

    name: ClassVar[str] = "factorisation"
    source: ClassVar[str] = "Koren et al. 2009"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 2
    drawn: ClassVar[Drawn] = {
        "rank": "ranks",
        "noise": "noises",
        "gain": "gains",
        "seed": jax.random.bits,
    }
    rows: Size = 32
    columns: Size = 24
    max_rank: Size = 8
    ranks: Counts = (1, 8)
    noises: Range = (1e-3, 0.3)
    gains: Range = (0.03, 1.0)

    @property
    def examples(self) -> float:
        """Entries of the matrix: a point says which."""
        return float(self.rows * self.columns)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """U and V normal, of deviation `gain`."""
        keys = jax.random.split(key)
        return {
            "u": n["gain"] * jax.random.normal(keys[0], (self.rows, self.max_rank)),
            "v": n["gain"] * jax.random.normal(keys[1], (self.columns, self.max_rank)),
        }

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The mean over the batch's entries."""
        sizes = jnp.array([self.rows, self.columns], jnp.float32)
        entry = jnp.floor(batch.x.astype(jnp.float32) * sizes[None]).astype(jnp.int32)
        # Rounded to bfloat16, a point just below 1 is 1.
        i, j = jnp.minimum(entry, sizes.astype(jnp.int32)[None] - 1).T
        guess = (params["u"] @ params["v"].T)[i, j]
        return 0.5 * jnp.mean((guess - self.matrix(n, guess.dtype)[i, j]) ** 2).astype(
            jnp.float32
        ), {}

    def matrix(self, n: Numbers, dtype: jnp.dtype) -> jax.Array:
        """M (rows, columns)."""
        keys = jax.random.split(jax.random.key(n["seed"]), 3)
        a = jax.random.normal(keys[0], (self.rows, self.max_rank)).astype(dtype)
        b = jax.random.normal(keys[1], (self.columns, self.max_rank)).astype(dtype)
        part = on(n["rank"], self.max_rank, dtype)[None]
        noise = n["noise"] * jax.random.normal(keys[2], (self.rows, self.columns)).astype(dtype)
        return (a * part) @ b.T / jnp.sqrt(n["rank"].astype(dtype)) + noise
