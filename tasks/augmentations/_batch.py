"""Augmentations of the training minibatch: fewer examples, wrong labels."""

import dataclasses
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Sizes, Within

from .._base import Batch, Numbers, Supply
from .._problem import log_uniform, log_uniform_int, uniform_int
from ._base import Augmentation, Draw


@dataclasses.dataclass(frozen=True)
class SmallBatch(Augmentation):
    """Minibatches of fewer distinct examples: the family's batch size over 1, 2, 4, ...

    The batch holds its first B / 2^k examples 2^k times, so its mean is that of the small batch.

    Args:
      halvings: most times the batch is halved; its size must be a multiple of 2^halvings.
    """

    name: ClassVar[str] = "small_batch"
    halvings: Annotated[int, Within(0, 20)] = 3

    def check(self, batch_size: int) -> None:
        """ValueError if it cannot be halved so often."""
        if batch_size % 2**self.halvings:
            raise ValueError(
                f"small_batch.halvings={self.halvings} needs a batch size that is a multiple of "
                f"{2**self.halvings}, got {batch_size}"
            )

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the number of halvings."""
        return {"halvings": uniform_int(key, (0, self.halvings))}

    def batch(self, n: Numbers, draw: Draw, key: jax.Array) -> Batch:
        """The first examples, repeated."""
        batch = draw(key)
        size = batch.x.shape[0]
        self.check(size)
        index = jnp.arange(size) % (size >> n["halvings"])
        return jax.tree.map(lambda x: x[index], batch)

    def supply(self, n: Numbers, supply: Supply) -> Supply:
        """Fewer a minibatch."""
        return supply._replace(batch=supply.batch / 2 ** n["halvings"].astype(jnp.float32))


@dataclasses.dataclass(frozen=True)
class FewExamples(Augmentation):
    """A small training set: minibatches come from a fixed list of log-uniform length.

    So a task has at most `batches` x batch size examples, and what is drawn at random for a
    batch, as wrong labels are, stays with it: the optimizer can overfit, and must learn not to.
    """

    name: ClassVar[str] = "few_examples"
    batches: Sizes = (2, 64)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the length of the list and the seed of its batches."""
        keys = jax.random.split(key)
        return {
            "batches": log_uniform_int(keys[0], self.batches),
            "seed": jax.random.bits(keys[1]),
        }

    def batch(self, n: Numbers, draw: Draw, key: jax.Array) -> Batch:
        """One batch of the list."""
        index = jax.random.randint(key, (), 0, n["batches"])
        return draw(jax.random.fold_in(jax.random.key(n["seed"]), index))

    def supply(self, n: Numbers, supply: Supply) -> Supply:
        """No more minibatches than the list has."""
        length = n["batches"].astype(jnp.float32)
        return supply._replace(batches=jnp.minimum(supply.batches, length))


@dataclasses.dataclass(frozen=True)
class LabelNoise(Augmentation):
    """A share of what is to be predicted is replaced by that of other examples of the batch.

    Zhang et al. 2017, "Understanding deep learning requires rethinking generalization". The shares
    of the labels stay as they are.
    """

    name: ClassVar[str] = "label_noise"
    shares: Annotated[tuple[float, float], Within(1e-9, 1)] = (0.01, 0.5)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the share."""
        return {"share": log_uniform(key, self.shares)}

    def batch(self, n: Numbers, draw: Draw, key: jax.Array) -> Batch:
        """The batch with wrong labels."""
        batch = draw(key)
        mix_key, wrong_key = jax.random.split(jax.random.fold_in(key, 1))
        size = batch.y.shape[0]
        other = jax.random.permutation(mix_key, size)
        wrong = jax.random.uniform(wrong_key, (size,)) < n["share"]
        return batch._replace(y=batch.y[jnp.where(wrong, other, jnp.arange(size))])
