"""HyperAdam: Adam whose learning rate, decays, epsilon and schedule are what is learned.

Adam: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization". Its hyper-parameters as the
meta-parameters of the smallest learned optimizer: Metz et al. 2022, "Practical tradeoffs between
memory, compute, and performance in learned optimizers" (there: "LearnableAdam").
"""

import dataclasses
from collections.abc import Hashable
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._base import Theta
from .._fields import Scale, Share, Within
from ..parts._averages import Moments, init_moments
from ..parts._schedule import ramp_and_decay
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Now, Tensors

LOG_GAIN = 3.0
"""Logarithms of the learning rate and of 1 - b move this much faster than their entries."""

EPS_GAIN = 10.0
"""Of log eps, which must go through ten orders of magnitude before it matters."""

ROOM = (1e-7, 1 - 1e-6)
"""Range of 1 - b: at its ends plain averages, and no memory."""

EPS = (1e-12, 1e4)
"""Range of eps: at its ends too small to matter, and SGD."""

TINY = 1e-30
Decay = Annotated[float, Within(0, 1 - ROOM[0])]


@dataclasses.dataclass(frozen=True)
class HyperAdam(LearnedOptimizer):
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
    cheap: ClassVar[bool] = True
    learning_rate: Scale = 1e-3
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: Annotated[float, Within(*EPS)] = 1e-8
    warmup: Share = 0.05

    def init(self, key: jax.Array) -> Theta:
        """All shifts zero, whatever the key."""
        names = ("log_lr", "log_one_minus_b1", "log_one_minus_b2", "log_eps", "log_power")
        return {name: jnp.zeros((), jnp.float32) for name in names}

    def _peak(self, theta: Theta) -> Any:
        return self.learning_rate * jnp.exp(LOG_GAIN * theta["log_lr"])

    def _own_schedule(self, theta: Theta, peak: Any, total: Any) -> optax.Schedule:
        return ramp_and_decay(peak, jnp.exp(theta["log_power"]), self.warmup, total)

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Moments:
        return init_moments(zeros)

    def _accumulate(self, now: Now, kind: Hashable, old: Moments, g: jax.Array) -> Moments:
        room1, room2 = self._rooms(now.theta)
        return Moments(
            (1 - room1) * old.first + room1 * g, (1 - room2) * old.second + room2 * g * g
        )

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        room1, room2 = self._rooms(now.theta)
        eps = _moved(self.eps, EPS, EPS_GAIN * now.theta["log_eps"])
        scale1, scale2 = 1 / _gathered(room1, now.t + 1), 1 / _gathered(room2, now.t + 1)
        steps = [
            # Above zero, where the square root has a derivative.
            now.size * (scale1 * x.kept.first) / (jnp.sqrt(scale2 * x.kept.second + TINY) + eps)
            for x in stacks
        ]
        return Change(steps, None, now.memory)

    def _rooms(self, theta: Theta) -> tuple[jax.Array, jax.Array]:
        """1 - b1 and 1 - b2."""
        return (
            _moved(1 - self.b1, ROOM, LOG_GAIN * theta["log_one_minus_b1"]),
            _moved(1 - self.b2, ROOM, LOG_GAIN * theta["log_one_minus_b2"]),
        )


def _moved(initial: float, bounds: tuple[float, float], shift: jax.Array) -> jax.Array:
    """`initial` times exp(shift), kept within bounds; exactly `initial` at zero."""
    low, high = np.log(bounds[0] / initial), np.log(bounds[1] / initial)
    return initial * jnp.exp(jnp.clip(shift, float(low), float(high)))


def _gathered(room: jax.Array, t: jax.Array) -> jax.Array:
    """1 - b^t, the weight that an EMA from zero has gathered; exact where b rounds to 1."""
    return -jnp.expm1(t * jnp.log1p(-room))
