"""How much memory a run needs at least, known from shapes before anything is allocated."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from learned_opt import LearnedOptimizer
from learned_opt._checks import one_line
from learned_opt.devices import device_memory, remembered
from learned_opt.tasks import inner_init

from .._trainer import Judge, Trainer
from .._unroll import MetaProblem, begin
from ..settings import ConfigError
from ._facts import facts_of

KEPT = 0.5
"""Of what differentiation keeps of a loss, the share that a compiled program has been seen to hold
at least: it keeps no copy twice, and computes cheap parts anew."""
CURE = "choose smaller sizes in [optimizer] and [family], or fewer runs in [estimator] and [valid]"
UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


class Need(NamedTuple):
    """What a run needs at least at one time: `bytes` of what `holder` has `available`."""

    what: str
    bytes: int
    available: int
    holder: str


def check_memory(
    trainer: Trainer, problems: Sequence[MetaProblem], judges: Sequence[Judge]
) -> Need:
    """The largest need; ConfigError if theta, what is kept with it, or the runs cannot fit."""
    largest = None
    for need in memory_needs(trainer, problems, judges):
        if need.bytes > need.available:
            raise ConfigError(
                f"{need.what} would take at least {size_text(need.bytes)} of memory, "
                f"{need.holder} has {size_text(need.available)}: {CURE}"
            )
        if not largest or need.bytes > largest.bytes:
            largest = need
    assert largest
    return largest


def memory_needs(
    trainer: Trainer, problems: Sequence[MetaProblem], judges: Sequence[Judge]
) -> Iterator[Need]:
    """Lower bounds by `jax.eval_shape`, bit by bit: later ones may make arrays of earlier sizes."""
    mesh = problems[0].mesh
    here = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    memory, shared = device_memory(here[0]), here[0].platform == "cpu"
    holder = "this machine" if shared else "a device"

    def need(what: str, one: int, spread: int) -> Need:
        """`one`: bytes that every device holds; `spread`: of what the devices share."""
        total = (one + spread // mesh.size) * (len(here) if shared else 1)
        return Need(what, total, memory, holder)

    theta = theta_shapes(trainer.optimizer)
    yield need("[optimizer]: theta", 2 * tree_bytes(theta), 0)
    state = _shapes("estimator", trainer.init, tuple(problems))
    rows = sum(
        tree_bytes(part)
        for one, part in zip(trainer.estimators, state.estimator_states, strict=True)
        if one.row_state
    )
    data = {id(x): x for x in jax.tree.leaves((tuple(problems), tuple(judges)))}
    whole = tree_bytes(state) - rows + tree_bytes(list(data.values()))
    yield need("the state of meta-training", whole, rows)
    known: dict[Any, _Lane] = {}
    for estimator, problem in zip(trainer.estimators, problems, strict=True):
        lane = known[id(problem.family)] = _lane(problem, theta)
        # Theta is perturbed, or has a gradient; a run in the state is counted there.
        each = lane.work + tree_bytes(theta) + estimator.kept * lane.run
        runs = estimator.runs + problem.objective.untrained * estimator.untrained_runs
        spread = rows + runs * each + estimator.batches * lane.batch
        yield need("[estimator]: the runs of an outer step", whole, spread)
    for judge in judges:
        family = judge.problem.family
        lane = known.get(id(family)) or _lane(judge.problem, theta)
        beside = 1 + judge.problem.objective.untrained
        spread = rows + judge.runs * (beside * (lane.run + lane.work) + lane.batch)
        yield need("[valid]: its runs", whole, spread)


def theta_shapes(optimizer: LearnedOptimizer) -> Any:
    """Theta as shapes and types; ConfigError if it cannot be built."""
    return _shapes("optimizer", optimizer.init, jax.random.key(0))


@contextlib.contextmanager
def fits() -> Iterator[None]:
    """Within, memory that runs out is a ConfigError."""
    try:
        yield
    except MemoryError as error:
        raise ConfigError(_unfit(error)) from error
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        raise ConfigError(_unfit(error)) from error


def _unfit(error: Exception) -> str:
    why = one_line(str(error).removeprefix("RESOURCE_EXHAUSTED:").rstrip(". ") or "no more", 120)
    return f"the run does not fit into memory ({why}): {CURE}"


class _Lane(NamedTuple):
    """Bytes of one training run.

    `run`: task, parameters, states of the optimizer; `batch`: a minibatch; `work`: what the
    gradient of its loss has to keep.
    """

    run: int
    batch: int
    work: int


def _lane(problem: MetaProblem, theta: Any) -> _Lane:
    # To trace the losses of dozens of judges takes longer than to load their programs.
    facts = facts_of("lane", problem)
    return _Lane(*remembered((theta, problem.family), facts, lambda: [*_traced(problem, theta)]))


def _traced(problem: MetaProblem, theta: Any) -> _Lane:
    def shapes(theta: Any, family: Any, key: jax.Array) -> Any:
        task = family.sample(key)
        tx = problem.transform(theta, begin(family, task, key, jnp.int32(1)), None)
        state, batch = inner_init(task, tx, key), family.batch(task, key, "train")

        def loss(params: Any) -> jax.Array:
            return task.train_loss(params, state.model_state, batch, key)[0]

        saved = jax.vjp(loss, state.params)[1]
        return state, batch, saved

    found = _shapes("family", shapes, theta, problem.family, jax.random.key(0))
    run, batch, saved = map(tree_bytes, found)
    return _Lane(run, batch, int(KEPT * max(0, saved - batch)))  # it keeps the batch as well


def _shapes(where: str, fn: Callable[..., Any], *args: Any) -> Any:
    try:
        return jax.eval_shape(fn, *args)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"[{where}] cannot be built from these settings ({reason})") from error


def tree_bytes(tree: Any) -> int:
    """Of all its arrays."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def size_text(count: int) -> str:
    """ "1.2 GB"."""
    power = min((len(str(count)) - 1) // 3, len(UNITS) - 1)
    return f"{count / 1000**power:.3g} {UNITS[power]}"
