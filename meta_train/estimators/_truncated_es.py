"""Evolution strategies on truncated runs.

Metz et al. 2019, "Understanding and correcting pathologies in the training of learned optimizers".
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from .._unroll import Run
from ._truncated import Pair, Truncated


@dataclasses.dataclass(frozen=True)
class TruncatedES(Truncated):
    """g = mean_i e_i (L_i(theta + e_i) - L_i(theta - e_i)) / (2 sigma^2) within a truncation.

    Both sides start from the same inner state, which the + side hands on. Biased: what theta does
    beyond the truncation is not seen (`InfluenceBalancing` shows it). The least variance.
    """

    name: ClassVar[str] = "truncated_es"

    @property
    def reuse(self) -> int:
        """A new perturbation every truncation."""
        return 1

    def credit(self, pairs: Pair) -> jax.Array:
        """The perturbation in force."""
        return pairs.noise

    def carry(self, runs: Run) -> Run:
        """The + side, twice; an untrained run is its own."""
        return jax.tree.map(lambda x: jnp.concatenate([x[:, :1], x[:, :1], x[:, 2:]], 1), runs)
