"""Tasks to train on, and families to draw them from."""

from typing import Any, Literal, NamedTuple, Protocol

import jax

Params = Any

Split = Literal["train", "inner_valid", "outer_valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "inner_valid", "outer_valid", "test")
"""`train` is what the inner loop sees; `inner_valid` the meta-objective and meta-validation;
`outer_valid` tunes and compares in an evaluation; `test` is read once, for its report."""


class Batch(NamedTuple):
    """`x`: inputs, (batch, ...); `y`: labels, int32 (batch,)."""

    x: jax.Array
    y: jax.Array


class Task(Protocol):
    """One training problem: a pytree whose leaves are the numbers that set it apart."""

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        ...

    def loss(
        self, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Mean loss over the batch (scalar), and scalar metrics. The one loss there is."""
        ...


class TaskFamily(Protocol):
    """A distribution over tasks that share shapes, hence one compiled program.

    A pytree: the data arrays are leaves, so that they are arguments of the compiled program and
    not constants inside it. `jax.vmap(family.sample)(keys)` is a batch of tasks.
    """

    def sample(self, key: jax.Array) -> Any:
        """Draw a task."""
        ...

    def batch(self, key: jax.Array, split: Split) -> Batch:
        """A minibatch drawn with replacement."""
        ...

    def full(self, split: Split) -> Batch:
        """All examples of the split."""
        ...
