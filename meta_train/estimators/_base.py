"""What a meta-gradient estimator is, and what those by antithetic evolution strategies share."""

import abc
import dataclasses
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp

from learned_opt import Theta
from learned_opt._fields import Natural, NonNegative, Size, Within, check_fields

from .._horizons import Horizons
from .._outer import Outer
from .._unroll import MetaProblem

Sigma = Annotated[float, Within(1e-6, 1e3)]
"""Deviation of a perturbation of theta."""


class MetaGrad(NamedTuple):
    """An estimate of d E[meta-loss of a run] / d theta.

    `grad`: the tree of theta; `loss`: estimate of the mean meta-loss; `inner_steps`: training
    steps spent; `nonfinite`: runs in which a loss, or the gradient, was not a finite number. All
    are contained: such a loss counts as the cap, such a gradient is left out.
    """

    grad: Theta
    loss: jax.Array
    inner_steps: jax.Array
    nonfinite: jax.Array


@dataclasses.dataclass(frozen=True)
class GradientEstimator(abc.ABC):
    """Estimates meta-gradients: the base of all. Plain numbers, which configurations name.

    `name`: in configurations. `unit`: the field that says how many lanes there are. `row_state`:
    whether the leaves of the state have one row a lane. `outer`: the optimizer that steps theta,
    unless another is chosen; None where `grad` is the very step that theta is to take, down.

    Args:
      horizon: bounds of the runs' lengths in steps, log-uniform; see `Horizons`.
      curriculum: outer steps over which the upper bound of the horizon grows from the lower.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    row_state: ClassVar[bool] = False
    outer: ClassVar[Outer | None] = Outer()
    horizon: Annotated[tuple[int, int], Within(1, 10**8)] = (100, 300)
    curriculum: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> Any:
        """The state carried from one outer step to the next, a pytree; empty unless overridden."""
        del problem, theta, key
        return ()

    @abc.abstractmethod
    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: Any,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, Any]:
        """One estimate at theta, and the next state."""
        ...

    @property
    @abc.abstractmethod
    def runs(self) -> int:
        """Training runs side by side."""
        ...

    @property
    def horizons(self) -> Horizons:
        """Distribution of the runs' lengths."""
        return Horizons(*self.horizon, self.curriculum)

    @property
    def lanes(self) -> int:
        """Parallel parts of an estimate, which the devices share."""
        return getattr(self, self.unit)

    def with_lanes(self, lanes: int) -> Self:
        """The same with so many lanes; ValueError if there cannot be."""
        return dataclasses.replace(self, **{self.unit: lanes})

    @property
    def batches(self) -> int:
        """Minibatches side by side: runs that are compared see the same."""
        return self.lanes

    @property
    def untrained_runs(self) -> int:
        """Runs of the untrained theta, for objectives that compare with it."""
        return self.batches

    @property
    def kept(self) -> int:
        """Inner states of a run that an estimate holds besides those in the state."""
        return int(not self.row_state)

    @property
    def horizon_range(self) -> tuple[int, int]:
        """Steps of the shortest and of the longest run that there can be."""
        return self.horizon

    def steps_spent(self, outer_steps: int) -> float:
        """Training steps of an estimate, on average over so many outer steps.

        Example:
          >>> from learned_opt.meta_train import PES, Backprop
          >>> PES(pairs=4, truncation=20).steps_spent(100)
          160.0
          >>> Backprop(tasks=4, horizon=(50, 50)).steps_spent(100)
          200.0
        """
        return self.runs * self.horizons.mean(outer_steps)

    def in_words(self) -> str:
        """How long the runs are, for people: "runs of 20 to 60 steps"."""
        low, high = self.horizon
        return f"runs of {low:,} to {high:,} steps" if low < high else f"runs of {high:,} steps"


@dataclasses.dataclass(frozen=True)
class Antithetic(GradientEstimator):
    """Base of the estimators that compare the two sides of random perturbations.

    Args:
      pairs: antithetic pairs; the two runs of a pair share task, initial weights, data, horizon.
      sigma: standard deviation of the perturbation of each meta-parameter.
      sign: use the sign of each difference of meta-losses alone (Metz et al. 2022, VeLO).
      clip: clip each difference to [-clip, clip]; 0: as it is.
    """

    unit: ClassVar[str] = "pairs"
    pairs: Size = 16
    sigma: Sigma = 0.03
    sign: bool = False
    clip: NonNegative = 0.0

    @property
    def runs(self) -> int:
        """Two a pair."""
        return 2 * self.pairs

    def weight(self, losses: jax.Array) -> jax.Array:
        """(L+ - L-) / (2 sigma^2) for losses (..., 2), the difference shaped as asked for."""
        difference = losses[..., 0] - losses[..., 1]
        if self.sign:
            difference = jnp.sign(difference)
        elif self.clip:
            difference = jnp.clip(difference, -self.clip, self.clip)
        return difference / (2 * self.sigma**2)


SIGNS = (1.0, -1.0)
"""Of the two runs of an antithetic pair."""
