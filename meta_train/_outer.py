"""The outer optimizer, which steps theta along the meta-gradient: a chain of optax's own."""

import dataclasses
from typing import Annotated, Literal

import optax

from learned_opt._fields import Natural, NonNegative, Rate, Share, Within, check_fields

RULES = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}


@dataclasses.dataclass(frozen=True)
class Outer:
    """[outer] clip to global norm `clip`, then `optimizer` with a schedule.

    From Python, `Trainer` takes any optax transformation.

    Args:
      optimizer: a name among RULES.
      learning_rate: at its peak.
      schedule: "cosine" or "linear" down to `final` times the peak at the last outer step, or
        "constant".
      warmup: outer steps of linear growth from zero.
      final: share of the peak that is left at the end.
      weight_decay: decoupled; of "adamw" and "lion".
      b1: decay of the momentum, of "adam", "adamw" and "lion"; "sgd" takes it as momentum.
      clip: largest norm of the meta-gradient, clipped before the optimizer sees it; 0: any.
    """

    optimizer: Literal["adam", "adamw", "lion", "rmsprop", "sgd"] = "adam"
    learning_rate: Rate = 1e-2
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Natural = 0
    final: Share = 0.0
    weight_decay: Annotated[float, Within(0, 100)] = 0.0
    b1: Annotated[float, Within(0, 0.999999)] = 0.9
    clip: NonNegative = 0.3

    def __post_init__(self) -> None:
        check_fields(self)
        if self.weight_decay and self.optimizer not in ("adamw", "lion"):
            raise ValueError(
                f"weight_decay needs the optimizer adamw or lion, got {self.optimizer}"
            )

    def build(self, outer_steps: int) -> optax.GradientTransformation:
        """The chain for a run of that many outer steps."""
        options: dict[str, float] = {}
        if self.optimizer in ("adamw", "lion"):
            options["weight_decay"] = self.weight_decay
        if self.optimizer in ("adam", "adamw", "lion"):
            options["b1"] = self.b1
        if self.optimizer == "sgd":
            options["momentum"] = self.b1
        rule = RULES[self.optimizer](self._schedule(outer_steps), **options)
        return optax.chain(optax.clip_by_global_norm(self.clip), rule) if self.clip else rule

    def _schedule(self, outer_steps: int) -> optax.Schedule:
        peak, rest = self.learning_rate, max(1, outer_steps - self.warmup)
        after = {
            "constant": optax.constant_schedule(peak),
            "linear": optax.linear_schedule(peak, self.final * peak, rest),
            "cosine": optax.cosine_decay_schedule(peak, rest, self.final),
        }[self.schedule]
        if not self.warmup:
            return after
        ramp = optax.linear_schedule(0.0, peak, self.warmup)
        return optax.join_schedules([ramp, after], [self.warmup])
