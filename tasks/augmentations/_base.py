"""Augmentations: wrappers that turn any family into a wider one, and compose.

Metz et al. 2022 (VeLO), "Task augmentation": a meta-learner that sees few networks sees more
geometries, scales and noises of them.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import optax

from learned_opt._fields import check_fields

from .._base import STATIC, Batch, Loss, Numbers, Params, Split, Supply, Task

LossFunction = Callable[[Params, Batch, jax.Array], Loss]
Draw = Callable[[jax.Array], Batch]


@dataclasses.dataclass(frozen=True)
class Augmentation(abc.ABC):
    """Base of all augmentations: a frozen dataclass of ranges; each method is one place to act.

    As with problems, what differs from task to task is drawn by `sample` and traced.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_fields(self)

    def check(self, batch_size: int) -> None:
        """ValueError if minibatches of this size cannot be augmented."""
        del batch_size

    @abc.abstractmethod
    def sample(self, key: jax.Array) -> Numbers:
        """The numbers of one task."""
        ...

    def init(self, n: Numbers, params: Params) -> Params:
        """Change initial parameters."""
        return params

    def loss(self, n: Numbers, task: Any) -> LossFunction:
        """Change the loss."""
        return task.loss

    def batch(self, n: Numbers, draw: Draw, key: jax.Array) -> Batch:
        """Change how a training minibatch is drawn."""
        return draw(key)

    def supply(self, n: Numbers, supply: Supply) -> Supply:
        """Say what `batch` makes of that from which minibatches are drawn."""
        return supply

    def gradients(self, n: Numbers) -> optax.GradientTransformation:
        """Change gradients before the optimizer sees them."""
        return optax.identity()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AugmentedTask(Task):
    """A task seen through an augmentation with these numbers."""

    task: Any
    numbers: Numbers
    augmentation: Augmentation = dataclasses.field(metadata=STATIC)

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        return self.augmentation.init(self.numbers, self.task.init(key))

    def loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The augmented loss."""
        return self.augmentation.loss(self.numbers, self.task)(params, batch, key)

    def gradients(self) -> optax.GradientTransformation:
        """Those of the task, then those of the augmentation."""
        return optax.chain(self.task.gradients(), self.augmentation.gradients(self.numbers))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Augmented:
    """A family seen through an augmentation: a family again.

    `full` is the family's own: batches and gradients change for training alone.
    """

    family: Any
    augmentation: Augmentation = dataclasses.field(metadata=STATIC)

    def sample(self, key: jax.Array) -> AugmentedTask:
        """A task of the family, and the augmentation's numbers."""
        task_key, key = jax.random.split(key)
        task = self.family.sample(task_key)
        return AugmentedTask(task, self.augmentation.sample(key), self.augmentation)

    def member(self, **numbers: Any) -> AugmentedTask:
        """`numbers` of the family's task; the augmentation's are those drawn under a fixed key."""
        drawn = self.augmentation.sample(jax.random.key(0))
        return AugmentedTask(self.family.member(**numbers), drawn, self.augmentation)

    def batch(self, task: AugmentedTask, key: jax.Array, split: Split) -> Batch:
        """A minibatch; augmented if it is for training."""
        if split != "train":
            return self.family.batch(task.task, key, split)

        def draw(key: jax.Array) -> Batch:
            return self.family.batch(task.task, key, split)

        return self.augmentation.batch(task.numbers, draw, key)

    def full(self, task: AugmentedTask, split: Split) -> Batch:
        """All examples of the split, as they are."""
        return self.family.full(task.task, split)

    def supply(self, task: AugmentedTask) -> Supply:
        """That of the family's task, augmented."""
        return self.augmentation.supply(task.numbers, self.family.supply(task.task))

    def without_test(self) -> "Augmented":
        """A copy in which reading the test split raises."""
        return dataclasses.replace(self, family=self.family.without_test())


def augment(family: Any, *augmentations: Augmentation) -> Any:
    """The family seen through each augmentation, the first innermost."""
    return functools.reduce(Augmented, augmentations, family)
