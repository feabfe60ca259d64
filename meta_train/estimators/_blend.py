"""Exact gradients and evolution strategies, weighted by their variances.

Metz, Maheswaranathan, Nixon, Freeman & Sohl-Dickstein 2019, "Understanding and correcting
pathologies in the training of learned optimizers".
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from learned_opt import Theta
from learned_opt._fields import Steps
from learned_opt.devices import sum_of_blocks

from .._unroll import MetaProblem
from ._backprop import Segments, checkpointed
from ._base import Sides, over_scale
from ._full_es import FullES
from ._running import Running

EXPLODED = 10.0
"""Mean squares of ES as which an exact gradient counts that is of no use: one in a hundred leaves
nine tenths of the weight to the others."""


class BlendState(NamedTuple):
    """Running means over estimates.

    `squares`: of the family's squared differences, () where none is kept; `es`, `exact`: of the
    squares of what pairs say by either way, for each meta-parameter, (theta's size,).
    """

    squares: Any
    es: Running
    exact: Running


@dataclasses.dataclass(frozen=True)
class Blend(FullES):
    """g = mean_i [ w b_i + (1 - w) a_i ], for each meta-parameter by itself.

    a_i = e_i (L(theta + e_i) - L(theta - e_i)) / (2 sigma^2), as `FullES`; b_i = half the sum of
    the gradients of L at theta + e_i and theta - e_i, by reverse-mode differentiation of the same
    two runs. Both have the mean d E[L(theta + e)] / d theta, so any w is right that does not look
    at this estimate. w = A / (A + B), with A and B running means of a^2 and b^2 over the estimates
    *before*: cross-fitted, so that the sum stays unbiased. Squares about zero, not variances: they
    need no second pair, and differ only where both ways are precise. At first w = 0.

    Estimates draw their longest horizon; where it is beyond `exact` they are those of `FullES`,
    so each horizon has its own share of the gradient, unbiased.

    A pair whose exact gradient is not finite, or longer than the root mean square of all |a|, has
    a_i in place of the blend, and counts as B = 10 A. Where runs explode w so falls to nothing.
    This is the one bias, w E[b - a] over the pairs that are left: E[b] = E[a] holds of all
    perturbations, not of those alone whose gradients are small. It is nothing where no run
    explodes. (Nor do exact gradients see the jump where a loss becomes NaN and counts as the cap.)

    With `scale` "family" both are divided by the same root mean square. `clip` is of the
    differences alone.

    Args:
      exact: the longest run in steps with an exact gradient. Its memory is that of the square
        root of so many states, its time about four times that of the runs alone. All runs of an
        estimate with exact gradients last as long as the longest of them; they are not grouped as
        those of `FullES` are.

    Raises:
      ValueError: an argument out of its range; no run is as short as `exact`; `scale` is "sign",
        of which there is no exact gradient.
    """

    name: ClassVar[str] = "blend"
    exact: Steps = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exact < self.horizon[0]:
            raise ValueError(
                f"exact must be at least the shortest horizon ({self.horizon[0]}), got "
                f"{self.exact}: no run would have an exact gradient, which is full_es"
            )
        if self.scale == "sign":
            raise ValueError(
                "scale must be 'family' or 'none', got 'sign': signs of differences have no exact "
                "gradient"
            )

    @property
    def kept(self) -> int:
        """Of the longest run with an exact gradient."""
        return self._segments.kept

    @property
    def _segments(self) -> Segments:
        return Segments.of(min(self.exact, self.horizon[1]))

    def in_words(self) -> str:
        """ "runs of 100 to 900 steps, exact up to 300"."""
        if self.exact >= self.horizon[1]:
            return super().in_words()
        return f"{super().in_words()}, exact up to {self.exact:,}"

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> BlendState:
        """Nothing is known of either variance."""
        del problem, key
        blank = Running.blank(jnp.zeros(ravel_pytree(theta)[0].size))
        return BlendState(self.unmeasured, blank, blank)

    def pairs_of(
        self,
        index: jax.Array,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        longest: jax.Array,
        outer_step: jax.Array,
    ) -> Sides:
        """Of the pairs of one device; with exact gradients, of all at once, if runs are short."""
        plain, segments = super().pairs_of, self._segments

        def one(i: jax.Array) -> Sides:
            def run(theta: Theta) -> tuple[jax.Array, Sides]:
                sides = self.pair(
                    problem, theta, jax.random.fold_in(key, i), longest, segments.steps, outer_step,
                    checkpointed(segments.length, longest),
                )  # fmt: skip
                # The gradient of which is the mean of those at the two sides.
                return sides.losses.mean(), sides

            (_, sides), grad = jax.value_and_grad(run, has_aux=True)(theta)
            exact = ravel_pytree(grad)[0]
            lost = jnp.maximum(sides.nonfinite, (~jnp.isfinite(exact).all()).astype(jnp.float32))
            # A loss that is not finite counts as the cap, of which the gradient knows nothing.
            return sides._replace(nonfinite=lost, exact=jnp.where(lost > 0, jnp.nan, exact))

        def short() -> Sides:
            return jax.vmap(one)(index)

        def long() -> Sides:
            sides = plain(index, problem, theta, key, longest, outer_step)
            return sides._replace(exact=jnp.zeros_like(sides.noise))

        if self.horizon[1] <= self.exact:
            return short()
        return jax.lax.cond(longest <= self.exact, short, long)

    def combine(
        self, sides: Sides, state: BlendState, *shared: Any
    ) -> tuple[jax.Array, BlendState]:
        """The sum over the pairs of a device of the blend, and the next state."""
        _, longest, _ = shared
        short = longest <= self.exact
        squares = self.measure(sides.losses, state.squares)
        a = self.weight(sides.losses, squares)[:, None] * sides.noise
        b = over_scale(sides.exact, squares)
        es = state.es.after(sum_of_blocks(jnp.sum(a**2, 0)) / self.pairs)
        # False for NaN, too.
        useful = (short & (jnp.sum(b**2, 1) <= jnp.sum(es.mean)))[:, None]
        # Of the estimates before: what weighs an estimate must not have seen it.
        known = state.es.mean + state.exact.mean
        w = jnp.where(known > 0, state.es.mean / jnp.where(known > 0, known, 1.0), 0.0)[None]
        b = jnp.where(useful, b, a)
        grad = jnp.sum(w * b + (1 - w) * a, 0)
        counted = jnp.where(useful, b**2, EXPLODED * es.mean[None])
        exact = state.exact.after(sum_of_blocks(jnp.sum(counted, 0)) / self.pairs)
        # Of long runs only the differences are known.
        es, exact = jax.tree.map(
            lambda new, old: jnp.where(short, new, old), (es, exact), (state.es, state.exact)
        )
        return grad, BlendState(squares, es, exact)
