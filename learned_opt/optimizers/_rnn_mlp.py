"""RNN-MLP: an LSTM for each tensor that steers a network which sees each element.

Metz, Maheswaranathan, Freeman, Poole, Sohl-Dickstein 2020, "Tasks, stability, architecture, and
compute: Training more effective learned optimizers, and using them to train themselves".
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import rsqrt

from .._base import Theta, check_free_num_steps
from .._checks import DEPTH, STEP, WIDTH, check_fields
from .._guard import skip_nonfinite
from ..parts._adam import gathered
from ..parts._elements import TIME_SCALES, dense
from ..parts._lstm import init_layers, init_linear, linear, lstm_cell
from ..parts._statistics import (
    TensorAverages,
    init_tensor,
    see_gradient,
    shape_statistics,
    tensor_statistics,
)
from ..parts._two_losses import LossAverages, init_losses, see_losses

CLIP_DECAY, CLIP_RATIO = 0.99, 10.0
LARGEST = 5.0
"""Bound of the logarithms that the LSTM sees."""

NUM_STATISTICS, NUM_ELEMENT, NUM_CONTEXT = 18, 23, 14
"""Inputs: of the LSTM; of the element network that vary in a tensor, and that do not."""


class RNNMLPState(NamedTuple):
    """All float32 but `steps`; n is the number of tensors.

    `steps`: taken so far (int32 scalar); `losses`: their averages; `clip`: EMA of the size of the
    gradient (scalar); `hidden`, `cell`: of the LSTM, (n, lstm_size); `from_mlp`: (n, from_mlp);
    `from_lstm`: (from_lstm,); `tensors`: a `TensorAverages` for every leaf.
    """

    steps: jax.Array
    losses: LossAverages
    clip: jax.Array
    hidden: jax.Array
    cell: jax.Array
    from_mlp: jax.Array
    from_lstm: jax.Array
    tensors: tuple[TensorAverages, ...]


@dataclasses.dataclass(frozen=True)
class RNNMLP:
    """The published RNN-MLP optimizer, 35,799 meta-parameters at its defaults.

    For tensor j at step t = 0, 1, ..., with L a linear layer each::

        h_j, c_j   = LSTM([statistics_j, losses, from_mlp_j, from_lstm]; h_j, c_j)
        d, mu, y   = MLP([features / rms, context_j, L(h_j)])          for every element
        p_j        <- p_j - step_multiplier d exp(magnitude mu)
        from_mlp_j <- mean of y over the tensor,  from_lstm <- mean of L(h_j) over the tensors

    Gradients are first clipped to +-10 times the mean of their past size, an EMA of decay .99 of
    sqrt(1e-8 + mean over tensors of mean g^2) that starts as if one step of size 1 had been seen.
    m_k and v_k are EMAs of g and g^2 with decays .5, .9, .99, .999, .9999, uncorrected. With
    log'(x) = clip(log(1e-8 + |x|), -5, 5):

    - statistics (18): log' of the means of m, v, p, of their variances, of |p| and |g| (Euclidean
      norms); signs of the three means; 1 for a scalar, else -1; log(n) - 1 of four dimensions;
      the two loss features. m and v count all five decays together.
    - features (23): g, p, log(|p| + 1e-8), m_k, v_k, m_k / sqrt(v_k + 1e-6), 1 / sqrt(v_k + 1e-6);
      rms = sqrt(1e-5 + mean square over the tensor).
    - context (14): sin(t / (pi tau)), tau = 1, 3, 10, ..., 100,000; log(tensors) - 1;
      log(|p| + 1e-8); log(elements).
    - loss features: (l - M) / sqrt(S + 1e-8) in +-5, with l the train loss or the mean of the
      validation losses (decay .95), M and S bias-corrected EMAs of decay .9 of the train loss and
      of (M - loss)^2.

    `update` takes two losses by keyword, scalars: `value`, the train loss of this step, and
    `valid_value`, a validation loss, in the steps that have one. Either may be left out or not
    finite (so that a compiled loop can pass NaN): its average then stays as it was. A loss feature
    is zero, "no news", where `value` is missing, the validation one also before the first
    validation loss. There is no horizon: `num_steps` may be left out and changes nothing.

    The sizes, features and constants are those of the authors' implementation (Google's
    learned_optimization, `rnn_mlp_lopt`). Chosen here: M is corrected in S too (there S is of
    deviations from the uncorrected mean, which for early losses is near zero); the zero features
    above (there a missing train loss is an error, and before a first validation loss that loss
    counts as 0); validation losses do not advance the time; of a tensor of more than four
    dimensions, the fourth and later count as one; lists of features are in the order given here.

    Args:
      hidden: width of the element network's hidden layers.
      layers: their number.
      lstm_size: width of the LSTM.
      from_mlp: numbers that the element network sends to its tensor's LSTM.
      from_lstm: numbers that the LSTMs send to each other.
      to_mlp: numbers that the LSTM sends to the element network.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's output.

    Raises:
      ValueError: an argument out of its range; at `update`, a loss that is not a scalar.

    Example:
      >>> import jax, jax.numpy as jnp, learned_opt
      >>> from learned_opt import RNNMLP
      >>> optimizer = RNNMLP()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      35799
      >>> tx, params = optimizer.transform(theta), {"w": jnp.ones((3, 2))}
      >>> steps, state = tx.update(params, tx.init(params), params, value=2.0, valid_value=2.5)
      >>> steps["w"].shape
      (3, 2)
    """

    name: ClassVar[str] = "rnn_mlp"
    use: ClassVar[str] = (
        "A rule that sees training and validation loss, where cost does not matter."
    )
    hidden: int = 32
    layers: int = 2
    lstm_size: int = 64
    from_mlp: int = 16
    from_lstm: int = 18
    to_mlp: int = 17
    step_multiplier: float = 0.001
    magnitude: float = 0.001

    def __post_init__(self):
        check_fields(
            self,
            hidden=WIDTH,
            layers=DEPTH,
            lstm_size=WIDTH,
            from_mlp=WIDTH,
            from_lstm=WIDTH,
            to_mlp=WIDTH,
            step_multiplier=STEP,
            magnitude=(0.0, 1.0),
        )

    def init(self, key: jax.Array) -> Theta:
        """Truncated normal weights over sqrt(fan-in), also of messages; zero biases and memory."""
        inputs = NUM_STATISTICS + self.from_mlp + self.from_lstm + self.lstm_size
        widths = [NUM_ELEMENT + NUM_CONTEXT + self.to_mlp, *[self.hidden] * self.layers]
        widths += [2 + self.from_mlp]
        first, keys = jnp.split(jax.random.split(key, self.layers + 6), [self.layers + 1])
        from_mlp, from_lstm, gates, to_lstm, to_mlp = keys
        return {
            "initial": {
                "hidden": jnp.zeros(self.lstm_size, jnp.float32),
                "cell": jnp.zeros(self.lstm_size, jnp.float32),
                "from_mlp": init_linear(from_mlp, self.from_mlp, 1)["w"][:, 0],
                "from_lstm": init_linear(from_lstm, self.from_lstm, 1)["w"][:, 0],
            },
            "lstm": init_linear(gates, inputs, 4 * self.lstm_size),
            "lstm_to_lstm": init_linear(to_lstm, self.lstm_size, self.from_lstm),
            "lstm_to_mlp": init_linear(to_mlp, self.lstm_size, self.to_mlp),
            "mlp": init_layers(first, widths),
        }

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """`step_multiplier`, at any time."""
        check_free_num_steps(num_steps)
        return lambda count: jnp.asarray(self.step_multiplier)

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is None, a positive integer or traced."""
        check_free_num_steps(num_steps)

        def init(params: optax.Params) -> RNNMLPState:
            leaves = jax.tree.leaves(params)
            hidden, cell, from_mlp = (
                # A sum, for a buffer of its own: a training step may donate the state.
                jnp.zeros((len(leaves), 1)) + theta["initial"][k][None]
                for k in ("hidden", "cell", "from_mlp")
            )
            return RNNMLPState(
                steps=jnp.zeros((), jnp.int32),
                losses=init_losses(),
                clip=jnp.asarray(1 - CLIP_DECAY, jnp.float32),
                hidden=hidden,
                cell=cell,
                from_mlp=from_mlp,
                from_lstm=jnp.zeros(self.from_lstm) + theta["initial"]["from_lstm"],
                tensors=tuple(init_tensor(p) for p in leaves),
            )

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            value: Any = None,
            valid_value: Any = None,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, RNNMLPState]:
            del extra_args
            assert isinstance(state, RNNMLPState)
            grads, treedef = jax.tree.flatten(updates)
            if not grads:
                return updates, state
            values = [_loss("value", value), _loss("valid_value", valid_value)]
            found, new = _update(
                self, theta, values, accepted, grads, jax.tree.leaves(params), state
            )
            return treedef.unflatten(found), new

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)


def _loss(name: str, given: Any) -> jax.Array:
    """A scalar, NaN for None; ValueError that calls it `name` where it is not a scalar."""
    if given is not None and jnp.ndim(given) != 0:
        raise ValueError(
            f"{name} must be a loss, a scalar, got an array of shape {jnp.shape(given)}; "
            "pass its mean"
        )
    return jnp.asarray(jnp.nan if given is None else given).astype(jnp.float32)


# Compiled by itself only where the caller compiles nothing: then one call instead of hundreds.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _update(
    optimizer: RNNMLP,
    theta: Theta,
    values: list[jax.Array],
    accepted: Any,
    grads: list[jax.Array],
    params: list[jax.Array],
    old: RNNMLPState,
) -> tuple[list[jax.Array], RNNMLPState]:
    t = old.steps.astype(jnp.float32)
    losses, loss_features = see_losses(old.losses, *values)
    clip, gs = _clip(old.clip, t + 1, [g.astype(jnp.float32) for g in grads])
    ps = [p.astype(jnp.float32) for p in params]
    tensors = [
        jax.tree.map(lambda new, old: jnp.where(accepted, new, old), see_gradient(acc, g), acc)
        for acc, g in zip(old.tensors, gs, strict=True)
    ]
    raw = jnp.stack([tensor_statistics(*x) for x in zip(gs, ps, tensors, strict=True)])
    n = len(gs)
    inputs = [
        jnp.clip(jnp.log(1e-8 + jnp.abs(raw)), -LARGEST, LARGEST),
        jnp.sign(raw[:, :3]),
        np.array([shape_statistics(g.shape) for g in gs], np.float32),
        jnp.broadcast_to(loss_features, (n, 2)),
        old.from_mlp,
        jnp.broadcast_to(old.from_lstm, (n, optimizer.from_lstm)),
        old.hidden,
    ]
    hidden, cell = lstm_cell(linear(theta["lstm"], jnp.concatenate(inputs, 1)), old.cell)
    to_lstm, to_mlp, net = theta["lstm_to_lstm"], theta["lstm_to_mlp"], theta["mlp"]
    from_lstm = jnp.mean(hidden, 0) @ to_lstm["w"] + to_lstm["b"]
    times = jnp.sin(t / (np.asarray(TIME_SCALES, np.float32) * np.float32(np.pi)))
    context = [
        jnp.broadcast_to(times, (n, len(TIME_SCALES))),
        jnp.full((n, 1), np.log(n) - 1, jnp.float32),
        jnp.log(raw[:, 6:7] + 1e-8),
        np.log([[g.size] for g in gs]).astype(np.float32),
        hidden @ to_mlp["w"] + to_mlp["b"][None],
    ]
    bias = jnp.concatenate(context, 1) @ net["w1"][NUM_ELEMENT:] + net["b1"][None]
    found, means = [], []
    for j, (g, p, acc) in enumerate(zip(gs, ps, tensors, strict=True)):
        step, mean = _elements(optimizer, net, bias[j], g, p, acc)
        found.append(step.astype(grads[j].dtype))
        means.append(mean)
    last = optimizer.layers + 1
    from_mlp = jnp.stack(means) @ net[f"w{last}"][:, 2:] + net[f"b{last}"][None, 2:]
    new = RNNMLPState(old.steps + 1, losses, clip, hidden, cell, from_mlp, from_lstm, ())
    new = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), new, old._replace(tensors=()))
    return found, new._replace(tensors=tuple(tensors))


def _clip(
    average: jax.Array, count: jax.Array, grads: list[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """The next average size of a gradient, and the clipped gradients; `average` is of `count`."""
    bound = CLIP_RATIO * average / gathered(CLIP_DECAY, count)
    grads = [jnp.clip(g, -bound, bound) for g in grads]
    size = jnp.sqrt(1e-8 + jnp.mean(jnp.stack([jnp.mean(g * g) for g in grads])))
    return CLIP_DECAY * average + (1 - CLIP_DECAY) * size, grads


def _elements(
    optimizer: RNNMLP, net: Theta, bias: jax.Array, g: jax.Array, p: jax.Array, acc: TensorAverages
) -> tuple[jax.Array, jax.Array]:
    """The step for one tensor, and the mean over it of the last hidden layer.

    The normaliser scales the weights, not the features. The messages to the LSTM are linear in
    the last hidden layer, so they are made from its mean, for all tensors at once.
    """
    axes = tuple(range(1, g.ndim + 1))
    root = rsqrt(acc.second + 1e-6)
    plain = jnp.stack([g, p, jnp.log(jnp.abs(p) + 1e-8)])
    features = jnp.concatenate([plain, acc.momenta, acc.second, acc.momenta * root, root])
    scale = rsqrt(1e-5 + jnp.mean(features * features, axes))
    units = dense(net["w1"][:NUM_ELEMENT] * scale[:, None], bias, features)
    for i in range(2, optimizer.layers + 1):
        units = dense(net[f"w{i}"], net[f"b{i}"], jax.nn.relu(units))
    units, last = jax.nn.relu(units), optimizer.layers + 1
    direction, mu = dense(net[f"w{last}"][:, :2], net[f"b{last}"][:2], units)
    step = optimizer.step_multiplier * direction * jnp.exp(optimizer.magnitude * mu)
    return step, jnp.mean(units, axes)
