"""The compiled programs of a run, and where their arrays live."""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from learned_opt.devices import compiled, compiler_options, core_count, row_spec

from .._trainer import Judge, MetaTrainState, Metrics, Trainer
from .._unroll import MetaProblem
from ..estimators import MetaGrad
from ._facts import facts_of

MAX_PENDING = 16
"""Calls with collectives that may wait for their turn: beyond about 32, several CPU devices of one
process deadlock in jax 0.10 and 0.11."""


class Source(NamedTuple):
    """A program that is not compiled yet: jitted, the structure of its results, and its parts."""

    jitted: Any
    results: Any
    parts: list[Any]

    def __call__(self, *args: Any) -> Any:
        return self.jitted(*args)

    def compile(self, mesh: Mesh, *args: Any) -> tuple[Any, bool]:
        """Compiled, and whether it was found on disk."""
        return compiled(self.jitted, args, self.results, facts_of(*self.parts), mesh)


class Programs:
    """What a run calls: `steps` and `validate`, compiled; and `start`, the state it starts from.

    One family: a log interval is one compiled scan. Several: a program each, compiled side
    by side and called without waiting for one another, then one that steps theta. Judges that
    differ in data alone share a program. Programs are kept on disk, see `devices.kept_bytes`.

    Args:
      trainer: the mathematics.
      problems: one a family.
      judges: of the meta-validation, whose score is their mean.
      length: outer steps of a log interval.
    """

    def __init__(
        self,
        trainer: Trainer,
        problems: Sequence[MetaProblem],
        judges: Sequence[Judge],
        length: int,
    ) -> None:
        self.mesh, self.length = problems[0].mesh, length
        self.problems = replicate(self.mesh, tuple(problems))
        self.judges = replicate(self.mesh, tuple(judges))
        shapes = jax.eval_shape(trainer.init, self.problems)
        whole = NamedSharding(self.mesh, PartitionSpec())
        # One layout from the first call to the last, or the second call compiles again.
        layout = jax.tree.map(
            lambda spec: NamedSharding(self.mesh, spec), trainer.specs(shapes, row_spec())
        )
        options = compiler_options()

        def jit(fn: Callable[..., Any], out: Any, donate: tuple[int, ...] = ()) -> Any:
            return jax.jit(fn, out_shardings=out, donate_argnums=donate, compiler_options=options)

        begin = Source(jit(trainer.init, layout), shapes, ["init", trainer, problems])
        self.start: MetaTrainState = begin.compile(self.mesh, self.problems)[0](self.problems)
        number: Any = np.float32(0)
        metrics = Metrics(*4 * [number])
        self._steps: Any = Source(
            jit(
                lambda problems, state: trainer.steps(problems, state, length),
                (layout, whole), (1,),
            ),
            (shapes, metrics), ["steps", length, trainer, problems],
        )  # fmt: skip
        self._estimates: Any = [
            Source(
                jit(
                    lambda problem, state, i=i: trainer.estimate(i, problem, state),
                    (whole, layout.estimator_states[i]),
                ),
                (MetaGrad(shapes.theta, *3 * [number]), shapes.estimator_states[i]),
                ["estimate", i, trainer.estimators[i], problem],
            )
            for i, problem in enumerate(problems)
        ]
        self._apply = jit(trainer.apply, (layout, whole))
        shared: dict[Any, Source] = {}
        for judge in judges:
            if program_of(judge) not in shared:
                one = Source(jit(Judge.scores, whole), number, ["scores", judge])
                shared[program_of(judge)] = one
        self._scores: Any = [shared[program_of(judge)] for judge in judges]
        self._select = jit(
            lambda state, scores: trainer.select(state, jnp.stack(scores)[..., 0].mean()),
            layout, (0,),
        )  # fmt: skip
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self.loaded = 0

    def compile(self, train: bool = True) -> None:
        """Compile all at once, each on about one core. Returns when outer steps can be taken.

        The judges are waited for when they are first called.
        """
        self._pool = concurrent.futures.ThreadPoolExecutor(max(2, core_count()))
        training, judging = self.sources()
        shared: dict[int, Any] = {}
        # First come those that are needed first.
        for source, args in [*(training if train else ()), *judging]:
            if id(source) not in shared:
                shared[id(source)] = self._pool.submit(source.compile, self.mesh, *args)
        self._pool.shutdown(wait=False)
        self._scores = [shared[id(source)] for source, _ in judging]
        if train:
            done = self._gathered([shared[id(source)] for source, _ in training])
            self._steps, self._estimates = done[0], done

    def sources(self) -> tuple[list[tuple[Source, Any]], list[tuple[Source, Any]]]:
        """What is to be compiled, with its arguments: of training, and one for each judge."""
        if len(self.problems) == 1:
            training = [(self._steps, (self.problems, self.start))]
        else:
            training = [
                (one, (problem, needed(self.start, i)))
                for i, (one, problem) in enumerate(zip(self._estimates, self.problems, strict=True))
            ]
        scores = zip(self._scores, self.judges, strict=True)
        return training, [(one, (judge, self.start.theta)) for one, judge in scores]

    def compile_judges(self) -> None:
        """Wait for the judges."""
        jobs = [one for one in self._scores if isinstance(one, concurrent.futures.Future)]
        if jobs:
            self._scores = self._gathered(jobs)

    def _gathered(self, jobs: list[Any]) -> list[Any]:
        """The compiled programs; counts those that were loaded."""
        found = [job.result() for job in jobs]
        self.loaded += sum(one[1] for one in {id(job): job.result() for job in jobs}.values())
        return [program for program, _ in found]

    def close(self) -> None:
        """Compile no more; a compilation that is under way cannot be ended."""
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def memory(self) -> int:
        """Bytes that outer steps take on one device: its arguments, results and temporaries."""
        compiled = [self._steps] if len(self.problems) == 1 else self._estimates
        stats = [one.memory_analysis() for one in compiled]
        return max(
            m.argument_size_in_bytes
            + m.output_size_in_bytes
            + m.temp_size_in_bytes
            - m.alias_size_in_bytes
            for m in stats
        )

    def estimate(self, family: int, state: MetaTrainState) -> tuple[MetaGrad, Any]:
        """The meta-gradient of one of several families, and its estimator's next state."""
        return self._estimates[family](self.problems[family], needed(state, family))

    def steps(self, state: MetaTrainState) -> tuple[MetaTrainState, Metrics]:
        """`length` outer steps; `state` is used up."""
        if len(self.problems) == 1:
            return self._steps(self.problems, state)
        steps = []
        for _ in range(self.length):
            estimates = []
            for i in range(len(self.problems)):
                estimates.append(self.estimate(i, state))
                if i % MAX_PENDING == MAX_PENDING - 1:
                    jax.block_until_ready(estimates[-1])
            state, metrics = self._apply(state, estimates)
            jax.block_until_ready(state.step)
            steps.append(metrics)
        return state, Metrics.over(jax.tree.map(lambda *xs: np.stack(xs), *steps))

    def validate(
        self, state: MetaTrainState, untrained: tuple[Any, jax.Array] | None = None
    ) -> tuple[MetaTrainState, list[np.ndarray]]:
        """Judge theta and keep it if it is the best; `state` is used up. Scores as of `scores`.

        `untrained`: theta and number of an earlier step, to be judged in place of the state's.
        """
        theta, step = untrained or (state.theta, state.step)
        scores = self.scores(theta)
        judged = self._select(state._replace(theta=theta, step=step), scores)
        if untrained:
            judged = judged._replace(theta=state.theta, step=state.step)
        return judged, jax.device_get(scores)

    def first_scores(self) -> list[np.ndarray]:
        """Of the theta that the run began with; to be had until `start` is used up."""
        return jax.device_get(self.scores(self.start.theta))

    def score(self, i: int, judge: Judge, theta: Any) -> jax.Array:
        """As of `Judge.scores`, by judge number i or one that differs from it in data alone."""
        self.compile_judges()
        return self._scores[i](judge, theta)

    def scores(self, theta: Any) -> list[jax.Array]:
        """Of every run at theta, as of `Judge.scores`, an array for each judge, in their order."""
        scores = []
        for i, judge in enumerate(self.judges):
            scores.append(self.score(i, judge, theta))
            if i % MAX_PENDING == MAX_PENDING - 1:
                jax.block_until_ready(scores)
        return scores


def needed(state: MetaTrainState, family: int) -> MetaTrainState:
    """What an estimate of one family reads: its program is the same beside other families."""
    states: Any = {family: state.estimator_states[family]}
    return state._replace(
        estimator_states=states, outer_state=(), best_theta=(), best_score=(), best_step=(),
        first_score=(), inner_steps=(),
    )  # fmt: skip


def program_of(judge: Judge) -> Any:
    """What judges that share a compiled program have in common."""
    leaves = jax.tree.leaves(judge)
    return jax.tree.structure(judge), *((x.shape, x.dtype) for x in leaves)


def replicate(mesh: Mesh, tree: Any) -> Any:
    """The arrays of a tree on every device of the mesh, those of other processes included.

    Every process gives the same values.
    """
    whole = NamedSharding(mesh, PartitionSpec())

    def put(x: Any) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = np.asarray(jax.random.key_data(x))
            return jax.random.wrap_key_data(jax.device_put(data, whole))
        return jax.device_put(np.asarray(x), whole)

    return jax.tree.map(put, tree)
