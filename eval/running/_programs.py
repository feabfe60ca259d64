"""Programs that training runs are made of, many runs a call: begin, advance, evaluate.

Where a run is evaluated, how long it is and what it is told are data. What evaluates does not know
the optimizer, so all optimizers share it.
"""

import functools
import time
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from learned_opt.devices import compiler_options, map_blocks, map_lanes
from learned_opt.tasks import InnerState, Split, begin_run, full_loss, run_step


class ProgramCache:
    """Compiled programs by kind; `compile_seconds`: spent on compiling so far.

    Args:
      function: jitted; its first arguments are static.
    """

    def __init__(self, function: Any) -> None:
        self.function, self.compile_seconds = function, 0.0
        self._compiled: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._compiled)

    def run(self, kind: Hashable, static: tuple[Any, ...], *arguments: Any) -> Any:
        """The function's results. A new kind is compiled, for arguments like these."""
        if kind not in self._compiled:
            tick = time.perf_counter()
            self._compiled[kind] = self.function.lower(*static, *arguments).compile()
            self.compile_seconds += time.perf_counter() - tick
        return self._compiled[kind](*arguments)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Compiled on demand; the first two arguments are static."""
    return jax.jit(function, static_argnums=(0, 1), compiler_options=compiler_options(), **options)


def begin(make: Callable[..., Any], mesh: Mesh, told: int | None, stacked: Any) -> Any:
    """Runs at step 0.

    Args:
      make, told: see `Runner`.
      stacked: task, hyper-parameters, seed, number of steps told, and epochs told or (); an entry
        a run.
    """

    def one(trial: Any) -> InnerState:
        task, hyper, seed, num_steps, epochs = trial
        tx = make(hyper, num_steps if told is None else told, *epochs)
        return begin_run(task, tx, jax.random.key(seed))

    return map_lanes(mesh, one, stacked)


def advance(
    make: Callable[..., Any],
    eval_params: Callable[..., Any],
    mesh: Mesh,
    told: int | None,
    stacked: Any,
    states: Any,
    bounds: jax.Array,
    family: Any,
) -> tuple[Any, Any, jax.Array]:
    """Runs taken from a step to a later one.

    Args:
      make, eval_params, told: see `Runner`; stacked: see `begin`.
      bounds: the two steps.

    Returns their states, what is to be evaluated, the mean of the minibatch losses.
    """

    def one(lane: Any, bounds: jax.Array, family: Any) -> Any:
        (_, hyper, seed, num_steps, epochs), state = lane
        tx = make(hyper, num_steps if told is None else told, *epochs)
        key, (start, end) = jax.random.key(seed), bounds

        def body(t: jax.Array, carry: Any) -> Any:
            state, total = carry
            state, loss = run_step(family, tx, state, key, t)
            return state, total + loss

        state, total = jax.lax.fori_loop(start, end, body, (state, jnp.zeros(())))
        judged = eval_params(state.opt_state, state.params), state.model_state
        return state, judged, total / (end - start).astype(total.dtype)

    return map_lanes(mesh, one, (stacked, states), bounds, family)


def evaluate(mesh: Mesh, split: Split, tasks: Any, judged: Any, family: Any) -> Any:
    """Loss and metrics of each run over a whole split.

    Args:
      tasks, judged: an entry a run; the latter are parameters and the model's state.
    """
    return _evaluation()(mesh, split, tasks, judged, family)


@functools.cache
def _evaluation() -> Any:
    return jit(_evaluate)


def _evaluate(mesh: Mesh, split: Split, tasks: Any, judged: Any, family: Any) -> Any:
    def one(lane: Any, family: Any) -> Any:
        task, (params, model_state) = lane
        return full_loss(family, task, params, split, model_state)

    def in_turn(lanes: Any, family: Any) -> Any:
        return jax.lax.map(lambda lane: one(lane, family), lanes), ()

    # A split fills a core by itself, and convolutions with weights of every lane are slow there.
    if jax.default_backend() == "cpu":
        return map_blocks(mesh, in_turn, (tasks, judged), family)[0]
    return map_lanes(mesh, one, (tasks, judged), family)
