"""Celo and Celo-Adam: a learned schedule of the step size over a learned rule, or over Adam.

Moudgil, Knyazev, Lajoie, Belilovsky 2025, "Celo: Training Versatile Learned Optimizers on a
Compute Diet". Adam: Kingma & Ba 2015.
"""

import abc
import dataclasses
import math
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from .._fields import Momenta, Width
from ..parts._averages import Moments, corrected, init_moments, update_moments
from ..parts._loss import (
    NUM_LOSS_FEATURES,
    TIMES,
    LossState,
    init_loss,
    loss_features,
    time_features,
)
from ..parts._networks import LSTMState, init_lstm, init_lstm_net, linear, run_lstm
from ..parts._per_param import TensorState
from ..parts._published import (
    FEATURES,
    check_published,
    clip_gradient,
    init_mlp,
    see_gradient,
    tensor_scale,
)
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Kept, Now, Tensors

STEP, MAGNITUDE = 0.001, 0.001
ETA = 0.1
NUM_INPUTS = len(TIMES) + NUM_LOSS_FEATURES
B1, B2, EPS, ROOT_EPS = 0.9, 0.999, 1e-8, 1e-10

MLP_SHAPES = {
    **{f"w0__{i}": (1, 3 if i in (3, 5, 7, 9, 10, 11, 12, 13) else 1, 4) for i in range(14)},
    "w1": (1, 4, 4),
    "w2": (1, 4, 3),
    "b0": (1, 4),
    "b1": (1, 4),
    "b2": (1, 3),
}
"""Published weights of the MLP: of its first layer a block for each group of features."""

SCHEDULER_SHAPES = {
    **{f"lstm_init_state/{name}": (1, 64) for name in ("hidden", "cell")},
    **{f"rnn_params/linear{i}/w": (18, 64) for i in ("", "_1", "_2")},
    **{f"rnn_params/linear{i}/b": (64,) for i in ("", "_1", "_2")},
    "rnn_params/rnn/linear/w": (128, 256),
    "rnn_params/rnn/linear/b": (256,),
    "rnn_params/step_size/w": (64, 1),
    "rnn_params/step_size/b": (1,),
}
"""Published weights of the scheduler. `linear` is not used: its output is overwritten."""

CELO_SHAPES = {
    **{f"ff_mod_stack/~/{name}": shape for name, shape in MLP_SHAPES.items()},
    **SCHEDULER_SHAPES,
    "rnn_params/rnn_to_controls/w": (64, 1),
    "rnn_params/rnn_to_controls/b": (1,),
}
"""`rnn_to_controls` is not used: its one output goes through a softmax, which makes it 1."""


class Scheduler(NamedTuple):
    """What the schedule remembers: of the losses, and of the LSTM, a single row."""

    loss: LossState
    lstm: LSTMState


@dataclasses.dataclass(frozen=True)
class _Scheduled(LearnedOptimizer):
    """What the two share: everything but the step of a tensor."""

    keywords: ClassVar[tuple[str, ...]] = ("value",)
    lstm: Width = 64
    as_published: bool = dataclasses.field(default=False, kw_only=True)

    def _peak(self, theta: Theta) -> Any:
        """0.001 at any time, as if eta_t were 1: the true eta_t follows from the losses alone."""
        return STEP

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        return Kept((), Scheduler(init_loss(), init_lstm(theta["scheduler"], 1)))

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        eta, run = _step_size(self.as_published, now)
        return Change(self._steps(now, now.size * eta, stacks), None, Kept((), run))

    @abc.abstractmethod
    def _steps(self, now: Now, size: jax.Array, stacks: list[Tensors]) -> list[jax.Array]:
        """The steps of every stack; `size`: 0.001 eta."""


@dataclasses.dataclass(frozen=True)
class Celo(_Scheduled):
    """A per-parameter MLP under a step size that an LSTM gives from time and the training loss.

    With the 30 features of `Hypernet` for every element, at step t of T::

        d, mu = MLP(features);   p <- p - 0.001 eta_t d exp(0.001 mu) max(0.01, rms p)
        h_t = LSTM(own(x_t) + relu(pool(x_t)));   eta_t = 0.1 exp(linear(h_t))

    x_t: tanh(10 (t/T - s)) for nine s and nine features of the loss, the same for all tensors, so
    one row goes through the LSTM. MLP: 30-`hidden`-`hidden`-3, third output unused. Gradients are
    clipped to +-1000 first.

    The training loss comes as optax's keyword `value`. Without it, or where it is not finite, its
    features are zero, as they are for the first two losses: the schedule then follows time alone,
    which the published weights never saw past step 2.

    `init` gives eta_t = 1, so that the MLP (159 of 35,808 meta-parameters) can be meta-trained
    first with `theta["scheduler"]` frozen, then the scheduler with `theta["mlp"]` frozen.

    Args:
      lstm: width of the LSTM.
      hidden: width of the MLP's hidden layers.
      momenta: dtype of the first two momenta, see `PerParamFeatures`.
      as_published: with the two faults of the published code, under which its weights were found.
        Steps are scaled by sqrt(mean p^2 + 1e-9): a tensor that starts at zero then has scale
        3e-5 and hardly moves, which the floor of 0.01 cures. And the cap of the loss, see
        `loss_features`.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.Celo()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> tx = optimizer.transform(theta, num_steps=100)
      >>> params = {"w": jax.numpy.ones((3, 2))}
      >>> state = tx.init(params)
      >>> steps, state = tx.update(params, state, params, value=0.7)
    """

    name: ClassVar[str] = "celo"
    use: ClassVar[str] = (
        "With published weights, up to about 2,000 steps; pass the loss as `value`."
    )
    hidden: Width = 4
    momenta: Momenta = "float32"

    @classmethod
    def from_published(cls, arrays: Mapping[str, np.ndarray]) -> Theta:
        """`theta` of `Celo(as_published=True)` from the 37,089 published numbers.

        Their keys are such as "rnn_params/linear/w". 1,281 of them never reach a step and are left
        out: `rnn_params/linear`, whose output is overwritten, and `rnn_params/rnn_to_controls`,
        whose one output a softmax makes 1.

        Raises:
          ValueError: an array is missing, unknown, misshapen or not finite.
        """
        check_published("Celo", CELO_SHAPES, arrays)
        mlp = {name: _float32(arrays[f"ff_mod_stack/~/{name}"])[0] for name in MLP_SHAPES}
        net = {"w1": jnp.concatenate([mlp[f"w0__{i}"] for i in range(14)]), "b1": mlp["b0"]}
        net |= {"w2": mlp["w1"], "b2": mlp["b1"], "w3": mlp["w2"], "b3": mlp["b2"]}
        return {"mlp": net, "scheduler": _published_scheduler(arrays)}

    def init(self, key: jax.Array) -> Theta:
        """Random MLP and LSTM; zero weights from the LSTM to a step size of 0.001."""
        key_mlp, key_scheduler = jax.random.split(key)
        return {
            "mlp": init_mlp(key_mlp, self.hidden),
            "scheduler": _init_scheduler(key_scheduler, self.lstm),
        }

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> TensorState:
        return FEATURES.init(zeros, dtype=jnp.dtype(self.momenta))

    def _accumulate(self, now: Now, kind: Hashable, old: TensorState, g: jax.Array) -> TensorState:
        return see_gradient(old, g)

    def _steps(self, now: Now, size: jax.Array, stacks: list[Tensors]) -> list[jax.Array]:
        net = now.theta["mlp"]

        def combine(outputs: list[jax.Array], p: jax.Array) -> jax.Array:
            direction, magnitude, _ = outputs
            scale = size * tensor_scale(p, self.as_published)
            return scale * direction * jnp.exp(MAGNITUDE * magnitude)

        def step(g: jax.Array, p: jax.Array, kept: TensorState) -> jax.Array:
            return FEATURES.step(net, net["b1"], clip_gradient(g), p, kept, combine)

        return [x.stack.map(step, x.g, x.p, x.kept) for x in stacks]


@dataclasses.dataclass(frozen=True)
class CeloAdam(_Scheduled):
    """Adam under the learned schedule of `Celo`, which sees time and the training loss alone.

    With m and v the EMAs of g and g^2 with decays 0.9 and 0.999, corrected for their start::

        p <- p - 0.001 eta_t m / (1e-8 + sqrt(v + 1e-10))

    eta_t, the clipping of gradients and what happens without `value`: as in `Celo`. At
    initialisation eta_t = 1: Adam at its usual step size.

    Args:
      lstm: width of the LSTM.
      as_published: with the published cap of the loss, see `loss_features`.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.CeloAdam()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      35649
      >>> tx = optimizer.transform(theta, num_steps=100)
    """

    name: ClassVar[str] = "celo_adam"
    use: ClassVar[str] = "The steadiest with published weights; pass the loss as `value`."
    cheap: ClassVar[bool] = True

    @classmethod
    def from_published(cls, arrays: Mapping[str, np.ndarray]) -> Theta:
        """`theta` of `CeloAdam(as_published=True)` from the 36,865 numbers, keys as in `Celo`'s.

        1,216 of them never reach a step and are left out: `rnn_params/linear`, whose output is
        overwritten.

        Raises:
          ValueError: an array is missing, unknown, misshapen or not finite.
        """
        check_published("Celo-Adam", SCHEDULER_SHAPES, arrays)
        return {"scheduler": _published_scheduler(arrays)}

    def init(self, key: jax.Array) -> Theta:
        """Random LSTM; zero weights from it to a step size of 0.001."""
        return {"scheduler": _init_scheduler(key, self.lstm)}

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Moments:
        return init_moments(zeros)

    def _accumulate(self, now: Now, kind: Hashable, old: Moments, g: jax.Array) -> Moments:
        return update_moments(old, clip_gradient(g), B1, B2)

    def _steps(self, now: Now, size: jax.Array, stacks: list[Tensors]) -> list[jax.Array]:
        found = (corrected(x.kept, B1, B2, now.t + 1) for x in stacks)
        return [size * m / (EPS + jnp.sqrt(v + ROOT_EPS)) for m, v in found]


def _init_scheduler(key: jax.Array, lstm: int) -> Theta:
    head = {"w": jnp.zeros((lstm, 1), jnp.float32), "b": jnp.full(1, -math.log(ETA), jnp.float32)}
    return {**init_lstm_net(key, NUM_INPUTS, lstm), "step_size": head}


def _step_size(as_published: bool, now: Now) -> tuple[jax.Array, Scheduler]:
    """eta, and what is remembered after."""
    assert now.total is not None
    net, memory = now.theta["scheduler"], now.memory.run
    features, loss = loss_features(memory.loss, now.told["value"], now.total, as_published)
    x = jnp.concatenate([time_features(now.count, now.total), features])
    lstm = run_lstm(net, x[None], memory.lstm)
    return ETA * jnp.exp(linear(net["step_size"], lstm.hidden)[0, 0]), Scheduler(loss, lstm)


def _published_scheduler(arrays: Mapping[str, np.ndarray]) -> Theta:
    theirs = {
        "pool": "linear_1",
        "own": "linear_2",
        "gates": "rnn/linear",
        "step_size": "step_size",
    }
    layers = {
        name: {k: _float32(arrays[f"rnn_params/{there}/{k}"]) for k in ("w", "b")}
        for name, there in theirs.items()
    }
    start = {k: _float32(arrays[f"lstm_init_state/{k}"])[0] for k in ("hidden", "cell")}
    return {**layers, **start}


def _float32(x: np.ndarray) -> jax.Array:
    return jnp.asarray(x, jnp.float32)
