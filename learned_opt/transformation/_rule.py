"""What an optimizer says of its rule, and what it is given: see `as_transformation`."""

import abc
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax

from .._base import Theta
from ..layouts._layout import Layout
from ._stacks import Stack


class Kept(NamedTuple):
    """What a rule remembers beside averages: `tensors` and `run` of `LearnedState`."""

    tensors: Any
    run: Any


class Now(NamedTuple):
    """A step, as all tensors see it.

    `count`: steps taken before, int32 scalar; `t`: the same in float32; `total`: steps of the
    whole run, float32, or None; `epochs`: how often it will see each example, float32, or None
    where that is not told; `size`: the nominal step size; `told`: keywords of `update` that the
    rule reads, None where not given; `theta`: the meta-parameters; `memory`: what the rule
    remembers from before. Whether the step is accepted is not the rule's affair.
    """

    count: jax.Array  # type: ignore[assignment]
    t: jax.Array
    total: jax.Array | None
    epochs: jax.Array | None
    size: jax.Array
    told: dict[str, Any]
    theta: Theta
    memory: Kept


class Tensors(NamedTuple):
    """Of a stack: gradients `g`, parameters `p`, and what else there is of its tensors.

    `kept`: averages after these gradients; `before`: called, those before them; `beside`: see
    `Rule._beside`. Arrays have an axis for the tensors in front unless the stack is `alone`.
    """

    stack: Stack
    g: jax.Array
    p: jax.Array
    kept: Any
    before: Callable[[], Any]
    beside: Any


class Change(NamedTuple):
    """What a rule makes of a step.

    `steps`: for every stack; `kept`: for every stack its averages, with None in place of those
    that are as they were given, or None for all of them; `memory`: after the step.
    """

    steps: list[jax.Array]
    kept: list[Any] | None
    memory: Kept


class Rule(abc.ABC):
    """An update rule: what an optimizer must say of itself. A frozen dataclass derives from it.

    Tensors come in the order of a `Layout` and in float32.
    """

    keywords: ClassVar[tuple[str, ...]] = ()
    """Of `update`, that it reads."""

    uses_epochs: ClassVar[bool] = False
    """Whether it makes use of `Now.epochs`."""

    cheap: ClassVar[bool] = False
    """Whether its update is about one pass over its arrays: see `make_stacks`."""

    def _kinds(self, params: Any, tensors: Sequence[Layout]) -> list[Hashable]:
        """What is to be known of every leaf besides its shape."""
        return [None] * len(tensors)

    def _beside(self, params: Any, tensors: Sequence[Layout], told: dict[str, Any]) -> list[Any]:
        """For every leaf a tree of arrays of its shape, which the rule sees beside it."""
        return [()] * len(tensors)

    @abc.abstractmethod
    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Any:
        """Averages before the first step: a tree of arrays, the same for all tensors and kinds.

        Arrays of the tensor's shape, maybe with more axes behind, or of fewer axes; each in a
        buffer of its own, so that a training step may donate the state, and sharded like `zeros`.
        """

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        """What is remembered before the first step of so many tensors."""
        return Kept((), ())

    @abc.abstractmethod
    def _accumulate(self, now: Now, kind: Hashable, old: Any, g: jax.Array) -> Any:
        """The averages of one tensor after its gradient."""

    @abc.abstractmethod
    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        """The steps, un-negated: `params - step` descends."""
