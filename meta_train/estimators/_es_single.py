"""ES-Single.

Vicol 2023, "Low-variance gradient estimation in unrolled computation graphs with ES-Single".
"""

import dataclasses
from typing import ClassVar

from ._truncated import Truncated


@dataclasses.dataclass(frozen=True)
class ESSingle(Truncated):
    """g = mean_i e_i (L_i(theta + e_i) - L_i(theta - e_i)) / (2 sigma^2), e_i drawn once a run.

    The estimate of `NRES`, found in the same year; as published all pairs start together, so that
    those of equal horizons march in step.
    """

    name: ClassVar[str] = "es_single"
    stagger: bool = False

    @property
    def reuse(self) -> int:
        """One perturbation a run."""
        return 0
