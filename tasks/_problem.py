"""A problem (static sizes and ranges) and data make a family; a draw of its numbers, a task."""

import abc
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, get_args, get_type_hints

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from learned_opt._checks import shown
from learned_opt._fields import Counts, Range, Sizes, check_fields, field_types

from ._base import STATIC, Batch, Loss, Numbers, Params, Spec, Split, Supply, Task

KINDS = get_args(get_type_hints(Spec)["kind"])
"""Of data."""

Drawn = dict[str, str | Callable[[jax.Array], jax.Array]]


@dataclasses.dataclass(frozen=True)
class Problem(abc.ABC):
    """Base of all problems: a frozen dataclass whose fields are sizes and ranges.

    What differs from task to task is drawn by `sample` and traced, so it never recompiles.
    Sizes of units are int32, so that a cast to bfloat16 leaves them exact.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    """Who it is from; the head of its file cites in full."""
    kinds: ClassVar[tuple[str, ...]]
    """Kinds of data (`Spec.kind`) it can be trained on."""
    images: ClassVar[bool] = False
    """Whether examples must be (height, width, channels)."""
    elements: ClassVar[bool] = False
    """Whether examples must be (elements, features)."""
    drawn: ClassVar[Drawn] = {}
    """For each number of a task the field that is its range, whose type says how it is drawn; or a
    function of a random key."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def examples(self) -> float:
        """Distinct examples that it makes of its data, where these may be more."""
        return math.inf

    def sample(self, key: jax.Array) -> Numbers:
        """The numbers of one task, as `drawn` says; override it for others."""
        types, found = field_types(type(self)), {}
        # A number that is alone is drawn under the key itself.
        keys = jax.random.split(key, len(self.drawn)) if len(self.drawn) > 1 else [key]
        for key, (name, how) in zip(keys, self.drawn.items(), strict=False):
            if callable(how):
                found[name] = how(key)
            else:
                found[name] = _DRAWS[types[how]](key, getattr(self, how))
        return found

    @abc.abstractmethod
    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Initial parameters."""
        ...

    @abc.abstractmethod
    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Mean loss over the batch, >= 0, and metrics."""
        ...


def check_problem(found: Any) -> None:
    """ValueError unless it is a class that a task can be made of: what it must be, and is not."""
    if not (isinstance(found, type) and issubclass(found, Problem)):
        raise ValueError(
            f"must be a class derived from tasks.Problem or tasks.Supervised, got {shown(found)}"
        )
    name, kinds = (getattr(found, field, None) for field in ("name", "kinds"))
    if not isinstance(name, str):
        raise ValueError(f"must have a name, a string in its class, got {shown(name)}")
    if not (isinstance(kinds, tuple) and kinds and set(kinds) <= set(KINDS)):
        raise ValueError(
            "must say on which kinds of data it is trained, such as kinds = ('value',), a tuple of "
            f"some of {', '.join(KINDS)}, got {shown(kinds)}"
        )
    for method, wanted in TAKES.items():
        signature = inspect.signature(getattr(found, method))
        try:
            signature.bind(*wanted)
        except TypeError:
            raise ValueError(
                f"must have {method}({', '.join(wanted)}), got {method}{signature}"
            ) from None


TAKES = {
    "init": ("self", "n", "spec", "key"),
    "loss": ("self", "n", "spec", "params", "batch", "key"),
}
"""What the methods of a problem take."""


class Supervised(Problem):
    """Base of networks that predict y from x: cross-entropy of labels, squared error of values."""

    kinds: ClassVar[tuple[str, ...]] = ("label", "value")

    @abc.abstractmethod
    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, *spec.shape) to (batch, spec.outputs); called inside `hk.transform`."""
        ...

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        dtype = jnp.int32 if spec.kind == "text" else jnp.float32
        return self._network(n, spec).init(key, jnp.zeros((1, *spec.shape), dtype))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Mean -log softmax(f(x))[y] in nats and accuracy, or mean (f(x) - y)^2 / 2."""
        outputs = self._network(n, spec).apply(params, key, batch.x).astype(jnp.float32)
        if spec.kind == "value":
            return 0.5 * jnp.mean((outputs - batch.y.astype(jnp.float32)) ** 2), {}
        loss = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.y).mean()
        hits = jnp.argmax(outputs, axis=-1) == batch.y
        return loss, {"accuracy": jnp.mean(hits.astype(jnp.float32))}

    def _network(self, n: Numbers, spec: Spec) -> hk.Transformed:
        return hk.transform(functools.partial(self.forward, n, spec))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Member(Task):
    """One task of a `Family`.

    `numbers`: what sets it apart; `source`: which of the family's data sets (int32).
    """

    numbers: Numbers
    source: jax.Array
    problem: Problem = dataclasses.field(metadata=STATIC)
    spec: Spec = dataclasses.field(metadata=STATIC)

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        return self.problem.init(self.numbers, self.spec, key)

    def loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The problem's loss."""
        return self.problem.loss(self.numbers, self.spec, params, batch, key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Family:
    """The tasks of one problem on one data source.

    Args:
      problem: network, loss and ranges.
      data: see `learned_opt.tasks.data`.
      batch_size: examples a minibatch.
    """

    problem: Problem = dataclasses.field(metadata=STATIC)
    data: Any
    batch_size: int = dataclasses.field(default=64, metadata=STATIC)

    def check(self) -> None:
        """ValueError if the problem cannot be trained on this kind or shape of data."""
        try:
            check_problem(type(self.problem))
        except ValueError as error:
            raise ValueError(f"the problem {type(self.problem).__name__} {error}") from None
        name, spec = self.problem.name, self.data.spec
        if spec.kind not in self.problem.kinds:
            raise ValueError(
                f"the problem {name!r} needs data of kind {' or '.join(self.problem.kinds)}, "
                f"got {self.data.name!r}, which is of kind {spec.kind}"
            )
        if self.problem.images and len(spec.shape) != 3:
            raise ValueError(
                f"the problem {name!r} needs images, got {self.data.name!r}, whose examples have "
                f"shape {spec.shape}"
            )
        if self.problem.elements and len(spec.shape) != 2:
            raise ValueError(
                f"the problem {name!r} needs sets, got {self.data.name!r}, whose examples have "
                f"shape {spec.shape}; take the data set sets"
            )
        dimension = getattr(self.problem, "dimension", None)
        if dimension is not None and spec.shape != (dimension,):
            raise ValueError(
                f"the problem {name!r} has dimension {dimension}, got data of shape {spec.shape}; "
                f"take the data set points/{dimension}"
            )
        patch = getattr(self.problem, "patch", 1)
        if patch > min(spec.shape[:2]):
            raise ValueError(
                f"the problem {name!r} needs a patch that fits into the images of "
                f"{self.data.name!r}, {spec.shape[0]} x {spec.shape[1]}, got {patch}"
            )

    def sample(self, key: jax.Array) -> Member:
        """Draw a task: its numbers and, where there are several data sets, one of them."""
        self.check()
        # Far from the numbers' own keys: `split(key)[1]` is `fold_in(key, 1)`.
        source_key = jax.random.fold_in(key, 0x5EED)
        source = jax.random.randint(source_key, (), 0, self.data.sources)
        return Member(self.problem.sample(key), source, self.problem, self.data.spec)

    def member(self, **numbers: Any) -> Member:
        """The task that `sample` draws under a fixed key, but for the numbers given.

        Raises:
          ValueError: the problem has no number of that name.
        """
        drawn = self.sample(jax.random.key(0))
        for name, value in numbers.items():
            if name not in drawn.numbers:
                known = ", ".join(drawn.numbers) or "none"
                raise ValueError(f"{self.problem.name} has no number {name!r}; it has: {known}")
            numbers[name] = jnp.asarray(value, drawn.numbers[name].dtype)
        return dataclasses.replace(drawn, numbers=drawn.numbers | numbers)

    def batch(self, task: Member, key: jax.Array, split: Split) -> Batch:
        """A minibatch of `batch_size` examples drawn with replacement."""
        return self.data.batch(key, split, self.batch_size, task.source)

    def full(self, task: Member, split: Split) -> Batch:
        """All examples of the split."""
        return self.data.full(split, task.source)

    def supply(self, task: Member) -> Supply:
        """Minibatches of `batch_size` of the training examples.

        Data of somebody's own may do without `count_of`: then it is those of `full`.
        """
        if hasattr(self.data, "count_of"):
            count = jnp.minimum(self.data.count_of(task.source), self.problem.examples)
            return Supply.of(self.batch_size, count)
        whole = jax.eval_shape(lambda: self.data.full("train", 0))
        return Supply.of(self.batch_size, len(whole.y))

    def without_test(self) -> "Family":
        """A copy in which reading the test split raises."""
        return dataclasses.replace(self, data=self.data.without_test())


def with_gradient(value: jax.Array, grads: Params, params: Params) -> jax.Array:
    """`value` as float32, whose gradient with respect to `params` is `grads` whatever it was.

    For problems whose gradient is an estimate, or no gradient at all. Both remain functions of
    `params`: what differentiates through a training sees how they really change.
    """
    return _with_gradient(value.astype(jnp.float32), grads, params)


@jax.custom_vjp
def _with_gradient(value: jax.Array, grads: Params, params: Params) -> jax.Array:
    del grads, params
    return value


def _forwards(value: jax.Array, grads: Params, params: Params) -> tuple[jax.Array, Params]:
    return value, jax.tree.map(lambda g, p: g.astype(p.dtype), grads, params)


def _backwards(grads: Params, c: jax.Array) -> tuple[jax.Array, None, Params]:
    return jnp.zeros_like(c), None, jax.tree.map(lambda g: c.astype(g.dtype) * g, grads)


_with_gradient.defvjp(_forwards, _backwards)


def log_uniform(key: jax.Array, bounds: Range) -> jax.Array:
    """exp(U(log low, log high)), a float32 scalar."""
    low, high = jnp.log(jnp.asarray(bounds, jnp.float32))
    return jnp.exp(jax.random.uniform(key, (), minval=low, maxval=high))


def log_uniform_int(key: jax.Array, bounds: Range) -> jax.Array:
    """`log_uniform`, rounded: an int32 scalar."""
    return jnp.round(log_uniform(key, bounds)).astype(jnp.int32)


def uniform_int(key: jax.Array, bounds: tuple[int, int]) -> jax.Array:
    """Uniform over low, ..., high, both included: an int32 scalar."""
    return jax.random.randint(key, (), bounds[0], bounds[1] + 1)


_DRAWS: dict[Any, Callable[[jax.Array, Any], jax.Array]] = {
    Range: log_uniform,
    Sizes: log_uniform_int,
    Counts: uniform_int,
}
"""How a range is drawn from, by its type."""
