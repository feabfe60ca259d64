"""Antithetic pairs that live on from estimate to estimate, one truncation at a time.

What PES, GPES/NRES, ES-Single and truncated ES share; each of their files says what it credits.
"""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from learned_opt import Theta
from learned_opt._fields import Steps
from learned_opt.devices import map_blocks

from .._horizons import whole_truncations
from .._unroll import Episode, MetaProblem, Run, advance, begin, finish, start
from ._base import SIGNS, Antithetic, MetaGrad
from ._resume import Resume, Shelf


class Pair(NamedTuple):
    """An antithetic pair between two truncations; in the state every leaf has a leading axis.

    `runs`: of both signs, leaves (2, ...); `noise`: perturbation in force, (theta's size,); `xi`:
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


@dataclasses.dataclass(frozen=True)
class Truncated(Antithetic, abc.ABC):
    """Base of the estimators that look at `truncation` steps at a time.

    Estimates are of the gradient of a whole run's meta-loss: those of a truncation times the mean
    number of truncations in a run. Horizons are whole numbers of truncations. A run that ends is
    replaced at the next outer step, outside the inner loop; no step is lost.

    Args:
      truncation: inner steps an estimate.
      stagger: the first horizon of each pair is cut to a random part, so that pairs do not march
        in step.
      resume: whether runs may be taken up again; see `Resume`.
    """

    row_state: ClassVar[bool] = True
    truncation: Steps = 20
    stagger: bool = True
    resume: Resume = Resume()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation, self.horizon)

    @property
    @abc.abstractmethod
    def reuse(self) -> int:
        """Truncations that a draw of the perturbation lasts; 0: the whole run."""
        ...

    def credit(self, pairs: Pair) -> jax.Array:
        """What the differences of the losses are multiplied with, (pairs, theta's size)."""
        return pairs.xi

    def carry(self, runs: Run) -> Run:
        """What of the runs (leaves (pairs, 2, ...)) goes into the next truncation."""
        return runs

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> TruncatedState:
        """Blank pairs, all over: the first estimate begins their runs."""
        size = ravel_pytree(theta)[0].size
        noise = jnp.zeros((self.pairs, size))

        def fresh(key: jax.Array) -> Pair:
            return self._begin(problem, theta, key, jnp.zeros(size), jnp.int32(0), jnp.array(True))

        keys = jax.random.split(key, self.pairs)
        pairs = jax.tree.map(blank, jax.eval_shape(jax.vmap(fresh), keys))
        pairs = pairs._replace(
            noise=noise,
            xi=jnp.zeros_like(noise),
            age=jnp.full(self.pairs, -1, jnp.int32),
            over=jnp.ones(self.pairs, bool),
        )
        return TruncatedState(pairs, self.resume.shelf(pairs))

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
        rows = (jnp.arange(self.pairs), state)
        state, total = map_blocks(
            problem.mesh, self._block, rows, problem, theta, pair_key, outer_step
        )
        scale = self.horizons.truncations(self.truncation, outer_step) / self.pairs
        grad, loss = jax.tree.map(lambda x: scale * x, (total.grad, total.loss))
        return MetaGrad(grad, loss, total.inner_steps, total.nonfinite), state

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
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
        state = self._renew(problem, theta, state, keys, outer_step)

        signs = jnp.asarray(SIGNS)
        noise = signs[None, :, None] * state.pairs.noise[:, None]
        thetas = jax.vmap(jax.vmap(lambda noise: unravel(flat + noise)))(noise)
        runs, losses = advance(
            problem, state.pairs.episode, state.pairs.runs, thetas, self.truncation, outer_step,
            over=((0, 0, 0), (None, 0, 0)),
        )  # fmt: skip
        episode = state.pairs.episode
        episode = episode._replace(t=episode.t + self.truncation)
        over = episode.t >= episode.horizon

        def ends() -> jax.Array:
            both = jax.vmap(lambda e, pair: jax.vmap(lambda run: finish(problem, e, run))(pair))
            return jnp.where(over[:, None], both(episode, runs), 0.0)

        # A branch, not a select: most truncations end no run.
        losses += jax.lax.cond(jnp.any(over), ends, lambda: jnp.zeros_like(losses))
        pairs = state.pairs._replace(
            episode=episode, runs=self.carry(runs), age=state.pairs.age + 1, over=over
        )
        total = MetaGrad(
            grad=unravel(self.weight(losses) @ self.credit(state.pairs)),
            loss=losses.mean(1).sum(),
            inner_steps=jnp.asarray(2.0 * self.truncation * index.size),
            nonfinite=jnp.sum(~runs.finite & over[:, None]).astype(jnp.float32),
        )
        return state._replace(pairs=pairs), total

    def _renew(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: TruncatedState,
        keys: jax.Array,
        outer_step: jax.Array,
    ) -> TruncatedState:
        """Begin a new run where one is over, and perturb."""
        pairs, shelf = state
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
        return TruncatedState(pairs._replace(noise=noise, xi=xi), shelf)

    def _begin(
        self,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        noise: jax.Array,
        outer_step: jax.Array,
        first: jax.Array,
    ) -> Pair:
        task_key, _, horizon_key, run_key = jax.random.split(key, 4)
        horizon = self.horizons.draw(horizon_key, outer_step)
        if self.stagger:
            part = jax.random.uniform(jax.random.fold_in(horizon_key, 1))
            horizon *= jnp.where(first, part, 1.0)
        steps = self.truncation * whole_truncations(horizon, self.truncation)
        task = problem.family.sample(task_key)
        episode = begin(problem.family, task, run_key, steps.astype(jnp.int32))
        flat, unravel = ravel_pytree(theta)

        def side(sign: jax.Array) -> Run:
            return start(problem, episode, unravel(flat + sign * noise), outer_step)

        runs = jax.vmap(side)(jnp.asarray(SIGNS))
        zero = jnp.zeros_like(noise)
        return Pair(episode, runs, zero, zero, jnp.zeros((), jnp.int32), jnp.array(False))


def check_truncation(truncation: int, horizon: tuple[int, int]) -> None:
    """ValueError if no run is as long as a truncation."""
    if truncation > horizon[1]:
        raise ValueError(
            f"truncation must be at most the longest horizon ({horizon[1]}), got {truncation}"
        )


def where_rows(chosen: jax.Array, yes: Any, no: Any) -> Any:
    """Rows of the tree `yes` where `chosen` (rows,), of `no` elsewhere."""

    def select(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(select, yes, no)


def blank(shape: jax.ShapeDtypeStruct) -> jax.Array:
    """Zeros, or one and the same key where keys belong."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), shape.shape)
    return jnp.zeros(shape.shape, shape.dtype)
