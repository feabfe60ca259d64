"""Frozen lists of tasks, each with its content hash: what to learn from, and what to be judged by.

A suite never changes. What would change it gets a new name, so that figures of different days
can be compared; a test holds every suite to its FROZEN hash.
"""

from ._base import EvalTask as EvalTask
from ._base import Suite as Suite
from ._base import Tier as Tier
from ._base import TrainFamily as TrainFamily
from ._references import references as references
from ._test import FAR_V1, META_TEST_V1, META_TEST_V2, QUICKSTART
from ._test_v3 import META_TEST_V3
from ._train import META_TRAIN_V2
from ._train_v3 import META_TRAIN_V3
from ._valid_v9 import META_VALID_V9
from ._validation import (
    META_VALID_V1,
    META_VALID_V2,
    META_VALID_V3,
    META_VALID_V4,
    META_VALID_V5,
    META_VALID_V6,
    META_VALID_V7,
)
from ._variants import VARIANTS_V1

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        QUICKSTART,
        META_TRAIN_V2,
        META_TRAIN_V3,
        META_VALID_V1,
        META_VALID_V2,
        META_VALID_V3,
        META_VALID_V4,
        META_VALID_V5,
        META_VALID_V6,
        META_VALID_V7,
        META_VALID_V9,
        META_TEST_V1,
        META_TEST_V2,
        META_TEST_V3,
        FAR_V1,
        VARIANTS_V1,
    )
}
"""Suites by name."""

FROZEN: dict[str, str] = {
    "quickstart": "5dd8cf8d14eaf35a",
    "META_TRAIN_V2": "eee7430961dab3d0",
    "META_TRAIN_V3": "5d741409598a508b",
    "META_VALID_V1": "d58a37e6bdb251e6",
    "META_VALID_V2": "0a5d1071ce62c78e",
    "META_VALID_V3": "e6013d421faf77da",
    "META_VALID_V4": "515466b249953da6",
    "META_VALID_V5": "82ed58d8462783c4",
    "META_VALID_V6": "b871a806ee69de80",
    "META_VALID_V7": "a0bb33b5873200d9",
    "META_VALID_V9": "c73861239ddcdb7e",
    "META_TEST_V1": "f801c2c07517535a",
    "META_TEST_V2": "0e7766d01e4e337f",
    "META_TEST_V3": "a1586a6dc3ce6cce",
    "FAR_V1": "8302072c1dc390d6",
    "VARIANTS_V1": "470c39475514956a",
}
"""Hash of each suite on the day it was released."""


def load_suite(name: str, tier: Tier = "cpu") -> tuple[EvalTask, ...]:
    """The tasks of a tier of a suite.

    Raises:
      ValueError: no such suite, or it has no tasks of this tier.
    """
    judged = [suite.name for suite in SUITES.values() if suite.tier("cpu") + suite.tier("gpu")]
    if name not in judged:
        raise ValueError(f"suite must be one of {', '.join(judged)}, got {name!r}")
    tasks = SUITES[name].tier(tier)
    if not tasks:
        raise ValueError(f"the suite {name} has no tasks of the tier {tier!r}")
    return tasks
