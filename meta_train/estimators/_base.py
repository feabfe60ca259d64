"""What a meta-gradient estimator is, and what those by antithetic evolution strategies share."""

import dataclasses
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from learned_opt import Theta
from learned_opt._fields import Natural, NonNegative, Size, Within, check_fields

from .._horizons import Horizons
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


class GradientEstimator(Protocol):
    """Estimates meta-gradients. A frozen dataclass of plain numbers, which configurations name.

    `name`: in configurations. `rows`: attribute that counts the parallel lanes of an estimate,
    which the devices share. `row_state`: whether the leaves of the state have one row a lane.
    `direct`: whether `grad` is the very step that theta is to take, down: the outer optimizer is
    then plain SGD with learning rate 1.
    """

    name: ClassVar[str]
    rows: ClassVar[str]
    row_state: ClassVar[bool]
    direct: ClassVar[bool]

    @property
    def runs(self) -> int:
        """Training runs side by side."""
        ...

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> Any:
        """The state carried from one outer step to the next (a pytree, maybe empty)."""
        ...

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: Any,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, Any]:
        """One estimate at theta."""
        ...


@dataclasses.dataclass(frozen=True)
class OnRuns:
    """Base of all: how long the runs are.

    Args:
      horizon: bounds of the runs' lengths in steps, log-uniform; see `Horizons`.
      curriculum: outer steps over which the upper bound of the horizon grows from the lower.
    """

    horizon: Annotated[tuple[int, int], Within(1, 10**8)] = (100, 300)
    curriculum: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def horizons(self) -> Horizons:
        """Distribution of the runs' lengths."""
        return Horizons(*self.horizon, self.curriculum)


@dataclasses.dataclass(frozen=True)
class Antithetic(OnRuns):
    """Base of the estimators that compare the two sides of random perturbations.

    Args:
      pairs: antithetic pairs; the two runs of a pair share task, initial weights, data, horizon.
      sigma: standard deviation of the perturbation of each meta-parameter.
      sign: use the sign of each difference of meta-losses alone (Metz et al. 2022, VeLO).
      clip: clip each difference to [-clip, clip]; 0: as it is.
    """

    rows: ClassVar[str] = "pairs"
    row_state: ClassVar[bool] = False
    direct: ClassVar[bool] = False
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
