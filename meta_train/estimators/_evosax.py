"""Any strategy of evosax as a black-box meta-trainer on whole training runs.

Lange 2022, "evosax: JAX-based evolution strategies".
"""

import dataclasses
import difflib
import functools
import inspect
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from learned_opt import Theta
from learned_opt._extras import needs_extra
from learned_opt._fields import Line, Rate, Size, shown
from learned_opt.devices import map_lanes

from .._outer import Outer
from .._unroll import MetaProblem, unroll
from ._base import GradientEstimator, MetaGrad, Sigma


@functools.cache
def strategies() -> dict[str, tuple[type, bool]]:
    """Strategies of the evosax that is installed, by name, and whether they have a mean.

    All but the few that need arguments of their own.
    """
    # Not at the top: importing evosax starts JAX's devices, before their number can be set.
    with needs_extra("the estimator evosax"):
        from evosax import algorithms as known

    found = {name: (cls, False) for name, cls in known.population_based_algorithms.items()}
    found |= {name: (cls, True) for name, cls in known.distribution_based_algorithms.items()}
    return {name: row for name, row in found.items() if not _arguments(row[0])}


def _arguments(cls: type) -> list[str]:
    """Arguments without a default that are not those all strategies have."""
    parameters = inspect.signature(cls).parameters.values()
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.name not in ("population_size", "solution")
    ]


@functools.cache
def _refuses(strategy: str, population: int) -> str:
    """Why the strategy cannot work with so many members; "" if it can."""
    theta = {"x": np.zeros(2, np.float32)}

    def members(key: jax.Array) -> Any:
        algorithm = strategies()[strategy][0](population_size=population, solution=theta)
        params = algorithm.default_params
        if strategies()[strategy][1]:
            state = algorithm.init(key, theta, params)
        else:
            some = jax.tree.map(lambda x: jnp.zeros((population, *x.shape), x.dtype), theta)
            state = algorithm.init(key, some, jnp.arange(population, dtype=jnp.float32), params)
        return algorithm.ask(key, state, params)[0]

    try:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            (found,) = jax.tree.leaves(jax.eval_shape(members, jax.random.key(0)))
    except (AssertionError, ValueError, TypeError, ZeroDivisionError) as error:
        return " ".join(str(error).split()).rstrip(".")
    return "" if len(found.shape) == 2 and found.shape[0] == population else "it makes others"


class EvosaxState(NamedTuple):
    """`strategy`: evosax's own state; `params`: its settings."""

    strategy: Any
    params: Any


@dataclasses.dataclass(frozen=True)
class Evosax(GradientEstimator):
    """theta <- the strategy's mean (or best member) after `ask`, fitness, `tell`.

    The fitness of a member is the mean meta-loss of runs on `tasks` tasks, whole horizon, the same
    tasks, weights, data and horizons for all members of a generation. `grad` is the step that the
    strategy takes, theta - mean, to be followed with learning rate 1. Losses are capped, so no
    fitness is NaN.

    Args:
      strategy: a name among `strategies()`, for example "Open_ES", "SNES" or "CMA_ES".
      population: members a generation.
      tasks: training runs a member.
      sigma: standard deviation of the first generation.
      learning_rate: of Adam on the mean, for the strategies that step it by a gradient.
    """

    name: ClassVar[str] = "evosax"
    unit: ClassVar[str] = "population"
    outer: ClassVar[Outer | None] = None
    strategy: Line = "Open_ES"
    population: Size = 32
    tasks: Size = 1
    sigma: Sigma = 0.03
    learning_rate: Rate = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy not in strategies():
            close = difflib.get_close_matches(self.strategy, strategies(), n=1, cutoff=0.0)
            raise ValueError(
                f"strategy must be an algorithm of evosax, got {shown(self.strategy)}; "
                f"did you mean {close[0]!r}?"
            )
        why = _refuses(self.strategy, self.population)
        if why:
            others = (n for n in range(self.population + 1, self.population + 9))
            fits = next((n for n in others if not _refuses(self.strategy, n)), None)
            cure = f"; try {fits}" if fits else ""
            raise ValueError(
                f"population must suit {self.strategy}, got {self.population} ({why}){cure}"
            )

    @property
    def runs(self) -> int:
        """All members' tasks."""
        return self.population * self.tasks

    @property
    def batches(self) -> int:
        """One a task: all members see the same."""
        return self.tasks

    @property
    def untrained_runs(self) -> int:
        """One beside each run: members share nothing."""
        return self.runs

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> EvosaxState:
        """The strategy centred on theta."""
        algorithm, params = self._algorithm(theta)
        flat, unravel = ravel_pytree(theta)
        if strategies()[self.strategy][1]:
            state = algorithm.init(key, theta, params)
        else:
            noise = self.sigma * jax.random.normal(key, (self.population, flat.size))
            # Theta itself is a member. Until they are tried all are worse than any loss; by how
            # much must differ and be finite, for strategies that standardise.
            members = jax.vmap(unravel)(flat + noise.at[0].set(0.0))
            worse = 1e3 + jnp.arange(self.population, dtype=jnp.float32)
            state = algorithm.init(key, members, worse, params)
        # evosax returns weakly typed scalars, with which the second call compiles again.
        return jax.tree.map(_strong, EvosaxState(state, params))

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: EvosaxState,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, EvosaxState]:
        """One generation."""
        algorithm, _ = self._algorithm(theta)
        ask_key, tell_key, horizon_key, run_key = jax.random.split(key, 4)
        members, strategy = algorithm.ask(ask_key, state.strategy, state.params)
        horizon = jnp.round(self.horizons.draw(horizon_key, outer_step)).astype(jnp.int32)

        def member(theta, problem, key, horizon, outer_step):
            def run(index):
                task_key, run_key = jax.random.split(jax.random.fold_in(key, index))
                task = problem.family.sample(task_key)
                loss, run = unroll(
                    problem, task, theta, run_key, horizon=horizon, outer_step=outer_step
                )
                return loss, (~run.finite).astype(jnp.float32)

            losses, bad = jax.vmap(run)(jnp.arange(self.tasks))
            return losses.mean(), bad.sum()

        fitness, bad = map_lanes(
            problem.mesh, member, members, problem, run_key, horizon, outer_step
        )
        strategy, _ = algorithm.tell(tell_key, members, fitness, strategy, state.params)
        strategy = jax.tree.map(lambda new, old: _strong(new, old), strategy, state.strategy)
        if strategies()[self.strategy][1]:
            after = algorithm.get_mean(strategy)
        else:
            after = algorithm.get_best_solution(strategy)
        grad = jax.tree.map(lambda old, new: old - new, theta, after)
        runs = self.runs + problem.objective.untrained * self.untrained_runs
        spent = runs * horizon.astype(jnp.float32)
        return MetaGrad(grad, fitness.mean(), spent, bad.sum()), state._replace(strategy=strategy)

    def _algorithm(self, theta: Theta) -> tuple[Any, Any]:
        make, _ = strategies()[self.strategy]
        # Strategies differ in where they take these two from.
        wishes = {
            "optimizer": optax.adam(self.learning_rate),
            "std_schedule": optax.constant_schedule(self.sigma),
        }
        known = inspect.signature(make).parameters
        options = {name: wish for name, wish in wishes.items() if name in known}
        like = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), theta)
        # Settings are numbers, not traced: some strategies compute with them in NumPy.
        with jax.ensure_compile_time_eval():
            algorithm = make(population_size=self.population, solution=like, **options)
            params = algorithm.default_params
        if hasattr(params, "std_init"):
            params = params.replace(std_init=self.sigma)
        return algorithm, params


def _strong(x: Any, like: Any = None) -> jax.Array:
    """An array of the same (or the other's) type that no longer counts as a Python number."""
    x = jnp.asarray(x)
    dtype = x.dtype if like is None else like.dtype
    return (
        x if jnp.issubdtype(dtype, jax.dtypes.prng_key) else jax.lax.convert_element_type(x, dtype)
    )
