"""Somebody's `init` and `loss`, called as a `Task` is."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from learned_opt._checks import shown
from learned_opt._modules import blame

from .._base import STATIC, Loss, Numbers, Params, Split, Supply, Task
from ._data import OwnData

KEYS = ("key", "rng", "rng_key")
"""Names of a parameter that is a random key though it has a default."""

TAKEN = ("loss", "curve")
"""Names that no metric has: the loss itself, and what it was along a run, are called so."""


@dataclasses.dataclass(frozen=True)
class OwnProblem:
    """A model and its loss, as functions; see `from_functions`."""

    name: str
    init: Callable[..., Any]
    loss: Callable[..., Any]
    valid_loss: Callable[..., Any]
    stateful: bool
    source: str = "your own"

    def begin(self, key: jax.Array) -> tuple[Params, Any]:
        """Parameters and model state; () where it has none."""
        made = jax.tree.map(jnp.asarray, self.init(key))  # plain numbers too
        return made if self.stateful else (made, ())

    def train(
        self, params: Params, model_state: Any, batch: Any, key: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        """Loss (scalar, float32), metrics and the next model state."""
        loss, rest = self._call("loss", self.loss, params, model_state, batch, key)
        if not self.stateful:
            return loss, (_metrics(rest), ())
        if isinstance(rest, tuple) and len(rest) == 2 and _like(rest[0], model_state):
            return loss, (_metrics(rest[1]), rest[0])
        return loss, ({}, rest)

    def valid(self, params: Params, model_state: Any, batch: Any, key: jax.Array) -> Loss:
        """Loss (scalar, float32) and metrics of an evaluation."""
        loss, rest = self._call("valid_loss", self.valid_loss, params, model_state, batch, key)
        if self.stateful and isinstance(rest, tuple) and len(rest) == 2:
            rest = rest[1] if _like(rest[0], model_state) else None
        return loss, _metrics(rest)

    def _call(self, name: str, function: Callable[..., Any], *args: Any) -> tuple[jax.Array, Any]:
        params, model_state, batch, key = args
        given = (params, model_state, batch) if self.stateful else (params, batch)
        named = dict.fromkeys(key_names(function), key)
        if not named and takes_key(function, len(given)):
            given = (*given, key)
        made: Any = function(*given, **named)
        loss: Any
        loss, rest = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if jnp.shape(loss) != ():
            raise ValueError(f"{name} must return a scalar, got an array of shape {loss.shape}")
        loss = jnp.asarray(loss)
        if not jnp.issubdtype(loss.dtype, jnp.floating):
            raise ValueError(f"{name} must return a floating scalar, got one of {loss.dtype}")
        return loss.astype(jnp.float32), rest


def key_names(function: Callable[..., Any]) -> list[str]:
    """Of the parameters that are given by name alone, those that are random keys."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in KEYS]


def takes_key(function: Callable[..., Any], count: int) -> bool:
    """Whether a function takes a random key after its first `count` parameters.

    Raises:
      ValueError: it takes fewer or more than these.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return True
    taken = [p for p in parameters if p.kind in positional]
    needed = [p for p in taken if p.default is inspect.Parameter.empty]
    if len(taken) < count or len(needed) > count + 1:
        raise ValueError(
            f"{getattr(function, '__name__', 'a loss')} must take {count} arguments, and a random "
            f"key if it likes, got a function of {len(needed)}"
        )
    return len(needed) > count or (len(taken) > count and taken[count].name in KEYS)


def _metrics(rest: Any) -> dict[str, jax.Array]:
    """Scalars of a dict, as float32; what else comes beside a loss is left out."""
    if not isinstance(rest, dict):
        return {}
    numbers = {k: v for k, v in rest.items() if hasattr(v, "dtype") or isinstance(v, int | float)}
    return {
        str(k): jnp.asarray(v).astype(jnp.float32)
        for k, v in numbers.items()
        if jnp.shape(v) == () and str(k) not in TAKEN
    }


def _like(tree: Any, other: Any) -> bool:
    return jax.tree.structure(tree) == jax.tree.structure(other)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OwnTask(Task):
    """The one task there is of somebody's functions: it has no numbers."""

    zeros_are_plain: ClassVar[bool] = False
    problem: OwnProblem = dataclasses.field(metadata=STATIC)

    @property
    def numbers(self) -> Numbers:
        """None."""
        return {}

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        return self.problem.begin(key)[0]

    def init_state(self, key: jax.Array) -> Any:
        """Initial model state."""
        return self.problem.begin(key)[1]

    def loss(self, params: Params, batch: Any, key: jax.Array) -> Loss:
        """`train_loss` with the initial model state."""
        loss, (metrics, _) = self.train_loss(params, self.init_state(key), batch, key)
        return loss, metrics

    def train_loss(
        self, params: Params, model_state: Any, batch: Any, key: jax.Array
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        """The loss of a training step."""
        return self.problem.train(params, model_state, batch, key)

    def valid_loss(self, params: Params, model_state: Any, batch: Any, key: jax.Array) -> Loss:
        """The loss of an evaluation."""
        return self.problem.valid(params, model_state, batch, key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OwnFamily:
    """A family of one task, on somebody's data."""

    problem: OwnProblem = dataclasses.field(metadata=STATIC)
    data: OwnData
    batch_size: int = dataclasses.field(metadata=STATIC)

    def sample(self, key: jax.Array) -> OwnTask:
        """The task."""
        del key
        return OwnTask(self.problem)

    def member(self, **numbers: Any) -> OwnTask:
        """The task; ValueError if numbers are given, for it has none."""
        if numbers:
            raise ValueError(f"{self.problem.name} has no number {next(iter(numbers))!r}")
        return OwnTask(self.problem)

    def batch(self, task: OwnTask, key: jax.Array, split: Split) -> Any:
        """A minibatch drawn with replacement, in the structure of the data."""
        return self.data.batch(key, split, self.batch_size)

    def full(self, task: OwnTask, split: Split) -> Any:
        """What of a split is evaluated."""
        return self.data.full(split)

    def supply(self, task: OwnTask) -> Supply:
        """Minibatches of `batch_size` of the training examples."""
        return Supply.of(self.batch_size, self.data.count)

    def without_test(self) -> "OwnFamily":
        """A copy in which reading the test split raises."""
        return dataclasses.replace(self, data=self.data.without_test())


def batch_shapes(family: OwnFamily) -> Any:
    """Shapes of a training minibatch; nothing is computed."""
    task = family.member()
    return jax.eval_shape(lambda: family.batch(task, jax.random.key(0), "train"))


def check_problem(problem: OwnProblem, batch: Any) -> tuple[Any, Any]:
    """Shapes of parameters and model state, once the functions are found to fit each other.

    Nothing is computed.

    Raises:
      ValueError: a function raises, or returns something else than it must; one sentence.
    """
    key = jax.random.key(0)
    wanted = "(params, state)" if problem.stateful else "params"

    def blamed(what: str, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return jax.eval_shape(function, *args)
        except Exception as error:
            raise ValueError(f"{what} raised {blame(error)}") from error

    made = blamed(f"init(key), which must return {wanted}, a tree of arrays,", problem.init, key)
    if problem.stateful and not (isinstance(made, tuple) and len(made) == 2):
        raise ValueError(
            f"init(key) must return (params, state) with stateful=True, got {type(made).__name__}"
        )
    params, state = made if problem.stateful else (made, ())
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ValueError("init(key) must return parameters, got a tree without arrays")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"all parameters must be of floating dtype, got {leaf.dtype} at "
                f"{shown(jax.tree_util.keystr(path))}; put it into the model's state, with "
                "stateful=True"
            )
    arguments = "params, state, batch" if problem.stateful else "params, batch"
    _, (_, after) = blamed(f"loss({arguments})", problem.train, params, state, batch, key)
    blamed(f"valid_loss({arguments})", problem.valid, params, state, batch, key)
    kinds = [
        (jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)])
        for tree in (state, after)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "loss must return (scalar, state) or (scalar, (state, metrics)), the state with the "
            "structure, shapes and dtypes that init gave it; it has others"
        )
    return params, state
