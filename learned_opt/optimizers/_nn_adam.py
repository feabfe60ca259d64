"""NN-Adam: an LSTM that reads each tensor's statistics moves its Adam hyper-parameters.

Metz, Maheswaranathan, Freeman, Poole, Sohl-Dickstein 2020, "Tasks, stability, architecture, and
compute: Training more effective learned optimizers, and using them to train themselves"; features,
scales and ranges are those of "nn_adam" in google/learned_optimization. LSTM: Zaremba et al. 2014.
"""

import dataclasses
from collections.abc import Hashable
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._base import Shape, Theta, shaped
from .._fields import Share, Width, Within
from ..layouts._layouts import AxesLike
from ..parts._averages import Moments, init_moments
from ..parts._networks import init_linear, linear, lstm_cell
from ..parts._per_param import mean_each
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Kept, Now, Tensors
from ..transformation._stacks import facts, gather
from ..transformation._transformation import as_transformation

LOG_GAIN = 10.0
"""Hyper-parameters are stored, shown to the LSTM and moved as logarithms over this."""

LOWEST = np.array([1e-8, np.exp(-10), np.exp(-10), 1e-11])
HIGHEST = np.array([1e3, 1, 1, 1e4])
"""Ranges of lr, 1 - b1, 1 - b2, eps: in this order everywhere."""

Decay = Annotated[float, Within(0, 1 - np.exp(-10).item())]
CONTROLS = 4
FEATURES = 19
LARGEST_GRADIENT = 1000.0


class Hyper(NamedTuple):
    """What is remembered of n tensors, float32.

    `shifts`: (n, 4), how far log lr, log(1 - b1), log(1 - b2) and log eps are from the
    constructor's, over 10; `hidden`, `cell`: (n, hidden) of the LSTM.
    """

    shifts: jax.Array
    hidden: jax.Array
    cell: jax.Array


@dataclasses.dataclass(frozen=True)
class NNAdam(LearnedOptimizer):
    """Adam whose hyper-parameters an LSTM moves, for each tensor by itself; 6,856 meta-parameters.

    For a tensor p with the gradient g, clipped to +-1000, and x = log(lr, 1 - b1, 1 - b2, eps)::

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2    (from zero, uncorrected)
        p <- p - lr (1 + eps) m / (eps + sqrt(v + 1e-10))
        x <- clip(x + 10 output_scale Linear(LSTM(features)))

    The factor 1 + eps makes a large eps SGD with momentum at the same lr. What the LSTM says is
    heard from the next step on. Its 19 features, with z = clip(log(1e-8 + |.|), -5, 5) / 2: x / 50;
    +-1 for a vector and for a scalar; z and sign of the means of m, v, g and p (before the step);
    z of the mean of |g|; z of the variances of m, v, g and p. The scales are absolute, so the rule
    knows the scale of the loss. lr stays in [1e-8, 1e3], b in [0, 1 - e^-10], eps in [1e-11, 1e4].

    All tensors are the rows of one matrix for the LSTM. At initialisation its last layer is zero:
    Adam without bias correction. There is no horizon: `num_steps` may be left out and changes
    nothing.

    Unlike the published code, theta and the state hold x as shifts from the constructor's values,
    zero at initialisation, and are clipped there. That is equal but for rounding: the published
    one stores log(1 - b) through b in float32, which loses small moves of b close to one.

    Args:
      hidden: width of the LSTM.
      output_scale: scale of the moves of x / 10.
      learning_rate: lr, at initialisation and at a run's first step.
      b1: decay of the EMA of g, likewise.
      b2: decay of the EMA of g^2, likewise.
      eps: likewise, in units of g.

    Raises:
      ValueError: an argument out of its range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.NNAdam()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      6856
      >>> tx = optimizer.transform(theta)
    """

    name: ClassVar[str] = "nn_adam"
    use: ClassVar[str] = (
        "Hyper-parameters that move during a run, at some three times Adam's update."
    )
    horizon_free = True
    hidden: Width = 32
    output_scale: Share = 0.01
    learning_rate: Annotated[float, Within(1e-8, 1e3)] = 1e-4
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: Annotated[float, Within(1e-11, 1e4)] = 1e-8

    def init(self, key: jax.Array) -> Theta:
        """LSTM: truncated normal over sqrt(fan-in), zero state; zero shifts, biases, last layer."""
        h = self.hidden
        return {
            "shifts": jnp.zeros(CONTROLS, jnp.float32),
            "hidden": jnp.zeros(h, jnp.float32),
            "cell": jnp.zeros(h, jnp.float32),
            "lstm": init_linear(key, FEATURES + h, 4 * h),
            "controls": {
                "w": jnp.zeros((h, CONTROLS), jnp.float32),
                "b": jnp.zeros(CONTROLS, jnp.float32),
            },
        }

    def _peak(self, theta: Theta) -> Any:
        """lr as a run begins, at any time."""
        return self._hyper(theta["shifts"].astype(jnp.float32)[None])[0, 0]

    def transform(
        self,
        theta: Theta,
        *,
        num_steps: Any = None,
        schedule: Shape = None,
        axes: AxesLike = None,
        **options: Any,
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is None, a positive integer or traced.

        lr is multiplied by `schedule`.
        """
        self._total(num_steps)
        return as_transformation(self, theta, shaped(1.0, schedule), axes=axes, **options)

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Moments:
        return init_moments(zeros)

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        rows = (
            jnp.zeros((tensors, theta[k].size)) + theta[k][None]
            for k in ("shifts", "hidden", "cell")
        )
        return Kept(Hyper(*rows), ())

    def _accumulate(self, now: Now, kind: Hashable, old: Moments, g: jax.Array) -> Moments:
        # The decays are the tensor's own: see `_update`.
        return old

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        theta, (shifts, hidden, cell) = now.theta, now.memory.tensors
        hyper = self._hyper(shifts)
        rows = [
            x.stack.map(_update_tensor, x.stack.each(hyper), x.g, x.p, x.before()) for x in stacks
        ]
        steps, kept, statistics = zip(*rows, strict=True)
        groups = [x.stack for x in stacks]
        ranks = facts(groups, lambda x: (len(x.shape),))[:, 0]
        logs = jnp.asarray(np.log(self._initial) / LOG_GAIN, jnp.float32) + shifts
        features = _features(logs, ranks, gather(groups, statistics))
        gates = linear(theta["lstm"], jnp.concatenate([features, hidden], axis=1))
        hidden, cell = lstm_cell(gates, cell)
        moves = self.output_scale * linear(theta["controls"], hidden)
        shifts = jnp.clip(shifts + moves, *self._bounds)
        steps = [now.size * step for step in steps]
        return Change(steps, list(kept), Kept(Hyper(shifts, hidden, cell), ()))

    @property
    def _initial(self) -> np.ndarray:
        return np.array([[self.learning_rate, 1 - self.b1, 1 - self.b2, self.eps]])

    @property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest shifts, (1, 4) each."""
        low, high = (np.log(end[None] / self._initial) / LOG_GAIN for end in (LOWEST, HIGHEST))
        return low.astype(np.float32), high.astype(np.float32)

    def _hyper(self, shifts: jax.Array) -> jax.Array:
        """lr, 1 - b1, 1 - b2, eps of shifts (n, 4); the constructor's exactly where zero."""
        ratio = jnp.exp(LOG_GAIN * jnp.clip(shifts, *self._bounds))
        return jnp.asarray(self._initial, jnp.float32) * ratio


def _update_tensor(
    hyper: jax.Array, g: jax.Array, p: jax.Array, old: Moments
) -> tuple[jax.Array, Moments, jax.Array]:
    """Step, averages, and (9,) the means of m, v, g, p, |g|, then the variances of m, v, g, p."""
    lr, room1, room2, eps = hyper
    g = jnp.clip(g, -LARGEST_GRADIENT, LARGEST_GRADIENT)
    m = (1 - room1) * old.first + room1 * g
    v = (1 - room2) * old.second + room2 * g * g
    step = lr * (1 + eps) * m / (eps + jnp.sqrt(v + 1e-10))
    arrays = [m, v, g, p]
    means = mean_each([*arrays, jnp.abs(g)])
    deviations = [x - mean for x, mean in zip(arrays, means[:4], strict=True)]
    variances = mean_each([x * x for x in deviations])
    return step, Moments(m, v), jnp.concatenate([means, variances])


def _features(logs: jax.Array, ranks: np.ndarray, statistics: jax.Array) -> jax.Array:
    """(n, 19) in the published order, which is that of the published features' names."""
    lr, b1, b2, eps = (logs / 5).T
    sizes = jnp.clip(jnp.log(1e-8 + jnp.abs(statistics)), -5.0, 5.0) / 2
    m, v, g, p, size_g, var_m, var_v, var_g, var_p = sizes.T
    sign_m, sign_v, sign_g, sign_p = jnp.sign(statistics[:, :4]).T
    vector, scalar = (jnp.asarray(np.where(ranks == r, 1, -1), jnp.float32) for r in (1, 0))
    columns = [b1, b2, eps, vector, scalar, lr, g, sign_g, size_g, m, sign_m, p, sign_p, v, sign_v]
    return jnp.stack([*columns, var_g, var_m, var_p, var_v], axis=1)
