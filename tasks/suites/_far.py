"""FAR_V1: ten times the longest run that `small` learned from, sixteen times its widest network.

Those are 1,500 steps and 64 units. One hidden layer each, so that two cores tune baselines at
15,000 steps and at 1,024 units; of the data, letters are not learned from.
"""

from .._spec import FamilySpec
from ..problems import MLP
from ._base import EvalTask, Suite
from ._numbers import RELU, mlp

LONG, WIDE = MLP(32, 1, (32, 32), (1, 1)), MLP(1024, 1, (1024, 1024), (1, 1))

FAR_V1 = Suite(
    "FAR_V1",
    "far beyond what the zoo learned from: 15,000 steps, 1,024 units",
    (
        EvalTask("digits-mlp-15000", FamilySpec(LONG, "digits"), mlp(32, 1, RELU), 15000),
        EvalTask("letters-8-mlp-15000", FamilySpec(LONG, "letters/8"), mlp(32, 1, RELU), 15000),
        EvalTask("digits-mlp-1024", FamilySpec(WIDE, "digits"), mlp(1024, 1, RELU), 1000),
        EvalTask("letters-8-mlp-1024", FamilySpec(WIDE, "letters/8"), mlp(1024, 1, RELU), 1000),
    ),
)
