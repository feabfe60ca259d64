"""Noise-reuse evolution strategies, and the family between them and PES.

Li, Harrison, Sohl-Dickstein, Smith & Metz 2023, "Variance-reduced gradient estimation via
noise-reuse in online evolution strategies": GPES with a period, NRES where it is the whole run.
"""

import dataclasses
from typing import ClassVar

from learned_opt._fields import Natural

from ._truncated import Truncated


@dataclasses.dataclass(frozen=True)
class NRES(Truncated):
    """g = mean_i xi_i (L_i(theta + e_i) - L_i(theta - e_i)) / (2 sigma^2), e_i kept for a while.

    xi_i is the sum of the distinct perturbations of the run. With `period` 0, e_i lasts the whole
    run and xi_i = e_i: NRES. With a period of n truncations: GPES, which is PES at n = 1. Unbiased
    for the whole run at any period (theta held still), and the variance falls as it grows.

    Args:
      period: truncations that a perturbation lasts; 0: the whole run.
    """

    name: ClassVar[str] = "nres"
    period: Natural = 0

    @property
    def reuse(self) -> int:
        """The period."""
        return self.period
