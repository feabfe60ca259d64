"""Persistent evolution strategies.

Vicol, Metz & Sohl-Dickstein 2021, "Unbiased gradient estimation in unrolled computation graphs
with persistent evolution strategies".
"""

import dataclasses
from typing import ClassVar

from ._truncated import Truncated


@dataclasses.dataclass(frozen=True)
class PES(Truncated):
    """xi_i <- xi_i + e_i, then g = mean_i xi_i (L_i(theta + e_i) - L_i(theta - e_i)) / (2 sigma^2).

    L_i: what the runs of pair i earn in this truncation; e_i ~ N(0, sigma^2 I) is drawn for each.
    The sum of perturbations xi_i credits what happened in earlier truncations; it is zero when a
    run begins. Unbiased for the whole run, however short the truncation; the variance grows with
    the number of truncations. The end of a run is credited to the accumulated xi_i like the rest.
    """

    name: ClassVar[str] = "pes"

    @property
    def reuse(self) -> int:
        """A new perturbation every truncation."""
        return 1
