"""A task from what every training script has."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from learned_opt._checks import shown
from learned_opt._fields import Size, Steps, Within, check_fields

from .._spec import content_hash
from ..suites import EvalTask
from ._data import cut
from ._problem import OwnFamily, OwnProblem, batch_shapes, check_problem, takes_key
from ._read import Examples, default_memory, read
from ._spec import OwnSpec


@dataclasses.dataclass(frozen=True)
class _Options:
    """The numbers that `from_functions` takes."""

    batch_size: Size
    num_steps: Steps
    examples: Annotated[int, Within(1, 10**12)]
    memory: Annotated[float, Within(0, 1e18)]

    def __post_init__(self) -> None:
        check_fields(self)


def from_functions(
    init: Callable[..., Any],
    loss: Callable[..., Any],
    data: Any,
    *,
    batch_size: int,
    valid: Any,
    test: Any = None,
    valid_loss: Callable[..., Any] | None = None,
    stateful: bool = False,
    name: str | None = None,
    num_steps: int = 1000,
    examples: int | None = None,
    memory: int | None = None,
) -> EvalTask:
    """A task of one's own: a model, its loss and its data.

    Functions get batches in the structure of the data. Whether a loss takes a random key is seen
    from its signature: a further argument without a default, or one named key or rng.

    Data are an array, a tuple or dict of arrays, or an iterable of batches that are such: of NumPy,
    PyTorch, tf.data, grain, or a Hugging Face data set. The first axis is that of examples. An
    iterable is read once, here, for one epoch; minibatches are then drawn from its examples with
    replacement. Training examples of more than `memory` bytes stay in their files, see
    `HostExamples`.

    Args:
      init: init(key) -> params, any tree of floating arrays; with `stateful` (params, state).
      loss: loss(params, batch[, key]) -> scalar, or (scalar, metrics); with `stateful`
        loss(params, state, batch[, key]) -> (scalar, state), or (scalar, (state, metrics)). The
        mean over the batch, and positive. Metrics: a dict; what of it is no scalar is left out.
      data: training examples.
      batch_size: examples a minibatch.
      valid: validation examples, or the share of `data` that they are, above 0 and below 1. They
        are cut, in an order of a fixed seed, into equal parts: one for meta-training, one for
        tuning and comparing and, without `test`, one for the report.
      test: test examples.
      valid_loss: takes what `loss` takes, in the mode of evaluation; `loss` by default. The state
        that it returns, if it does, is not used.
      stateful: whether the model has a state, such as batch statistics.
      name: of the task.
      num_steps: of a training run.
      examples: how many are read of an iterable, which may then have no end.
      memory: bytes of training examples that may be on the device; a quarter of what it has by
        default.

    Raises:
      ValueError: a function or the data are not as said; one sentence.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from learned_opt import tasks
      >>> x = np.linspace(-1, 1, 300, dtype=np.float32)[:, None]
      >>> task = tasks.from_functions(
      ...     lambda key: {"w": jnp.zeros((1, 1))},
      ...     lambda params, batch: jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2),
      ...     {"x": x, "y": 3 * x},
      ...     batch_size=32,
      ...     valid=0.3,
      ... )
      >>> task.own, task.horizon
      (True, 1000)
    """
    memory = default_memory() if memory is None else memory
    _Options(batch_size, num_steps, 1 if examples is None else examples, memory)
    if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable()):
        raise ValueError(f"name must be printable text, got {shown(name)}")
    train = read(data, "data", memory=memory, examples=examples)
    held = test if test is None else read(test, "test", memory=memory, examples=examples)
    share = isinstance(valid, int | float) and not isinstance(valid, bool)
    if share and not 0 < valid < 1:
        raise ValueError(
            f"valid must be examples, or the share of data above 0 and below 1, got {shown(valid)}"
        )
    judged = valid if share else read(valid, "valid", memory=memory, examples=examples)
    title = name or "own"
    given = [one for one in (train, judged, held) if isinstance(one, Examples)]
    digest = content_hash(
        [[one.kinds[0], one.digest()] for one in given] + [valid if share else None, held is None]
    )
    count = 3 if stateful else 2
    for function in (loss, valid_loss or loss):
        takes_key(function, count)
    problem = OwnProblem(title, init, loss, valid_loss or loss, stateful)
    parts = cut(f"own:{title}", train, judged, held, memory)
    check_problem(problem, batch_shapes(OwnFamily(problem, parts, batch_size)))
    spec = OwnSpec(
        problem=problem, data=parts.name, batch_size=batch_size, examples=parts, digest=digest,
        given_name=name is not None,
    )  # fmt: skip
    return EvalTask(title, spec, (), num_steps)
