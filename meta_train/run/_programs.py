"""The compiled programs of a run, and where their arrays live."""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from learned_opt.devices import compiler_options, core_count, row_spec

from .._trainer import Judge, MetaTrainState, Metrics, Trainer
from .._unroll import MetaProblem

MAX_PENDING = 16
"""Calls with collectives that may wait for their turn: beyond about 32, several CPU devices of one
process deadlock in jax 0.10 and 0.11."""


class Programs:
    """What a run calls: `steps` and `validate`, compiled; and `start`, the state it starts from.

    One family: a log interval is one compiled scan. Several: a program each, compiled side
    by side and called without waiting for one another, then one that steps theta.

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
        self.start: MetaTrainState = jax.jit(trainer.init, out_shardings=layout)(self.problems)
        options = compiler_options()

        def jit(fn: Callable[..., Any], out: Any, donate: tuple[int, ...] = ()) -> Any:
            return jax.jit(fn, out_shardings=out, donate_argnums=donate, compiler_options=options)

        self._steps = jit(
            lambda problems, state: trainer.steps(problems, state, length), (layout, whole), (1,)
        )
        self._estimates = [
            jit(
                lambda problem, state, i=i: trainer.estimate(i, problem, state),
                (whole, layout.estimator_states[i]),
            )
            for i in range(len(problems))
        ]
        self._apply = jit(trainer.apply, (layout, whole))
        self._scores = [jit(Judge.scores, whole) for _ in judges]
        self._select = jit(
            lambda state, scores: trainer.select(state, jnp.stack(scores)[..., 0].mean()),
            layout, (0,),
        )  # fmt: skip

    def compile(self, train: bool = True) -> None:
        """Compile all at once: each keeps about one core busy."""
        theta, jobs = self.start.theta, []
        with concurrent.futures.ThreadPoolExecutor(max(2, core_count())) as pool:

            def submit(program: Any, *args: Any) -> Any:
                return pool.submit(lambda: program.lower(*args).compile())

            if train and len(self.problems) == 1:
                self._steps = submit(self._steps, self.problems, self.start)
                jobs.append("_steps")
            elif train:
                pairs = zip(self._estimates, self.problems, strict=True)
                self._estimates = [submit(one, p, self.start) for one, p in pairs]
                jobs.append("_estimates")
            shared: dict[Any, Any] = {}
            for i, judge in enumerate(self.judges):
                shape = program_of(judge)
                if shape not in shared:
                    shared[shape] = submit(self._scores[i], judge, theta)
                self._scores[i] = shared[shape]
            jobs.append("_scores")
            for name in jobs:
                found = getattr(self, name)
                done = (
                    [job.result() for job in found] if isinstance(found, list) else found.result()
                )
                setattr(self, name, done)

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

    def steps(self, state: MetaTrainState) -> tuple[MetaTrainState, Metrics]:
        """`length` outer steps; `state` is used up."""
        if len(self.problems) == 1:
            return self._steps(self.problems, state)
        steps = []
        for _ in range(self.length):
            estimates = []
            for i, (program, problem) in enumerate(
                zip(self._estimates, self.problems, strict=True)
            ):
                estimates.append(program(problem, state))
                if i % MAX_PENDING == MAX_PENDING - 1:
                    jax.block_until_ready(estimates[-1])
            state, metrics = self._apply(state, estimates)
            jax.block_until_ready(state.step)
            steps.append(metrics)
        return state, Metrics.over(jax.tree.map(lambda *xs: np.stack(xs), *steps))

    def validate(self, state: MetaTrainState) -> tuple[MetaTrainState, list[np.ndarray]]:
        """Judge theta and keep it if it is the best; `state` is used up. Scores as of `scores`."""
        scores = self.scores(state.theta)
        state = self._select(state, scores)
        return state, jax.device_get(scores)

    def first_scores(self) -> list[np.ndarray]:
        """Of the theta that the run began with; to be had until `start` is used up."""
        return jax.device_get(self.scores(self.start.theta))

    def scores(self, theta: Any) -> list[jax.Array]:
        """Of every run at theta, as of `Judge.scores`, an array for each judge, in their order."""
        scores = []
        for i, (program, judge) in enumerate(zip(self._scores, self.judges, strict=True)):
            scores.append(program(judge, theta))
            if i % MAX_PENDING == MAX_PENDING - 1:
                jax.block_until_ready(scores)
        return scores


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
