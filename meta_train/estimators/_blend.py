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
from learned_opt.devices import map_blocks, share_of_block, sum_of_blocks

from .._unroll import MetaProblem, unroll
from ._backprop import Segments, checkpointed
from ._base import SIGNS, MetaGrad, over_scale
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


class Both(NamedTuple):
    """What a pair says: `losses` (2,), `noise` and `exact` (theta's size,), counts."""

    losses: jax.Array
    noise: jax.Array
    exact: jax.Array
    inner_steps: jax.Array
    nonfinite: jax.Array


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
        root of so many states, its time about four times that of the runs alone.

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

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: BlendState,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, BlendState]:
        """One estimate: 2 `pairs` training runs, forwards, and backwards if they are short."""
        longest, pair_key = self.longest(key, outer_step)
        rows = jnp.arange(self.pairs)
        _, (total, state) = map_blocks(
            problem.mesh, self._block, rows, problem, theta, state, pair_key, longest, outer_step
        )
        grad, loss = jax.tree.map(lambda x: x / self.pairs, (total.grad, total.loss))
        return MetaGrad(grad, loss, total.inner_steps, total.nonfinite), state

    def _block(
        self,
        index: jax.Array,
        problem: MetaProblem,
        theta: Theta,
        state: BlendState,
        key: jax.Array,
        longest: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[tuple[()], tuple[MetaGrad, BlendState]]:
        def pairs(short: bool) -> Both:
            def pair(i: jax.Array) -> Both:
                return self._pair_of(short, problem, theta, jax.random.fold_in(key, i), longest,
                                     outer_step)  # fmt: skip

            return jax.vmap(pair)(index)

        if self.horizon[1] <= self.exact:
            short, both = jnp.array(True), pairs(True)
        else:
            short = longest <= self.exact
            both = jax.lax.cond(short, lambda: pairs(True), lambda: pairs(False))
        squares = self.measure(both.losses, state.squares)
        a = self.weight(both.losses, squares)[:, None] * both.noise
        b = over_scale(both.exact, squares)
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
        total = MetaGrad(
            ravel_pytree(theta)[1](grad),
            both.losses.mean(1).sum(),
            both.inner_steps.sum(),
            both.nonfinite.sum(),
        )
        return (), (total, share_of_block(BlendState(squares, es, exact)))

    def _pair_of(
        self,
        short: bool,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        longest: jax.Array,
        outer_step: jax.Array,
    ) -> Both:
        """A pair, with its exact gradient if it is short."""
        flat, unravel = ravel_pytree(theta)
        task, horizon, noise, run_key = self.drawn(problem, flat.size, key, longest)
        segments = self._segments
        lengths: dict[str, Any] = {"max_steps": longest}
        if short:
            lengths = {"max_steps": segments.steps, "loop": checkpointed(segments.length)}

        def run(sides: jax.Array) -> Any:
            losses, runs = unroll(
                problem, task, jax.vmap(unravel)(sides), run_key,
                horizon=horizon, outer_step=outer_step, sides=True, **lengths,
            )  # fmt: skip
            # A side has no part in the loss of the other, so this is the gradient of each.
            return losses.sum(), (losses, runs)

        sides = jax.vmap(lambda sign: flat + sign * noise)(jnp.asarray(SIGNS))
        if short:
            (_, (losses, runs)), grads = jax.value_and_grad(run, has_aux=True)(sides)
        else:
            (_, (losses, runs)), grads = run(sides), jnp.zeros_like(sides)
        lost = ~(problem.asked(runs.finite) & jnp.isfinite(grads).all(1))
        return Both(
            losses,
            noise,
            # A loss that is not finite counts as the cap, of which the gradient knows nothing.
            jnp.where(lost.any(), jnp.nan, grads.mean(0)),
            inner_steps=runs.total.size * horizon.astype(jnp.float32),
            nonfinite=jnp.sum(lost).astype(jnp.float32),
        )
