"""Tasks to train on, and families to draw them from."""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

STATIC = {"static": True}
"""Metadata of fields that belong to the structure of a pytree, not to its leaves."""

Params = Any
Numbers = dict[str, jax.Array]
Loss = tuple[jax.Array, dict[str, jax.Array]]
"""A loss, and metrics: scalars."""

Split = Literal["train", "inner_valid", "outer_valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "inner_valid", "outer_valid", "test")
"""`train` is what the inner loop sees; `inner_valid` the meta-objective and meta-validation;
`outer_valid` tunes and compares in an evaluation; `test` is read once, for its report."""


class Batch(NamedTuple):
    """`x`: inputs, (batch, ...); `y`: what is to be predicted, (batch, ...)."""

    x: jax.Array
    y: jax.Array


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a network must know of its data.

    Attributes:
      kind: "label" (y int32 (batch,)), "value" (y float32 (batch, outputs)), "text" (x and y int32
        (batch, length), y one byte ahead) or "points" (x uniform in [0, 1), y unused).
      shape: of one example x.
      outputs: number of labels, of values, of distinct bytes; 0 for points.
    """

    kind: Literal["label", "value", "text", "points"]
    shape: tuple[int, ...]
    outputs: int


NEVER_AGAIN = 1e-3
"""What `Supply.epochs` is where examples are drawn afresh, and the least that it is."""


class Supply(NamedTuple):
    """What training minibatches are drawn from; float32 scalars, infinite where nothing bounds it.

    `batch`: distinct examples of a minibatch; `examples`: distinct ones in all; `batches`: distinct
    minibatches, where they are a fixed list.
    """

    batch: jax.Array
    examples: jax.Array
    batches: jax.Array

    @classmethod
    def of(cls, batch: int, examples: Any) -> "Supply":
        """Minibatches drawn from so many examples."""
        return cls(*(jnp.asarray(x, jnp.float32) for x in (batch, examples, jnp.inf)))

    def epochs(self, steps: Any) -> jax.Array:
        """How often a run of so many steps sees each example, float32: max(s b / n, s / m).

        At least `NEVER_AGAIN`, for optimizers are told a number above zero. Of examples that are
        drawn with replacement it is the mean.
        """
        steps = jnp.asarray(steps).astype(jnp.float32)
        seen = jnp.maximum(steps * self.batch / self.examples, steps / self.batches)
        return jnp.maximum(seen, NEVER_AGAIN)


class Task(Protocol):
    """One training problem: a pytree whose leaves are the numbers that set it apart.

    `zeros_are_plain`: whether it is known that the loss is positive where all parameters are zero.
    """

    zeros_are_plain: ClassVar[bool] = True

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        ...

    def loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Mean loss over the batch (scalar, >= 0), and scalar metrics. The one loss there is."""
        ...

    def gradients(self) -> optax.GradientTransformation:
        """What befalls gradients on their way to the optimizer: nothing, but for augmentations."""
        return optax.identity()

    def init_state(self, key: jax.Array) -> Any:
        """The model's state under the key of its parameters, such as averages of batches."""
        del key
        return ()

    def train_loss(
        self, params: Params, model_state: Any, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, Any]:
        """`loss` of a training step, (scalar, (metrics, next model state))."""
        loss, metrics = self.loss(params, batch, key)
        return loss, (metrics, model_state)

    def valid_loss(self, params: Params, model_state: Any, batch: Batch, key: jax.Array) -> Loss:
        """`loss` of an evaluation, in which the model's state stays as it is."""
        del model_state
        return self.loss(params, batch, key)


class TaskFamily(Protocol):
    """A distribution over tasks that share shapes, hence one compiled program.

    A pytree: the data arrays are leaves, so that they are arguments of the compiled program and
    not constants inside it. `jax.vmap(family.sample)(keys)` is a batch of tasks.
    """

    def sample(self, key: jax.Array) -> Any:
        """Draw a task."""
        ...

    def batch(self, task: Any, key: jax.Array, split: Split) -> Batch:
        """A minibatch for the task, drawn with replacement."""
        ...

    def full(self, task: Any, split: Split) -> Batch:
        """All examples of the split."""
        ...

    def supply(self, task: Any) -> Supply:
        """What the task's training minibatches are drawn from: `family.supply(task).epochs(T)`."""
        ...

    def without_test(self) -> Any:
        """A copy in which reading the test split raises: what selection and tuning are given."""
        ...
