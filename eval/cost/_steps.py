"""What a step costs: one task, jit with donated buffers, the same measurement for everyone."""

import contextlib
import math
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt.tasks import EvalTask, FamilySpec, inner_init, inner_step
from learned_opt.tasks.problems import MLP

from ..running import tree_bytes

WARM_UP, ROUNDS, STEPS = 20, 5, 100

NETWORKS = {"10k": 69, "100k": 280, "1M": 960, "10M": 3124}
"""Name -> width w of a 64-w-w-10 MLP on digits, which has w^2 + 76 w + 10 parameters."""

BATCH_SIZES = (1, 32, 128, 1024)


class Cost(NamedTuple):
    """Of one optimizer on one network at one batch size.

    Attributes:
      step: microseconds of a whole training step, median over ROUNDS rounds.
      spread: interquartile range of these, microseconds.
      update: microseconds of the optimizer and of adding its update, on their own; median.
      share: update / step. Both contain one call of a program, which tiny steps mostly are.
      state: bytes of the optimizer's state over bytes of the parameters.
      temporary: bytes that the compiled step allocates besides arguments and results; None where
        the backend does not say. `update_temporary`: the same of the update on its own.
      compile: seconds to trace and compile the step; in no other number.
      steps: training steps timed, over all rounds.
    """

    step: float
    spread: float
    update: float
    share: float
    state: float
    temporary: int | None
    update_temporary: int | None
    compile: float
    steps: int


class CostRow(NamedTuple):
    """A network at a batch size: `parameters` is their number, `costs` has one entry an optimizer.

    `device`: what the steps ran on, for example "cpu (x86_64)".
    """

    network: str
    parameters: int
    batch_size: int
    device: str
    costs: dict[str, Cost]


def measure_costs(
    optimizers: Mapping[str, optax.GradientTransformation],
    networks: Mapping[str, int] = NETWORKS,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    seconds: float = 1.0,
    devices: Sequence[Any] = (),
) -> tuple[CostRow, ...]:
    """Time training steps of every optimizer, on every network at every batch size.

    On one device of each kind that there is, the accelerator first.

    After WARM_UP steps come ROUNDS rounds of STEPS steps: fewer where a round would outlast
    `seconds`, but at least one. Rounds of the optimizers alternate, so that a busy machine disturbs
    all alike.

    Args:
      optimizers: complete ones, by name.
      networks: name -> width.
      batch_sizes: examples a step.
      seconds: most that a round, and that the warm-up, should take.
      devices: instead of those.
    """
    rows = []
    for device in devices or every_kind():
        for network, width in networks.items():
            problem = MLP(max_width=width, widths=(width, width))
            for batch_size in batch_sizes:
                family = FamilySpec(problem, "digits", batch_size).build()
                task = family.member(width=width, depth=2, activation=0, gain=1.0)
                costs = _time(family, task, optimizers, seconds, device)
                size = sum(math.prod(p.shape) for p in jax.tree.leaves(_shapes(task)))
                rows.append(CostRow(network, size, batch_size, device_label(device), costs))
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
    device = jax.devices()[0]
    costs = _time(task.family.without_test(), task.member, optimizers, seconds, device)
    return {name: cost.step for name, cost in costs.items()}


def _time(
    family: Any,
    task: Any,
    optimizers: Mapping[str, optax.GradientTransformation],
    seconds: float,
    device: Any,
) -> dict[str, Cost]:
    family, task = jax.device_put((family, task), device)
    with jax.default_device(device):
        timers = {name: _Timer(family, task, tx) for name, tx in optimizers.items()}
        for timer in timers.values():
            timer.warm_up(seconds)
        for _ in range(ROUNDS):
            for timer in timers.values():
                timer.round()
        return {name: timer.cost() for name, timer in timers.items()}


class _Timer:
    def __init__(self, family: Any, task: Any, optimizer: optax.GradientTransformation) -> None:
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

        def loss(params: Any, model_state: Any) -> jax.Array:
            batch = family.batch(task, key, "train")
            return task.train_loss(params, model_state, batch, key)[0]

        self.grads = jax.jit(jax.grad(loss))(self.state.params, self.state.model_state)

        def update(carry: Any, grads: Any) -> Any:
            params, opt_state = carry
            updates, opt_state = tx.update(grads, opt_state, params, value=jnp.zeros(()))
            return optax.apply_updates(params, updates), opt_state

        self.carry = jax.tree.map(jnp.copy, (self.state.params, self.state.opt_state))
        self.update = jax.jit(update, donate_argnums=0).lower(self.carry, self.grads).compile()
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
        update = float(np.median(self.update_times))
        return Cost(
            step=mid,
            spread=high - low,
            update=update,
            share=update / mid,
            state=self.state_ratio,
            temporary=_temporary(self.step),
            update_temporary=_temporary(self.update),
            compile=self.compile_seconds,
            steps=self.steps * len(self.step_times),
        )


def _shapes(task: Any) -> Any:
    return jax.eval_shape(task.init, jax.random.key(0))


def _temporary(compiled: Any) -> int | None:
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)
