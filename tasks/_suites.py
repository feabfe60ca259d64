"""Frozen lists of tasks that optimizers are judged on."""

import dataclasses
from typing import Any

from ._conv import ConvFamily
from ._data import load_dataset
from ._mlp import MLPFamily


@dataclasses.dataclass(frozen=True)
class EvalTask:
    """One member of a family, trained for `horizon` steps.

    Tasks of a suite that share a `family` object share compiled programs.

    Attributes:
      name: unique in its suite.
      family, member: the training problem.
      network, dataset: what a provenance card is compared with, to label leakage.
      horizon: inner steps.
    """

    name: str
    family: Any
    member: Any
    network: str
    dataset: str
    horizon: int


def _quickstart() -> tuple[EvalTask, ...]:
    digits, cancer = load_dataset("digits"), load_dataset("breast_cancer")
    mlp = MLPFamily(digits)
    conv = ConvFamily(digits)
    table = MLPFamily(cancer)
    relu, tanh, silu = 0, 1, 2
    return (
        EvalTask("digits-mlp-16", mlp, mlp.task(16, 1, relu), "mlp", "digits", 300),
        EvalTask("digits-mlp-32", mlp, mlp.task(32, 1, tanh), "mlp", "digits", 300),
        EvalTask("digits-mlp-32x2", mlp, mlp.task(32, 2, silu), "mlp", "digits", 300),
        EvalTask("digits-conv", conv, conv.task(), "conv", "digits", 300),
        EvalTask("cancer-mlp", table, table.task(32, 2, relu), "mlp", "breast_cancer", 300),
    )


SUITES = {"quickstart": _quickstart}
"""Name -> the tasks. A suite never changes: a change is a new name."""


def load_suite(name: str) -> tuple[EvalTask, ...]:
    """The tasks of a suite; ValueError that lists the suites if there is none of that name."""
    if name not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {name!r}")
    return SUITES[name]()
