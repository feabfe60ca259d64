"""What a meta-gradient estimator is, and what those by antithetic evolution strategies share."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from learned_opt import Theta
from learned_opt._fields import Natural, NonNegative, Size, Within, check_fields
from learned_opt.devices import map_blocks, share_of_block, sum_of_blocks

from .._horizons import Horizons
from .._outer import Outer
from .._unroll import MetaProblem
from ._running import Running

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


class Sides(NamedTuple):
    """What an antithetic pair has come to.

    `losses`: meta-losses of the two sides, (2,); `noise`: the perturbation of the + side, (theta's
    size,); `inner_steps`, `nonfinite`: of both sides, as of `MetaGrad`; `exact`: mean of the
    gradients at the two sides, (theta's size,), for estimators that know it.
    """

    losses: jax.Array
    noise: jax.Array
    inner_steps: jax.Array
    nonfinite: jax.Array
    exact: Any = ()


@dataclasses.dataclass(frozen=True)
class Antithetic(GradientEstimator):
    """Base of the estimators that compare the two sides of random perturbations.

    With `scale` "family" a difference L+ - L- is divided by s, the root of a running mean of the
    squares of all differences of the family, those of this estimate included: the gradient of a
    family is then free of the scale of its losses, of root mean square about
    sqrt(theta's size / pairs) / (2 sigma), most of it noise. What is estimated is the gradient
    over s. That s knows the differences which it divides changes the expected length of the
    estimate (by a part in some `pairs`, once ten estimates are remembered), and not its direction
    where the loss is linear in theta. Differences that are all zero stay zero.

    That size is of estimates of whole runs (`FullES`, `Blend`). Truncated estimators compare
    truncations: with n of them in a run their gradients are longer by n, the factor of
    `Truncating`, and by up to n^1.5 where the credit is a sum of n perturbations, as
    with PES. So families are on one scale if their runs have about as many truncations.

    Args:
      pairs: antithetic pairs; the two runs of a pair share task, initial weights, data, horizon.
      sigma: standard deviation of the perturbation of each meta-parameter.
      scale: of the differences of meta-losses: "none", as they are; "family", see above; "sign",
        the sign of each alone (Metz et al. 2022, VeLO).
      clip: clip each difference to [-clip, clip], with "family" in units of s; 0: as it is.
    """

    unit: ClassVar[str] = "pairs"
    pairs: Size = 16
    sigma: Sigma = 0.03
    scale: Literal["family", "sign", "none"] = "none"
    clip: NonNegative = 0.0

    @property
    def runs(self) -> int:
        """Two a pair."""
        return 2 * self.pairs

    @property
    def unmeasured(self) -> Running | tuple[()]:
        """The mean square of the differences before the first estimate; () where none is kept."""
        return Running.blank(jnp.zeros(())) if self.scale == "family" else ()

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> Any:
        """The mean square of the differences, where one is kept."""
        del problem, theta, key
        return self.unmeasured

    def measure(self, losses: jax.Array, squares: Any) -> Any:
        """The mean square after this estimate; to be called within `map_blocks`, on all devices.

        Args:
          losses: of the pairs of this device, (pairs, 2).
          squares: as it was after the estimate before; () where none is kept.
        """
        if not squares:
            return ()
        difference = losses[:, 0] - losses[:, 1]
        return squares.after(sum_of_blocks(jnp.sum(difference**2)) / self.pairs)

    def weight(self, losses: jax.Array, squares: Any = ()) -> jax.Array:
        """(L+ - L-) / (2 sigma^2) for losses (..., 2), the difference shaped as asked for.

        `squares`: as `measure` returns it.
        """
        difference = over_scale(losses[..., 0] - losses[..., 1], squares)
        if self.scale == "sign":
            difference = jnp.sign(difference)
        elif self.clip:
            difference = jnp.clip(difference, -self.clip, self.clip)
        return difference / (2 * self.sigma**2)

    def combine(self, sides: Sides, state: Any, *shared: Any) -> tuple[jax.Array, Any]:
        """The gradient (theta's size,), summed over the pairs of a device, and the next state.

        Arguments as of `compare`; to be called within `map_blocks`.
        """
        del shared
        state = self.measure(sides.losses, state)
        return credited(self.weight(sides.losses, state), sides.noise), state

    def compare(
        self,
        pairs: Callable[..., Sides],
        problem: MetaProblem,
        theta: Theta,
        state: Any,
        *shared: Any,
    ) -> tuple[MetaGrad, Any]:
        """The mean over all pairs of what `combine` makes of them, and the next state.

        Here mean_i e_i (L(theta + e_i) - L(theta - e_i)) / (2 sigma^2).

        Args:
          pairs: from (numbers of the pairs of a device, problem, theta, *shared) to what each has
            come to, leaves with a row a pair.
          state: as `init` makes it.
          *shared: trees of arrays.
        """

        def block(
            index: jax.Array, problem: MetaProblem, theta: Theta, state: Any, *shared: Any
        ) -> Any:
            sides = pairs(index, problem, theta, *shared)
            grad, state = self.combine(sides, state, *shared)
            total = MetaGrad(
                ravel_pytree(theta)[1](grad),
                sides.losses.mean(1).sum(),
                sides.inner_steps.sum(),
                sides.nonfinite.sum(),
            )
            return (), (total, share_of_block(state))

        rows = jnp.arange(self.pairs)
        _, (total, state) = map_blocks(problem.mesh, block, rows, problem, theta, state, *shared)
        grad, loss = jax.tree.map(lambda x: x / self.pairs, (total.grad, total.loss))
        return MetaGrad(grad, loss, total.inner_steps, total.nonfinite), state


def credited(weights: jax.Array, perturbations: jax.Array) -> jax.Array:
    """sum_i w_i e_i, (pairs,) and (pairs, size) to (size,), in float32 on GPUs and TPUs too."""
    return jnp.matmul(weights, perturbations, precision="highest")


def over_scale(x: jax.Array, squares: Any) -> jax.Array:
    """x over the root of the running mean square, zero where that is zero; x if none is kept."""
    if not squares:
        return x
    mean = squares.mean
    return jnp.where(mean > 0, x * jax.lax.rsqrt(jnp.where(mean > 0, mean, 1.0)), 0.0)


SIGNS = (1.0, -1.0)
"""Of the two runs of an antithetic pair."""
