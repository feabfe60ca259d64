"""What a meta-gradient estimator is."""

from typing import Any, NamedTuple, Protocol

import jax

from learned_opt import Theta
from tasks import TaskFamily


class MetaGrad(NamedTuple):
    """An estimate of d E[meta-loss] / d theta.

    `grad`: the tree of theta; `loss`: mean meta-loss of the particles, log nats; `inner_steps`:
    training steps spent; `dropped`: antithetic pairs left out because they were not finite.
    """

    grad: Theta
    loss: jax.Array
    inner_steps: jax.Array
    dropped: jax.Array


class GradientEstimator(Protocol):
    """Estimates meta-gradients; frozen and hashable, so a static argument of the compiled step."""

    def init(self, family: TaskFamily, theta: Theta, key: jax.Array) -> Any:
        """The state carried from one outer step to the next (a pytree, maybe empty)."""
        ...

    def estimate(
        self, family: TaskFamily, theta: Theta, state: Any, key: jax.Array
    ) -> tuple[MetaGrad, Any]:
        """One estimate at theta."""
        ...
