"""What training runs cost, timed on a few steps of them: before anything long begins."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from learned_opt.devices import compiler_options, device_mesh, map_lanes

from ._base import TaskFamily
from ._inner import begin_run, full_loss, run_step

SECONDS = 1.0
"""What the timed steps should take, and at most MOST of them at a time, at least one."""

MOST = 100


@dataclasses.dataclass(frozen=True)
class Timed:
    """So many runs in one call: seconds of a training step of all, and of an evaluation of all.

    `compiling`, `compiling_evaluation`: seconds; `memory`: bytes that the call fills.
    """

    width: int
    step: float
    evaluation: float
    compiling: float
    compiling_evaluation: float
    memory: int


class TimedRuns:
    """So many runs of a task in one call, compiled; `timed` then times them.

    Args:
      family, member: the task.
      tx: what trains.
      width: runs.
      eval_params: (state of the optimizer, parameters) -> the parameters that are evaluated.
    """

    def __init__(
        self,
        family: TaskFamily,
        member: Any,
        tx: optax.GradientTransformationExtraArgs,
        width: int,
        eval_params: Callable[[Any, Any], Any] = lambda opt_state, params: params,
    ) -> None:
        mesh, self.width, self.family = device_mesh(width), width, family

        def begin(key: jax.Array) -> Any:
            return key, begin_run(member, tx, key)

        def advance(row: Any, start: jax.Array, end: jax.Array, family: Any) -> Any:
            key, state = row

            def body(t: jax.Array, state: Any) -> Any:
                return run_step(family, tx, state, key, t)[0]

            return key, jax.lax.fori_loop(start, end, body, state)

        def evaluate(row: Any, family: Any) -> Any:
            _, state = row
            params = eval_params(state.opt_state, state.params)
            return full_loss(family, member, params, "outer_valid", state.model_state)[0]

        def lanes(one: Callable[..., Any], **options: Any) -> Any:
            every = functools.partial(map_lanes, mesh, one)
            return jax.jit(every, compiler_options=compiler_options(), **options)

        self.rows = lanes(begin)(jax.random.split(jax.random.key(0), width))
        zero = jnp.int32(0)
        self.step, self.compiling = _compiled(
            lanes(advance, donate_argnums=0), self.rows, zero, zero, self.family
        )
        self.look, self.compiling_look = _compiled(lanes(evaluate), self.rows, self.family)

    def timed(self) -> Timed:
        """Time steps twice, SECONDS in all, and two evaluations: the faster counts."""
        seconds = min(self._advance(1), self._advance(1))
        steps = max(1, min(MOST, int(SECONDS / 2 / seconds)))
        return Timed(
            width=self.width,
            step=min(self._advance(steps), self._advance(steps)) / steps,
            evaluation=min(self._evaluate(), self._evaluate()),
            compiling=self.compiling,
            compiling_evaluation=self.compiling_look,
            memory=max(map(_filled, (self.step, self.look))),
        )

    def _advance(self, steps: int) -> float:
        tick = time.perf_counter()
        self.rows = self.step(self.rows, jnp.int32(0), jnp.int32(steps), self.family)
        jax.block_until_ready(self.rows)
        return time.perf_counter() - tick

    def _evaluate(self) -> float:
        tick = time.perf_counter()
        jax.block_until_ready(self.look(self.rows, self.family))
        return time.perf_counter() - tick


def _compiled(function: Any, *arguments: Any) -> tuple[Any, float]:
    tick = time.perf_counter()
    made = function.lower(*arguments).compile()
    return made, time.perf_counter() - tick


def _filled(compiled: Any) -> int:
    """Bytes of a program's arguments, results and what it needs in between."""
    found = compiled.memory_analysis()
    if found is None:
        return 0
    sizes = (found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes)
    return int(sum(sizes) - found.alias_size_in_bytes)
