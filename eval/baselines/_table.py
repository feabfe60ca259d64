"""All hand-designed optimizers that a learned one is compared with."""

from ._baseline import Baseline
from ._defaults import DEFAULTS
from ._tuned import ADAMW as ADAMW
from ._tuned import TUNED

BASELINES: tuple[Baseline, ...] = (*TUNED, *DEFAULTS)
"""The ladder. Tried settings: 7 of adam, 26 of every other tuned row, 0 of those at defaults."""
