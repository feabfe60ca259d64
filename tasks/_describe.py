"""What suites, tasks, families and problems look like to a person: tables in the terminal."""

import difflib
import textwrap
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._inner import full_loss, inner_init, inner_step, parameter_count
from ._meta_loss import reference_loss
from ._spec import AnySpec, describe
from .problems import EXAMPLES, Example
from .suites import SUITES, EvalTask, Suite, TrainFamily

WIDTH = 98
STEPS = 200
"""Steps of Adam in `measure`."""

Entry = TrainFamily | EvalTask | Example
"""What has a name and a family's `spec`."""


def suite_lines(suite: Suite) -> list[str]:
    """Name and hash, purpose, and one line an entry: a family with its weight, or a task."""
    families = isinstance(suite.entries[0], TrainFamily)
    first, last = ("family", "weight, steps") if families else ("task", "steps")
    rows = [(first, "problem", "data", "batch", "augmented by", last)]
    for entry in suite.entries:
        spec = entry.spec
        augmented = ", ".join(a.name for a in spec.augmentations) or "-"
        if isinstance(entry, TrainFamily):
            last = f"{entry.weight:g}" + (f", {entry.longest:,} at most" if entry.longest else "")
        else:
            last = f"{entry.horizon:,}" + (", gpu" if entry.tier == "gpu" else "")
        rows.append(
            (entry.name, spec.problem.name, spec.data, str(spec.batch_size), augmented, last)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{suite.name}  {suite.hash}",
        *(f"  {line}" for line in textwrap.wrap(suite.purpose, WIDTH)),
        *(
            "  " + "  ".join(map(str.ljust, row, widths)).rstrip()
            for row in rows
        ),
    ]  # fmt: skip


def find(name: str) -> tuple[str, Suite | Entry]:
    """(kind, thing): a suite, a task or family of one, or a problem's first example.

    Raises:
      ValueError: nothing has this name; lists the names closest to it.
    """
    things: dict[str, Any] = {}
    for row in EXAMPLES:
        things.setdefault(row.name, ("problem, by its first example", row))
    for suite in SUITES.values():
        for entry in suite.entries:
            kind = "family" if isinstance(entry, TrainFamily) else "task"
            things.setdefault(entry.name, (f"{kind} of {suite.name}", entry))
        things[suite.name] = ("suite", suite)
    if name not in things:
        close = difflib.get_close_matches(name, things, n=3, cutoff=0.3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "."
        raise ValueError(
            f"there is no suite, task, family or problem named {name!r}{hint} "
            "See: learned-opt tasks list"
        )
    return things[name]


def spec_lines(spec: AnySpec) -> list[str]:
    """The fields of a family spec, one a line."""
    problem = describe(spec.problem)
    name = problem.pop("name")
    lines = [
        f"problem      {name}: {_first_line(type(spec.problem))}",
        f"             ({spec.problem.source})",
        *(f"             {key} = {_short(value)}" for key, value in problem.items()),
        f"data         {spec.data}",
        f"batch size   {spec.batch_size}",
    ]
    for augmentation in spec.augmentations:
        fields = describe(augmentation)
        values = ", ".join(f"{k} = {_short(v)}" for k, v in fields.items() if k != "name")
        lines.append(f"augmented by {augmentation.name}" + (f": {values}" if values else ""))
    return lines


def task_lines(thing: Entry) -> list[str]:
    """What a task looks like: its numbers, tensors, a batch, loss and reference."""
    family, task, key = thing.spec.build(), task_of(thing), jax.random.key(0)
    params, batch = task.init(key), family.batch(task, key, "train")
    loss, _ = jax.jit(task.loss)(params, batch, key)
    reference = jax.jit(reference_loss)(family, task)
    lines = [f"parameters   {parameter_count(task):,}"]
    for path, leaf in jax.tree.leaves_with_path(params):
        name = "/".join(str(getattr(part, "key", part)) for part in path)
        lines.append(f"             {name} {tuple(leaf.shape)}")
    lines.append("numbers      " + (", ".join(_numbers(task)) or "none"))
    for which in ("train", "inner_valid", "outer_valid"):
        size = jax.eval_shape(lambda which=which: family.full(task, which)).x.shape[0]
        lines.append(f"{which:12} {size:,} examples")
    lines += [
        f"batch {name}      {part.dtype} {tuple(part.shape)}, {_range(part)}"
        for name, part in batch._asdict().items()
    ]
    return [
        *lines,
        f"loss         {float(loss):.4g} at the start, {float(reference):.4g} for zeros",
    ]


def task_of(thing: Entry) -> Any:
    """The task itself; of a family or a problem, the one drawn under a fixed key."""
    return thing.member if isinstance(thing, EvalTask) else thing.spec.build().member()


def measure(thing: Entry) -> dict[str, Any]:
    """Parameters, step cost and losses of `task_of(thing)`, on this machine, one run alone.

    `microseconds`: of a whole training step with Adam, best of 3 x 50; `start`, `reference`,
    `adam`: loss on `inner_valid` at the start, for zero parameters, after STEPS steps of Adam,
    whose learning rate is that of the problem's first example.
    """
    family, task, problem = thing.spec.build(), task_of(thing), thing.spec.problem
    rates = {row.name: row.learning_rate for row in reversed(EXAMPLES)}
    rate = thing.learning_rate if isinstance(thing, Example) else rates[problem.name]
    tx = optax.with_extra_args_support(optax.adam(rate))
    key = jax.random.key(1)
    state = inner_init(task, tx, key)

    @jax.jit
    def step(state: Any, key: jax.Array, family: Any) -> Any:
        return inner_step(family, tx, state, key)[0]

    @jax.jit
    def loss(family: Any, state: Any) -> Any:
        return full_loss(family, state.task, state.params, "inner_valid", state.model_state)[0]

    start = float(loss(family, state))
    for i in range(STEPS):
        state = step(state, jax.random.fold_in(key, i), family)
    adam = float(loss(family, state))
    times = []
    for _ in range(3):
        jax.block_until_ready(state)
        tick = time.perf_counter()
        for _ in range(50):
            state = step(state, key, family)
        jax.block_until_ready(state)
        times.append((time.perf_counter() - tick) / 50)
    return {
        "name": thing.name,
        "data": thing.spec.data,
        "batch": thing.spec.batch_size,
        "parameters": parameter_count(task),
        "microseconds": 1e6 * min(times),
        "reference": float(jax.jit(reference_loss)(family, task)),
        "start": start,
        "adam": adam,
        "rate": rate,
        "what": _first_line(type(problem)),
        "source": problem.source,
    }


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _numbers(task: Any) -> list[str]:
    inner = _numbers(task.task) if hasattr(task, "task") else []
    return inner + [f"{name} = {_short(np.asarray(x))}" for name, x in task.numbers.items()]


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{len(value)} values, {value.min():.3g} to {value.max():.3g}"
    if isinstance(value, np.ndarray):
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _range(x: jax.Array) -> str:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return f"mean {float(x.mean()):.3g}, deviation {float(x.std()):.3g}"
    return f"{int(x.min())} to {int(x.max())}"
