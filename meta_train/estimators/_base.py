"""What a meta-gradient estimator is, and what those by antithetic evolution strategies share."""

import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from learned_opt import Theta

from .._horizons import Horizons
from .._unroll import MetaProblem


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

    horizon: tuple[int, int] = (100, 300)
    curriculum: int = 0

    def __post_init__(self) -> None:
        self.horizons  # noqa: B018 (it checks its bounds)

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
    pairs: int = 16
    sigma: float = 0.03
    sign: bool = False
    clip: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "pairs", "sigma")
        if self.clip < 0:
            raise ValueError(f"clip must be at least 0, got {self.clip}")

    def weight(self, losses: jax.Array) -> jax.Array:
        """(L+ - L-) / (2 sigma^2) for losses (..., 2), the difference shaped as asked for."""
        difference = losses[..., 0] - losses[..., 1]
        if self.sign:
            difference = jnp.sign(difference)
        elif self.clip:
            difference = jnp.clip(difference, -self.clip, self.clip)
        return difference / (2 * self.sigma**2)


def check_positive(config: Any, *names: str) -> None:
    """ValueError for the first attribute that is not above zero."""
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")


SIGNS = (1.0, -1.0)
"""Of the two runs of an antithetic pair."""
