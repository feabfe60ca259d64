"""What a step costs at a load: jit with donated buffers, the same measurement for everyone."""

import contextlib
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt.tasks import EvalTask, inner_init, inner_step, parameter_count

from ..running import tree_bytes
from ._loads import LOADS

WARM_UP, ROUNDS, STEPS = 20, 5, 100


class Cost(NamedTuple):
    """Of one optimizer at one load.

    Attributes:
      step: microseconds of a whole training step, median over ROUNDS rounds.
      spread: interquartile range of these, microseconds.
      update: microseconds of the optimizer and of adding its update, on their own; median. None
        where that was not asked for, as the next and `update_temporary`.
      share: update / step. Both contain one call of a program, which tiny steps mostly are.
      state: bytes of the optimizer's state over bytes of the parameters.
      temporary: bytes that the compiled step allocates besides arguments and results; None where
        the backend does not say. `update_temporary`: the same of the update on its own.
      compile: seconds to trace and compile the step; in no other number.
      steps: training steps timed, over all rounds.
    """

    step: float
    spread: float
    update: float | None
    share: float | None
    state: float
    temporary: int | None
    update_temporary: int | None
    compile: float
    steps: int


class CostRow(NamedTuple):
    """A load: `costs` has one entry an optimizer.

    Attributes:
      network: name of the load.
      kind: of the network, "mlp" for example.
      parameters: their number.
      batch_size: examples a step.
      tokens: a step; None where the data are no text.
      device: what the steps ran on, for example "cpu (x86_64)".
    """

    network: str
    kind: str
    parameters: int
    batch_size: int
    tokens: int | None
    device: str
    costs: dict[str, Cost]


def measure_costs(
    optimizers: Mapping[str, optax.GradientTransformation],
    loads: Sequence[EvalTask] = LOADS,
    *,
    seconds: float = 1.0,
    devices: Sequence[Any] = (),
    updates: bool = False,
) -> tuple[CostRow, ...]:
    """Time training steps of every optimizer at every load.

    On one device of each kind that there is, the accelerator first.

    After WARM_UP steps come ROUNDS rounds of STEPS steps: fewer where a round would outlast
    `seconds`, but at least one. Rounds of the optimizers alternate, so that a busy machine disturbs
    all alike.

    Args:
      optimizers: complete ones, by name.
      loads: tasks; their horizons do not count.
      seconds: most that a round, and that the warm-up, should take.
      devices: instead of those.
      updates: time the update on its own too.
    """
    rows = []
    for device in devices or every_kind():
        for load in loads:
            size, batch = parameter_count(load.member), load.spec.batch_size
            data = load.family.data.spec
            tokens = batch * math.prod(data.shape) if data.kind == "text" else None
            costs = _time(load, optimizers, seconds, device, updates)
            label = device_label(device)
            rows.append(CostRow(load.name, load.network, size, batch, tokens, label, costs))
    return tuple(rows)


def every_kind() -> list[Any]:
    """One device of each kind: the first of the default ones, and the CPU where it may be used."""
    found = jax.devices()[:1]
    if found[0].platform != "cpu":
        with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS may leave it out
            found += jax.devices("cpu")[:1]
    return found


def device_label(device: Any) -> str:
    """For example "cpu (x86_64)"."""
    kind = platform.machine() if device.platform == "cpu" else device.device_kind
    return f"{device.platform} ({kind})"


def measure_step(
    task: EvalTask, optimizers: Mapping[str, optax.GradientTransformation], *, seconds: float = 1.0
) -> dict[str, float]:
    """Microseconds of a training step of this task, by optimizer; see `measure_costs`."""
    found = measure_task(task, optimizers, seconds=seconds)
    return {name: cost.step for name, cost in found.items()}


def measure_task(
    task: EvalTask, optimizers: Mapping[str, optax.GradientTransformation], *, seconds: float = 1.0
) -> dict[str, Cost]:
    """What a training step of this task costs, by optimizer; see `measure_costs`."""
    device = jax.devices()[0]
    return _time(task, optimizers, seconds, device, updates=False)


def _time(
    load: EvalTask,
    optimizers: Mapping[str, optax.GradientTransformation],
    seconds: float,
    device: Any,
    updates: bool,
) -> dict[str, Cost]:
    family, task = jax.device_put((load.family.without_test(), load.member), device)
    with jax.default_device(device):
        timers = {name: _Timer(family, task, tx, updates) for name, tx in optimizers.items()}
        for timer in timers.values():
            timer.warm_up(seconds)
        for _ in range(ROUNDS):
            for timer in timers.values():
                timer.round()
        return {name: timer.cost() for name, timer in timers.items()}


class _Timer:
    """Training steps of one optimizer; and its updates alone, if asked for."""

    def __init__(
        self, family: Any, task: Any, optimizer: optax.GradientTransformation, updates: bool
    ) -> None:
        tx, key = optax.with_extra_args_support(optimizer), jax.random.key(0)
        # A copy: the state is donated, and it holds the task, which all timers share.
        self.state = jax.tree.map(jnp.copy, inner_init(task, tx, key))
        self.arguments = (family, key)
        step = jax.jit(
            lambda state, family, key: inner_step(family, tx, state, key)[0], donate_argnums=0
        )
        tick = time.perf_counter()
        self.step = step.lower(self.state, *self.arguments).compile()
        self.compile_seconds = time.perf_counter() - tick
        self.update, self.carry = None, None
        if updates:
            # In place of gradients: time does not depend on values, and these need no program.
            self.grads = jax.tree.map(jnp.copy, self.state.params)
            self.carry = jax.tree.map(jnp.copy, (self.state.params, self.state.opt_state))
            update = jax.jit(_updating(tx), donate_argnums=0)
            self.update = update.lower(self.carry, self.grads).compile()
        params = _shapes(task)
        self.state_ratio = tree_bytes(jax.eval_shape(tx.init, params)) / tree_bytes(params)
        self.steps = STEPS
        self.step_times: list[float] = []
        self.update_times: list[float] = []

    def _advance(self, count: int) -> tuple[float, float]:
        """Seconds a step, and an update."""
        tick = time.perf_counter()
        for _ in range(count):
            self.state = self.step(self.state, *self.arguments)
        jax.block_until_ready(self.state)
        tock = time.perf_counter()
        if self.update:
            for _ in range(count):
                self.carry = self.update(self.carry, self.grads)
            jax.block_until_ready(self.carry)
        return (tock - tick) / count, (time.perf_counter() - tock) / count

    def warm_up(self, seconds: float) -> None:
        """WARM_UP steps, or as many as `seconds` allow; they set the length of a round."""
        times: list[float] = []
        while len(times) < WARM_UP and (not times or sum(times) < seconds):
            times.append(sum(self._advance(1)))
        self.steps = max(1, min(STEPS, int(seconds / np.median(times))))

    def round(self) -> None:
        step, update = self._advance(self.steps)
        self.step_times.append(1e6 * step)
        self.update_times.append(1e6 * update)

    def cost(self) -> Cost:
        low, mid, high = np.percentile(self.step_times, [25, 50, 75]).tolist()
        update = float(np.median(self.update_times)) if self.update else None
        return Cost(
            step=mid,
            spread=high - low,
            update=update,
            share=None if update is None else update / mid,
            state=self.state_ratio,
            temporary=_temporary(self.step),
            update_temporary=_temporary(self.update) if self.update else None,
            compile=self.compile_seconds,
            steps=self.steps * len(self.step_times),
        )


def _updating(tx: optax.GradientTransformationExtraArgs) -> Callable[[Any, Any], Any]:
    def update(carry: Any, grads: Any) -> Any:
        params, opt_state = carry
        updates, opt_state = tx.update(grads, opt_state, params, value=jnp.zeros(()))
        return optax.apply_updates(params, updates), opt_state

    return update


def _shapes(task: Any) -> Any:
    return jax.eval_shape(task.init, jax.random.key(0))


def _temporary(compiled: Any) -> int | None:
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)
