"""The generalisation grid: one task again and again, each time with one thing changed.

Gates by held-out variants: Dahl et al. 2023, "Benchmarking neural network training algorithms".
"""

import dataclasses
from typing import Any

from learned_opt.tasks import AnySpec, EvalTask, FamilySpec
from learned_opt.tasks.augmentations import BFloat16, LossScale
from learned_opt.tasks.problems import (
    ACTIVATIONS,
    LSTM,
    MLP,
    Autoencoder,
    Conv,
    NormMLP,
    Transformer,
)

BASE = EvalTask(
    "grid",
    FamilySpec(MLP(32, 1, (32, 32), (1, 1)), "digits"),
    (("width", 32), ("depth", 1), ("activation", 0), ("gain", 1.0)),
    320,
)
"""A 64-32-10 network with relu on digits, batch 64, 320 steps: as many examples as 10 x 2,048."""

GRID = "grid"
"""Where a suite of tasks is asked for, these cells."""

BATCH_SIZES = (32, 256, 2048)
DATA = ("digits", "wine", "breast_cancer", "diabetes", "letters/8")
_TEXT, _TEXT_BATCH = "prose/24", 16


@dataclasses.dataclass(frozen=True)
class Cell:
    """The base task with one thing changed.

    Attributes:
      axis: what is changed; "base" for nothing.
      value: a multiple of the base's number, a batch size, or a name.
      task: the task that results.
      told: optimizers are told `told` times the horizon.
    """

    axis: str
    value: float | str
    task: EvalTask
    told: float = 1.0


def grid(base: EvalTask = BASE) -> tuple[Cell, ...]:
    """The cells, the base itself first.

    Of the architectures the transformer and the LSTM model bytes, so there the data and the
    batch size change too.

    Raises:
      ValueError: the base is no MLP that sets its width, depth, activation and gain.
    """
    numbers = dict(base.numbers)
    needed = ("width", "depth", "activation", "gain")
    if base.network != MLP.name or set(numbers) != set(needed):
        raise ValueError(
            f"the base of a grid must be an MLP that sets {', '.join(needed)}, got {base.name!r}: "
            f"{base.network} that sets {', '.join(numbers) or 'nothing'}; take BASE"
        )

    def width(by: int) -> EvalTask:
        units = by * int(numbers["width"])
        return _sized(base, {"width": units}, max_width=units, widths=(units, units))

    def depth(by: int) -> EvalTask:
        layers = by * int(numbers["depth"])
        return _sized(base, {"depth": layers}, max_depth=layers, depths=(layers, layers))

    def equal_examples(size: int) -> EvalTask:
        steps = round(base.horizon * base.spec.batch_size / size)
        return dataclasses.replace(_respec(base, batch_size=size), horizon=max(1, steps))

    kinds = [(i, name) for i, name in enumerate(ACTIVATIONS) if i != numbers["activation"]]
    sizes = [size for size in BATCH_SIZES if size != base.spec.batch_size]
    data = [name for name in DATA if name != base.spec.data]
    changes: list[tuple[str, float | str, EvalTask]] = [
        *(("horizon", x, dataclasses.replace(base, horizon=x * base.horizon)) for x in (2, 5, 10)),
        *(("width", x, width(x)) for x in (4, 16)),
        *(("depth", x, depth(x)) for x in (2, 4)),
        *(("batch at equal steps", x, _respec(base, batch_size=x)) for x in sizes),
        *(("batch at equal examples", x, equal_examples(x)) for x in sizes),
        *(("activation", name, _sized(base, {"activation": i})) for i, name in kinds),
        ("norm", "layer", _normed(base)),
        *(("init", x, _sized(base, {"gain": x * numbers["gain"]})) for x in (0.1, 10)),
        *(("loss scale", x, _augmented(base, LossScale((x, x)))) for x in (1e-3, 1e3)),
        ("precision", "bfloat16", _augmented(base, BFloat16())),
        *(("data", name, _respec(base, data=name)) for name in data),
        *(("architecture", task.network, task) for task in _architectures(base)),
    ]
    told = (0.5, 2, 10)
    return (
        Cell("base", 1, base),
        *(Cell(axis, value, _named(base, axis, value, task)) for axis, value, task in changes),
        *(Cell("told horizon", x, _named(base, "told horizon", x, base), told=x) for x in told),
    )


def _named(base: EvalTask, axis: str, value: float | str, task: EvalTask) -> EvalTask:
    text = value if isinstance(value, str) else f"{value:g}"
    name = f"{base.name}~{axis}-{text}".replace(" ", "-")
    return dataclasses.replace(task, name=name, variant_of=base.name)


def _respec(base: EvalTask, **changes: Any) -> EvalTask:
    return dataclasses.replace(base, spec=dataclasses.replace(base.spec, **changes))


def _augmented(base: EvalTask, augmentation: Any) -> EvalTask:
    return _respec(base, augmentations=(*base.spec.augmentations, augmentation))


def _sized(base: EvalTask, numbers: dict[str, float], **sizes: Any) -> EvalTask:
    """Other numbers of the network, and other sizes of its arrays."""
    task = _respec(base, problem=dataclasses.replace(base.spec.problem, **sizes))
    return dataclasses.replace(task, numbers=tuple((dict(base.numbers) | numbers).items()))


def _normed(base: EvalTask) -> EvalTask:
    """The same network with a norm before every activation."""
    numbers = dict(base.numbers)
    width, depth = int(numbers["width"]), int(numbers["depth"])
    task = _respec(base, problem=NormMLP(width, depth, (depth, depth)))
    kept = {name: numbers[name] for name in ("depth", "activation")}
    return dataclasses.replace(task, numbers=tuple(kept.items()))


def _architectures(base: EvalTask) -> tuple[EvalTask, ...]:
    """Small ones: each trains in seconds."""

    def task(spec: AnySpec, **numbers: float) -> EvalTask:
        return dataclasses.replace(base, spec=spec, numbers=tuple(numbers.items()))

    def same_data(problem: Any) -> AnySpec:
        return dataclasses.replace(base.spec, problem=problem)

    def text(problem: Any) -> FamilySpec:
        return FamilySpec(problem, _TEXT, _TEXT_BATCH)

    return (
        task(same_data(Conv()), width=8, activation=0, gain=1.0),
        task(text(LSTM()), width=32, gain=1.0),
        task(text(Transformer()), depth=2, hidden=32, activation=0, gain=0.7),
        task(same_data(Autoencoder()), hidden=32, code=8, activation=0, gain=1.0),
    )
