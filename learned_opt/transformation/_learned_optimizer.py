"""A rule as a learned optimizer: options, step size, optax transformation."""

import abc
from typing import Any, ClassVar

import jax
import optax

from .._base import Shape, Theta, check_epochs, check_num_steps, shaped
from .._fields import check_fields, shown
from ..layouts._layouts import AxesLike
from ._rule import Rule
from ._transformation import as_transformation


class LearnedOptimizer(Rule):
    """A family of update rules indexed by meta-parameters `theta`: theta -> optax.

    Each is a frozen dataclass that derives from this: equal configurations are equal and hash
    alike, so they are safe static arguments of `jax.jit`. The types of its fields say what they
    may hold, see `learned_opt._fields`.
    """

    name: ClassVar[str]
    """In artifacts and configurations."""

    use: ClassVar[str]
    """When to use it, in a sentence."""

    horizon_free: bool = False
    """It never uses `num_steps`, whether that is passed or not."""

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Theta:
        """Meta-parameters before any meta-training."""

    @abc.abstractmethod
    def _peak(self, theta: Theta) -> Any:
        """The largest nominal step size of a run."""

    def _own_schedule(
        self, theta: Theta, peak: jax.Array, total: jax.Array | None
    ) -> optax.Schedule:
        """The nominal step size by count, in a run of `total` steps."""
        return shaped(peak)

    def schedule(
        self, theta: Theta, *, num_steps: Any = None, shape: Shape = None
    ) -> optax.Schedule:
        """The nominal step size after `count` steps, before any per-tensor correction.

        Its peak times shape(count), where `shape` is given in place of the rule's own warm-up and
        decay.

        Raises:
          ValueError: `num_steps` is no positive integer and not traced, or missing.
        """
        peak, total = self._peak(theta), self._total(num_steps)
        return self._own_schedule(theta, peak, total) if shape is None else shaped(peak, shape)

    def transform(
        self,
        theta: Theta,
        *,
        num_steps: Any = None,
        epochs: Any = None,
        schedule: Shape = None,
        axes: AxesLike = None,
        **options: Any,
    ) -> optax.GradientTransformationExtraArgs:
        """The rule at `theta`, un-negated, for a run of `num_steps` steps; both may be traced.

        Args:
          theta: from `init` or an artifact.
          num_steps: updates of the whole run.
          epochs: how often the run will see each example, above zero (may be traced), where the
            rule makes use of it, see `uses_epochs`.
          schedule: of the step size, count -> factor of its peak, in place of the rule's own.
          axes: what the axes of the parameters are, see `learned_opt.layouts`.
          options: see `as_transformation`.

        Raises:
          ValueError: as `schedule`; `epochs` not above zero, or of a rule without use for it.
        """
        step_size = self.schedule(theta, num_steps=num_steps, shape=schedule)
        total = self._total(num_steps)
        given = {"total": total, "epochs": self._epochs(epochs), "axes": axes}
        return as_transformation(self, theta, step_size, **given, **options)

    def _epochs(self, epochs: Any) -> jax.Array | None:
        """A float32 scalar; None where it is not told."""
        if epochs is None:
            return None
        if not self.uses_epochs:
            raise ValueError(
                f"{self.name} makes no use of epochs, got {shown(epochs)}; leave epochs out, or "
                "take an optimizer that does, such as one of spectral_gru"
            )
        return check_epochs(epochs)

    def _total(self, num_steps: Any) -> jax.Array | None:
        """The steps of a run as a float32 scalar; None where they do not matter."""
        if self.horizon_free and num_steps is None:
            return None
        total = check_num_steps(num_steps)
        return None if self.horizon_free else total
