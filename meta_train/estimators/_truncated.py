"""Antithetic pairs that live on from estimate to estimate.

What PES, GPES/NRES, ES-Single and truncated ES share; each of their files says what it credits.
"""

import abc
import dataclasses
import typing
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from learned_opt import Theta

from .._unroll import Episode, MetaProblem, Run, start
from ._base import SIGNS, Antithetic, MetaGrad, credited
from ._continued import Continuation, Shelf
from ._running import Running
from ._truncating import Truncating, row_keys, where_rows


class Pair(NamedTuple):
    """An antithetic pair between two truncations; in the state every leaf has a leading axis.

    `runs`: of both signs, leaves (2, ...), and for objectives that compare with it of the untrained
    theta as a third; `noise`: perturbation in force, (theta's size,); `xi`:
    sum of the perturbations of this run; `age`: truncations done, -1 before the first run of all;
    `over`: whether the next truncation begins a new run.
    """

    episode: Episode
    runs: Run
    noise: jax.Array
    xi: jax.Array
    age: jax.Array
    over: jax.Array


class TruncatedState(NamedTuple):
    """`pairs`: all antithetic pairs; `shelf`: runs to be resumed, of each pair."""

    pairs: Pair
    shelf: Shelf
    squares = ()


class ScaledState(NamedTuple):
    """A `TruncatedState` with `squares`, the family's running mean square, once for each pair.

    Apart, so that checkpoints of runs that keep none are as before.
    """

    pairs: Pair
    shelf: Shelf
    squares: Running


@dataclasses.dataclass(frozen=True)
class Truncated(Truncating, Antithetic, abc.ABC):
    """Base of the estimators that compare the two sides a truncation at a time.

    Args:
      resume: whether runs may be taken up again; see `Continuation`.
    """

    resume: Continuation = Continuation()

    @property
    @abc.abstractmethod
    def reuse(self) -> int:
        """Truncations that a draw of the perturbation lasts; 0: the whole run."""
        ...

    @property
    def horizon_range(self) -> tuple[int, int]:
        """To the longest run that may be taken up again, and one horizon more."""
        low, high = self.horizon
        return low, high + (self.resume.longest if self.resume.share else 0)

    def credit(self, pairs: Pair) -> jax.Array:
        """What the differences of the losses are multiplied with, (pairs, theta's size)."""
        return pairs.xi

    def carry(self, runs: Run) -> Run:
        """What of the runs (leaves (pairs, lanes, ...)) goes into the next truncation."""
        return runs

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> TruncatedState:
        """Blank pairs, all over."""
        noise = jnp.zeros(ravel_pytree(theta)[0].size)

        def fresh(key: jax.Array) -> Pair:
            return self._begin(problem, theta, key, noise, jnp.int32(0), jnp.array(True))

        pairs = self.blank(fresh, key)
        state, squares = TruncatedState(pairs, self.resume.shelf(pairs)), self.unmeasured
        if not squares:
            return state
        return typing.cast(TruncatedState, ScaledState(*state, _rows(squares, self.pairs)))

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: TruncatedState,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, TruncatedState]:
        """One estimate: one truncation of 2 `pairs` runs."""
        _, pair_key = jax.random.split(key)
        return self.average(self._block, problem, state, theta, pair_key, outer_step)

    def _block(
        self,
        rows: tuple[jax.Array, TruncatedState],
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[TruncatedState, MetaGrad]:
        """The pairs of one device: their next state, and sums over them."""
        index, state = rows
        flat, unravel = ravel_pytree(theta)
        state = self._renew(problem, theta, state, row_keys(key, index), outer_step)
        pairs = state.pairs
        noise = jnp.asarray(SIGNS)[None, :, None] * pairs.noise[:, None]
        thetas = jax.vmap(jax.vmap(lambda noise: unravel(flat + noise)))(noise)
        thetas = jax.vmap(lambda sides: problem.beside(sides, sides=True))(thetas)
        done = self.unroll(
            problem,
            pairs.episode,
            pairs.runs,
            thetas,
            outer_step,
            over=((0, 0, 0), *problem.axes(sides=True)),
        )
        squares = self.measure(done.losses, jax.tree.map(lambda x: x[0], state.squares))
        total = MetaGrad(
            grad=unravel(credited(self.weight(done.losses, squares), self.credit(pairs))),
            loss=done.losses.mean(1).sum(),
            inner_steps=jnp.asarray(float(self.truncation * done.runs.total.size)),
            nonfinite=jnp.sum(~problem.asked(done.runs.finite) & done.over[:, None]).astype(
                jnp.float32
            ),
        )
        pairs = pairs._replace(
            episode=done.episode, runs=self.carry(done.runs), age=pairs.age + 1, over=done.over
        )
        state = state._replace(pairs=pairs)
        if squares:
            state = state._replace(squares=_rows(squares, index.size))
        return state, total

    def _renew(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: TruncatedState,
        keys: jax.Array,
        outer_step: jax.Array,
    ) -> TruncatedState:
        """Begin a new run where one is over, and perturb."""
        pairs, shelf = state.pairs, state.shelf
        noise_keys = jax.vmap(lambda key: jax.random.split(key, 4)[1])(keys)
        noise = jax.vmap(lambda key: self.sigma * jax.random.normal(key, pairs.xi.shape[1:]))(
            noise_keys
        )

        def begin_where_over() -> tuple[Pair, Shelf]:
            def one(key: jax.Array, noise: jax.Array, old: Pair) -> Pair:
                return self._begin(problem, theta, key, noise, outer_step, old.age < 0)

            fresh = jax.vmap(one)(keys, noise, pairs)
            fresh, stored = self.resume.swap(keys, pairs, fresh, shelf)
            return where_rows(pairs.over, fresh, pairs), where_rows(pairs.over, stored, shelf)

        pairs, shelf = jax.lax.cond(jnp.any(pairs.over), begin_where_over, lambda: (pairs, shelf))
        redraw = pairs.age == 0
        if self.reuse:
            redraw = pairs.age % self.reuse == 0
        # A run that is resumed with its perturbation in force keeps it.
        noise = jnp.where(redraw[:, None], noise, pairs.noise)
        xi = pairs.xi + jnp.where(redraw[:, None], noise, 0.0)
        return state._replace(pairs=pairs._replace(noise=noise, xi=xi), shelf=shelf)

    def _begin(
        self,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        noise: jax.Array,
        outer_step: jax.Array,
        first: jax.Array,
    ) -> Pair:
        episode = self.begin(problem, key, outer_step, first)
        flat, unravel = ravel_pytree(theta)
        sides = jax.vmap(lambda sign: unravel(flat + sign * noise))(jnp.asarray(SIGNS))
        thetas = problem.beside(sides, sides=True)
        runs = start(problem, episode, thetas, outer_step, lanes=True)
        zero = jnp.zeros_like(noise)
        return Pair(episode, runs, zero, zero, jnp.zeros((), jnp.int32), jnp.array(False))


def _rows(tree: Any, rows: int) -> Any:
    """The same in so many rows."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (rows, *x.shape)), tree)
