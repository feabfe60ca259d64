"""What families and suites look like to a person: tables and examples in the terminal."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._inner import full_loss, inner_init, inner_step
from ._meta_loss import reference_loss
from ._spec import FamilySpec, describe
from .problems import EXAMPLES, Example
from .suites import SUITES, EvalTask, Suite, TrainFamily

STEPS = 200
"""Steps of Adam in `measure`."""


def parameter_count(task: Any) -> int:
    """Number of parameters of a task."""
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(task.init, jax.random.key(0))))


def suite_lines(suite: Suite) -> list[str]:
    """One line an entry: name, network, data, batch, size and horizon, or weight."""
    rows = [("name", "network", "data", "batch", "augmented by", "weight / horizon")]
    for entry in suite.entries:
        spec = entry.spec
        augmented = ", ".join(a.name for a in spec.augmentations) or "-"
        if isinstance(entry, TrainFamily):
            last = f"{entry.weight:g}"
        else:
            last = f"{entry.horizon:,} steps" + (", gpu" if entry.tier == "gpu" else "")
        rows.append(
            (entry.name, spec.problem.name, spec.data, str(spec.batch_size), augmented, last)
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def find(name: str) -> tuple[str, Suite | TrainFamily | EvalTask | Example]:
    """(kind, thing): a suite, an entry of one, or an example family by its problem's name.

    Raises:
      ValueError: nothing has this name; lists the names closest to it.
    """
    import difflib

    things: dict[str, Any] = {}
    for row in EXAMPLES:
        things.setdefault(row.spec.problem.name, ("family", row))
    for suite in SUITES.values():
        for entry in suite.entries:
            things.setdefault(entry.name, (f"of {suite.name}", entry))
        things[suite.name] = ("suite", suite)
    if name not in things:
        close = difflib.get_close_matches(name, things, n=3, cutoff=0.3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "."
        raise ValueError(
            f"there is no suite, task or family named {name!r}{hint} See: learned-opt tasks list"
        )
    return things[name]


def spec_lines(spec: FamilySpec) -> list[str]:
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
        fields.pop("name")
        values = ", ".join(f"{key} = {_short(value)}" for key, value in fields.items())
        lines.append(f"augmented by {augmentation.name}" + (f": {values}" if values else ""))
    return lines


def example_lines(family: Any, task: Any) -> list[str]:
    """What one task looks like: numbers, tensors, a batch, loss and reference."""
    key = jax.random.key(0)
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
    x, y = batch
    lines.append(f"batch x      {x.dtype} {tuple(x.shape)}, {_range(x)}")
    lines.append(f"batch y      {y.dtype} {tuple(y.shape)}, {_range(y)}")
    lines.append(f"loss         {float(loss):.4g} at the start, {float(reference):.4g} for zeros")
    return lines


def measure(row: Example) -> dict[str, Any]:
    """Parameters, step cost and losses of a family's own member, on this machine, one task alone.

    `microseconds`: of a whole training step with Adam, best of 3 x 50; `start`, `reference`,
    `adam`: loss on `inner_valid` at the start, for zero parameters, after STEPS steps of Adam.
    """
    family = row.spec.build()
    task = family.member()
    tx = optax.with_extra_args_support(optax.adam(row.learning_rate))
    key = jax.random.key(1)
    state = inner_init(task, tx, key)

    @jax.jit
    def step(state: Any, key: jax.Array, family: Any) -> Any:
        return inner_step(family, tx, state, key)[0]

    loss = jax.jit(lambda family, task, params: full_loss(family, task, params, "inner_valid")[0])
    start = float(loss(family, task, state.params))
    for i in range(STEPS):
        state = step(state, jax.random.fold_in(key, i), family)
    adam = float(loss(family, task, state.params))
    times = []
    for _ in range(3):
        jax.block_until_ready(state)
        tick = time.perf_counter()
        for _ in range(50):
            state = step(state, key, family)
        jax.block_until_ready(state)
        times.append((time.perf_counter() - tick) / 50)
    return {
        "name": row.spec.problem.name,
        "data": row.spec.data,
        "batch": row.spec.batch_size,
        "parameters": parameter_count(task),
        "microseconds": 1e6 * min(times),
        "reference": float(jax.jit(reference_loss)(family, task)),
        "start": start,
        "adam": adam,
        "what": _first_line(type(row.spec.problem)),
        "source": row.spec.problem.source,
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
