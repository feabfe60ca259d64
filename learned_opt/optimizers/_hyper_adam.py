"""HyperAdam: Adam whose learning rate, decays, epsilon and schedule are what is learned.

Adam: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization". Its hyper-parameters as the
meta-parameters of the smallest learned optimizer: Metz et al. 2022, "Practical tradeoffs between
memory, compute, and performance in learned optimizers" (there: "LearnableAdam").
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._base import Theta, check_num_steps, zeros_for
from .._checks import STEP, check_fields
from .._guard import skip_nonfinite
from ..parts._schedule import ramp_and_decay

LOG_GAIN = 3.0
"""Logarithms of the learning rate and of 1 - b move this much faster than their entries."""

EPS_GAIN = 10.0
"""Of log eps, which must go through ten orders of magnitude before it matters."""

ROOM = (1e-7, 1 - 1e-6)
"""Range of 1 - b: at its ends plain averages, and no memory."""

EPS = (1e-12, 1e4)
"""Range of eps: at its ends too small to matter, and SGD."""

TINY = 1e-30


class HyperAdamState(NamedTuple):
    """`steps`: taken so far (int32 scalar); `momenta`, `seconds`: EMAs of g and g^2, each leaf's.

    Both are float32 and of the leaf's shape.
    """

    steps: jax.Array
    momenta: tuple[jax.Array, ...]
    seconds: tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True)
class HyperAdam:
    """Adam with five learned numbers, the smallest learned optimizer.

    At step t = 0, 1, ... of T, with m_hat and v_hat the bias-corrected EMAs of g and g^2::

        p <- p - a(t) m_hat / (sqrt(v_hat) + eps)
        a(t) = lr min(1, (t + 1) / (warmup T)) max(0, 1 - t/T)^power

    theta holds shifts, zero at initialisation, of log lr, log(1 - b1) and log(1 - b2) over 3, of
    log eps over 10 and of log power: one perturbation size suits all of them. At initialisation it
    is Adam with warm-up and linear decay; a large eps with lr in proportion makes it SGD with
    momentum. 1 - b stays within [1e-7, 1 - 1e-6], eps within [1e-12, 1e4].

    Args:
      learning_rate: lr, at initialisation.
      b1: decay of the EMA of g, at initialisation.
      b2: decay of the EMA of g^2, at initialisation.
      eps: at initialisation, in units of g.
      warmup: fraction of the run with linearly growing step size.

    Raises:
      ValueError: an argument out of its range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.HyperAdam()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> len(jax.tree.leaves(theta))
      5
      >>> tx = optimizer.transform(theta, num_steps=100)
    """

    name: ClassVar[str] = "hyper_adam"
    use: ClassVar[str] = (
        "A test oracle, and the row that says how much more than Adam's numbers was learned."
    )
    learning_rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    warmup: float = 0.05

    def __post_init__(self) -> None:
        decay = (0.0, 1 - ROOM[0])
        check_fields(self, learning_rate=STEP, b1=decay, b2=decay, eps=EPS, warmup=(0.0, 1.0))

    def init(self, key: jax.Array) -> Theta:
        """All shifts zero, whatever the key."""
        del key
        names = ("log_lr", "log_one_minus_b1", "log_one_minus_b2", "log_eps", "log_power")
        return {name: jnp.zeros((), jnp.float32) for name in names}

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """a(t) of the equation above, t = 0, 1, ..."""
        total = check_num_steps(num_steps)
        peak = self.learning_rate * jnp.exp(LOG_GAIN * theta["log_lr"])
        power = jnp.exp(theta["log_power"])
        return ramp_and_decay(peak, power, self.warmup, total)

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is a positive integer (or traced)."""
        step_size = self.schedule(theta, num_steps=num_steps)

        def init(params: optax.Params) -> HyperAdamState:
            # Every array a buffer of its own, so that a training step may donate the state.
            momenta, seconds = (
                tuple(zeros_for(p) for p in jax.tree.leaves(params)) for _ in range(2)
            )
            return HyperAdamState(jnp.zeros((), jnp.int32), momenta, seconds)

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, HyperAdamState]:
            del params, extra_args
            assert isinstance(state, HyperAdamState)
            room1 = _moved(1 - self.b1, ROOM, LOG_GAIN * theta["log_one_minus_b1"])
            room2 = _moved(1 - self.b2, ROOM, LOG_GAIN * theta["log_one_minus_b2"])
            eps = _moved(self.eps, EPS, EPS_GAIN * theta["log_eps"])
            t = state.steps.astype(jnp.float32) + 1
            scale1, scale2 = 1 / _gathered(room1, t), 1 / _gathered(room2, t)
            a = step_size(state.steps)
            grads, treedef = jax.tree.flatten(updates)
            steps, momenta, seconds = [], [], []
            for grad, m, v in zip(grads, state.momenta, state.seconds, strict=True):
                g = grad.astype(jnp.float32)
                m = jnp.where(accepted, (1 - room1) * m + room1 * g, m)
                v = jnp.where(accepted, (1 - room2) * v + room2 * g * g, v)
                # Above zero, where the square root has a derivative.
                step = a * (scale1 * m) / (jnp.sqrt(scale2 * v + TINY) + eps)
                steps.append(step.astype(grad.dtype))
                momenta.append(m)
                seconds.append(v)
            count = state.steps + jnp.where(accepted, 1, 0)
            return treedef.unflatten(steps), HyperAdamState(count, tuple(momenta), tuple(seconds))

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)


def _moved(initial: float, bounds: tuple[float, float], shift: jax.Array) -> jax.Array:
    """`initial` times exp(shift), kept within bounds; exactly `initial` at zero."""
    low, high = np.log(bounds[0] / initial), np.log(bounds[1] / initial)
    return initial * jnp.exp(jnp.clip(shift, float(low), float(high)))


def _gathered(room: jax.Array, t: jax.Array) -> jax.Array:
    """1 - b^t, the weight that an EMA from zero has gathered; exact where b rounds to 1."""
    return -jnp.expm1(t * jnp.log1p(-room))
