"""What a task must be like before anything long begins."""

import math
from typing import Any

import jax

from learned_opt.tasks import EvalTask, full_loss

from ._probe import examples

LEAST_VALID = 100
"""Validation examples below which a loss on them is mostly noise."""


def check_start(task: EvalTask) -> str:
    """A sentence on a validation split that is too small; "" if it is not.

    Raises:
      ValueError: its loss at the start is not finite, or not above 0.
    """
    member, key = task.member, jax.random.key(0)  # made outside of what is traced

    @jax.jit
    def start(family: Any) -> jax.Array:
        params, state = member.init(key), member.init_state(key)
        return full_loss(family, member, params, "outer_valid", state)[0]

    loss = float(start(task.family))
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of {task.name} must be finite at the start, got {loss}; look at init, the "
            "loss and the data"
        )
    if loss <= 0:
        raise ValueError(
            f"the loss of {task.name} must be above 0, for losses are compared by their ratio, got "
            f"{loss:.4g} at the start; add a constant to it"
        )
    size = examples(task, "outer_valid")
    if size >= LEAST_VALID:
        return ""
    return (
        f"the validation split of {task.name} has {size} examples: below {LEAST_VALID} what it "
        "says is mostly noise"
    )
