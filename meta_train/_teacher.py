"""A hand-made optimizer that helps the learned one along, less and less.

Moudgil et al. 2026 (ELO): the inner update is a mixture whose hand-made share decays from one to
zero over the outer steps, so that early unrolls go somewhere worth learning from.
"""

import dataclasses
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from learned_opt._fields import Count, Rate, Within, check_fields


class TaughtState(NamedTuple):
    """States of the learned optimizer and of the teacher."""

    learned: optax.OptState
    teacher: optax.OptState


@dataclasses.dataclass(frozen=True)
class Teacher:
    """u = (1 - b) u_learned + b u_teacher, with b(k) = share max(0, 1 - k / outer_steps).

    Args:
      name: "adamw", "muon" (with AdamW for what is not a matrix), or "none".
      learning_rate: of the teacher at its peak; 5 % warm-up, then linear decay over the horizon.
      share: b at the first outer step.
      outer_steps: b is zero from this outer step k on.
    """

    name: Literal["none", "adamw", "muon"] = "none"
    learning_rate: Rate = 1e-2
    share: Annotated[float, Within(1e-6, 1)] = 1.0
    outer_steps: Count = 100

    def __post_init__(self) -> None:
        check_fields(self)

    def share_at(self, outer_step: jax.Array) -> jax.Array:
        """b, a scalar in [0, 1]."""
        done = outer_step.astype(jnp.float32) / self.outer_steps
        return self.share * jnp.maximum(0.0, 1 - done)

    def assist(
        self,
        learned: optax.GradientTransformationExtraArgs,
        horizon: jax.Array,
        outer_step: jax.Array,
    ) -> optax.GradientTransformationExtraArgs:
        """The mixture, un-negated like `learned`, whose state it extends; `learned` if "none"."""
        if self.name == "none":
            return learned
        teacher, share = self._transform(horizon), self.share_at(outer_step)

        def init(params: optax.Params) -> TaughtState:
            return TaughtState(learned.init(params), teacher.init(params))

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            **extra_args,
        ) -> tuple[optax.Updates, TaughtState]:
            assert isinstance(state, TaughtState)
            ours, first = learned.update(updates, state.learned, params, **extra_args)
            theirs, second = teacher.update(updates, state.teacher, params)
            mixed = jax.tree.map(
                lambda u, v: ((1 - share) * u + share * v).astype(u.dtype), ours, theirs
            )
            return mixed, TaughtState(first, second)

        return optax.GradientTransformationExtraArgs(init, update)

    def _transform(self, horizon: jax.Array) -> optax.GradientTransformation:
        total = horizon.astype(jnp.float32)

        def step_size(count: jax.Array) -> jax.Array:
            t = count.astype(jnp.float32)
            ramp = jnp.minimum(1.0, (t + 1) / jnp.maximum(1.0, 0.05 * total))
            return self.learning_rate * ramp * jnp.maximum(0.0, 1 - t / total)

        make = {"adamw": optax.adamw, "muon": optax.contrib.muon}[self.name]
        # optax's aliases descend; the mixture is un-negated.
        return optax.chain(make(step_size), optax.scale(-1.0))
