"""What a step costs: one task, jit with donated buffers, the same measurement for everyone."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tasks import FamilySpec, inner_init, inner_step
from tasks.families import MLP

WARM_UP, ROUNDS, STEPS = 20, 5, 100

NETWORKS = {"small": 32, "1M": 960}
"""Name -> width of a 64-w-w-10 MLP on digits."""


class Cost(NamedTuple):
    """Of one optimizer on one network.

    `step`: microseconds of a whole training step, median of 5 rounds of 100; `spread`: their
    interquartile range; `update`: microseconds of the optimizer alone; `state`: bytes of its
    state over bytes of the parameters; `compile`: seconds, of the training step.
    """

    step: float
    spread: float
    update: float
    state: float
    compile: float


def measure_costs(
    optimizers: Mapping[str, optax.GradientTransformation],
    networks: Mapping[str, int] = NETWORKS,
    *,
    batch_size: int = 64,
    steps: int = STEPS,
) -> dict[str, dict[str, Any]]:
    """Network -> {"parameters": count, "costs": {optimizer: Cost}}.

    Rounds of `steps` steps of the optimizers alternate, so that a busy machine disturbs all alike.
    """
    results = {}
    for network, width in networks.items():
        problem = MLP(max_width=width, widths=(width, width))
        family = FamilySpec(problem, "digits", batch_size).build()
        task = family.member(width=width, depth=2, activation=0, gain=1.0)
        params = task.init(jax.random.key(0))
        timers = {
            name: _Timer(family, task, optax.with_extra_args_support(tx))
            for name, tx in optimizers.items()
        }
        for _ in range(ROUNDS):
            for timer in timers.values():
                timer.round(steps)
        results[network] = {
            "parameters": sum(x.size for x in jax.tree.leaves(params)),
            "costs": {name: timer.cost() for name, timer in timers.items()},
        }
    return results


class _Timer:
    def __init__(self, family: Any, task: Any, tx: optax.GradientTransformationExtraArgs) -> None:
        key = jax.random.key(0)
        # A copy: the state is donated, and it holds the task, which all timers share.
        self.state = jax.tree.map(jnp.copy, inner_init(task, tx, key))
        self.arguments = (family, key)
        step = jax.jit(
            lambda state, family, key: inner_step(family, tx, state, key)[0], donate_argnums=0
        )
        tick = time.perf_counter()
        self.step = step.lower(self.state, *self.arguments).compile()
        self.compile_seconds = time.perf_counter() - tick
        grad = jax.grad(lambda p: task.loss(p, family.batch(task, key, "train"), key)[0])
        self.grads = jax.jit(grad)(self.state.params)

        def update(carry: Any, grads: Any) -> Any:
            params, opt_state = carry
            updates, opt_state = tx.update(grads, opt_state, params, value=jnp.zeros(()))
            return optax.apply_updates(params, updates), opt_state

        carry = jax.tree.map(jnp.copy, (self.state.params, self.state.opt_state))
        compiled = jax.jit(update, donate_argnums=0).lower(carry, self.grads).compile()
        self.update, self.carry = compiled, carry
        sizes = [sum(x.nbytes for x in jax.tree.leaves(t)) for t in carry]
        self.state_ratio = sizes[1] / sizes[0]
        self.step_times: list[float] = []
        self.update_times: list[float] = []
        self._advance(WARM_UP)

    def _advance(self, count: int) -> tuple[float, float]:
        tick = time.perf_counter()
        for _ in range(count):
            self.state = self.step(self.state, *self.arguments)
        jax.block_until_ready(self.state)
        tock = time.perf_counter()
        for _ in range(count):
            self.carry = self.update(self.carry, self.grads)
        jax.block_until_ready(self.carry)
        return (tock - tick) / count, (time.perf_counter() - tock) / count

    def round(self, steps: int) -> None:
        step, update = self._advance(steps)
        self.step_times.append(1e6 * step)
        self.update_times.append(1e6 * update)

    def cost(self) -> Cost:
        low, mid, high = np.percentile(self.step_times, [25, 50, 75])
        return Cost(
            step=float(mid),
            spread=float(high - low),
            update=float(np.median(self.update_times)),
            state=self.state_ratio,
            compile=self.compile_seconds,
        )
