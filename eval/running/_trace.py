"""What an optimizer does along a run: how long its steps are, and how far from Adam's.

Adam: Kingma & Ba 2015, "Adam: a method for stochastic optimization".
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt import skip_nonfinite
from learned_opt.devices import compiler_options
from learned_opt.tasks import EvalTask, begin_run, run_step

from ._trials import eval_steps


class Trace(NamedTuple):
    """Steps of one run; u is what was added to the parameters p, d Adam's step at learning rate 1.

    Rms is over all elements, so large tensors weigh most. NaN where a quantity is undefined: a
    division by zero, a diverged run.

    Attributes:
      steps: (points,) int, from 1 to the horizon.
      update_rms: rms(u), (points,).
      relative: rms(u) / rms(p), p before the step.
      effective_lr: rms(u) / rms(d).
      cosine: <u, d> / (|u| |d|).
    """

    steps: np.ndarray
    update_rms: np.ndarray
    relative: np.ndarray
    effective_lr: np.ndarray
    cosine: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """As in `report.json`; None where undefined."""
        columns = {
            name: [float(x) if np.isfinite(x) else None for x in getattr(self, name)]
            for name in self._fields[1:]
        }
        return {"steps": self.steps.tolist(), **columns}


def trace(task: EvalTask, tx: optax.GradientTransformation, *, seed: int) -> Trace:
    """Train once on a task, as `Runner` does under this seed, and watch the optimizer.

    d is the update of `optax.adam` at learning rate 1, in float32, its moments fed with the
    gradients that `tx` was given along its run. One that is not finite leaves them as they are.

    Args:
      task: trained for its horizon; measured at the steps of `eval_steps`.
      tx: a complete optimizer, told its horizon.
      seed: of initial weights and data order.
    """
    watched = watch(tx)
    steps = np.unique(eval_steps(task.horizon))

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def run(family: Any, member: Any) -> tuple[jax.Array, ...]:
        key = jax.random.key(seed)

        def body(state: Any, t: jax.Array) -> tuple[Any, tuple[jax.Array, ...]]:
            state, _ = run_step(family, watched, state, key, t)
            return state, state.opt_state.seen

        start = begin_run(member, watched, key)
        _, seen = jax.lax.scan(body, start, jnp.arange(task.horizon))
        return jax.tree.map(lambda column: column[steps - 1], seen)

    seen = jax.device_get(run(task.family.without_test(), task.member))
    return Trace(steps, *seen)


class WatchedState(NamedTuple):
    """State of the optimizer, of the Adam beside it, and what its last step was.

    `seen`: the columns of a `Trace` but for its steps, scalars.
    """

    inner: optax.OptState
    adam: optax.OptState
    seen: tuple[jax.Array, ...]


def watch(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The same updates as `tx`, each compared with Adam's; see `WatchedState`."""
    inner = optax.with_extra_args_support(tx)
    adam = skip_nonfinite(optax.with_extra_args_support(optax.scale_by_adam()))

    def init(params: Any) -> WatchedState:
        seen = (jnp.full((), jnp.nan),) * 4
        return WatchedState(inner.init(params), adam.init(_float32(params)), seen)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        ascent, adam_state = adam.update(_float32(updates), state.adam, _float32(params))
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        u, p, d = (jax.tree.leaves(_float32(tree)) for tree in (updates, params, ascent))
        size, adams = _rms(u), _rms(d)
        # Adam's step goes down.
        seen = (size, _ratio(size, _rms(p)), _ratio(size, adams), -_cosine(u, d))
        return updates, WatchedState(inner_state, adam_state, seen)

    return optax.GradientTransformationExtraArgs(init, update)


def _float32(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def _rms(leaves: list[jax.Array]) -> jax.Array:
    # Of multiples of the largest: the square of a float32 overflows from 1e19, vanishes from 1e-23.
    largest = functools.reduce(jnp.maximum, [jnp.abs(x).max() for x in leaves], jnp.zeros(()))
    unit = jnp.where(largest > 0, largest, 1.0)
    return unit * jnp.sqrt(_mean([(x / unit) ** 2 for x in leaves]))


def _cosine(a: list[jax.Array], b: list[jax.Array]) -> jax.Array:
    scale_a, scale_b = _rms(a), _rms(b)
    return _mean([_ratio(x, scale_a) * _ratio(y, scale_b) for x, y in zip(a, b, strict=True)])


def _mean(leaves: list[jax.Array]) -> jax.Array:
    """Over all elements of all leaves."""
    return sum((x.sum() for x in leaves), jnp.zeros(())) / sum(x.size for x in leaves)


def _ratio(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.where(y > 0, x / y, jnp.nan)
