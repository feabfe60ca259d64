"""python -m benchmarks.mix [NAME ...]: inner steps a second of every problem of a training suite.

The rule is that of `small`, untrained. FullES makes runs of 200 steps at most; PES truncations of
20. Every figure is reckoned from seconds of processor time, so that it holds on a busy machine:
inner steps / processor seconds x cores. What is compiled, and the first call, do not count.

  of limit  counted arithmetic of the step (XLA's count of the unvectorised gradient and update; a
            scan's body counts once) over what matrix products of 1,024 x 1,024 do in that time
  update    share of the learned update: against plain SGD in its place
  data      share of drawing minibatches: against a batch that is always the same, under SGD
  idle      share of steps after a pair's horizon, expected

NAME: part of a family's name. --quick: FullES with 16 pairs and runs of 50 steps.
--against PYTHON: interpreter of another checkout, which runs this very file: rounds alternate, and
`ratio` is its time over ours, the median of the rounds. --json: lines for machines.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from learned_opt import Spectral
from learned_opt.devices import compiler_options, core_count, device_mesh, use_all_cores
from learned_opt.meta_train import PES, FullES, MetaProblem, Objective
from learned_opt.tasks import SUITES
from learned_opt.tasks.suites import TrainFamily

ROUNDS, TRUNCATION = 3, 20


@dataclasses.dataclass(frozen=True)
class SGD:
    """Next to nothing: what is left is the problem."""

    uses_epochs: ClassVar[bool] = False

    def init(self, key: jax.Array) -> Any:
        """A learning rate."""
        del key
        return {"lr": jnp.asarray(0.01)}

    def transform(self, theta: Any, *, num_steps: Any = None) -> Any:
        """The gradient times it."""
        del num_steps
        return optax.scale(theta["lr"])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OneBatch:
    """A family that draws the same examples at every step."""

    family: Any

    def sample(self, key: jax.Array) -> Any:
        """A task."""
        return self.family.sample(key)

    def batch(self, task: Any, key: jax.Array, split: Any) -> Any:
        """Under a fixed key."""
        del key
        return self.family.batch(task, jax.random.key(0), split)

    def full(self, task: Any, split: Any) -> Any:
        """All examples."""
        return self.family.full(task, split)

    def without_test(self) -> Any:
        """What cannot read the test split."""
        return OneBatch(self.family.without_test())


class Case(NamedTuple):
    """What a process of its own measures."""

    suite: str
    family: int
    estimator: str
    pairs: int
    steps: int
    rule: str = "spectral"
    fixed: bool = False


def problem(case: Case) -> MetaProblem:
    """What the outer loop sees of the case."""
    family: Any = SUITES[case.suite].entries[case.family].spec.build().without_test()
    rule: Any = Spectral(learning_rate=0.05) if case.rule == "spectral" else SGD()
    family = OneBatch(family) if case.fixed else family
    return MetaProblem(family, rule, Objective(), device_mesh(case.pairs))


def serve(case: Case) -> None:
    """Compile; then for every line that comes in print microseconds of processor time a step."""
    use_all_cores()
    meta, horizon = problem(case), (case.steps, case.steps)
    estimator: Any = FullES(pairs=case.pairs, sigma=0.08, horizon=horizon)
    if case.estimator == "pes":
        horizon = (case.steps, 5 * case.steps)
        estimator = PES(pairs=case.pairs, sigma=0.08, horizon=horizon, truncation=TRUNCATION)
    theta = meta.optimizer.init(jax.random.key(0))
    state = jax.jit(estimator.init)(meta, theta, jax.random.key(1))
    step = jax.jit(estimator.estimate, compiler_options=compiler_options())
    for number, _ in enumerate(sys.stdin):
        key = jax.random.key(number)
        tick = time.process_time()
        found, state = jax.block_until_ready(step(meta, theta, state, key, jnp.int32(0)))
        # The first call compiles.
        print(1e6 * (time.process_time() - tick) / float(found.inner_steps), flush=True)


class Child:
    """A process that measures a case, one round at a time."""

    def __init__(self, python: str, case: Case) -> None:
        command = [python, __file__, "--serve", json.dumps(case)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.round()

    def round(self) -> float:
        """Microseconds of processor time a step."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def microseconds(case: Case, pythons: list[str]) -> list[float]:
    """Of each interpreter, the median of alternating rounds; and the median of their ratios."""
    children = [Child(python, case) for python in pythons]
    rounds = [[child.round() for child in children] for _ in range(ROUNDS)]
    for child in children:
        child.close()
    ratios = [row[-1] / row[0] for row in rounds]
    return [*map(statistics.median, zip(*rounds, strict=True)), statistics.median(ratios)]


def arithmetic(case: Case) -> float:
    """Floating-point operations of one step of one run, as XLA counts them."""
    meta, key = problem(case), jax.random.key(0)
    task = jax.jit(meta.family.sample)(key)
    theta, params = meta.optimizer.init(key), jax.jit(task.init)(key)
    tx = meta.optimizer.transform(theta, num_steps=jnp.int32(case.steps))
    batch = meta.family.batch(task, key, "train")

    def step(params: Any, state: Any) -> Any:
        grads = jax.grad(lambda p: task.loss(p, batch, key)[0])(params)
        return tx.update(grads, state, params)

    found: Any = jax.jit(step).lower(params, tx.init(params)).cost_analysis()
    return float(found["flops"])


def idle(estimator: str, family: Any, pairs: int) -> float:
    """Share of the steps that come after a pair's horizon, over a hundred estimates."""
    if estimator == "pes":
        return 0.0
    from learned_opt.meta_train.estimators._grouped import group_size

    here = pairs // device_mesh(pairs).size
    size = group_size(family, here)
    shares = jax.random.uniform(jax.random.key(0), (100, here), minval=FullES.shortest)
    longest = jnp.sort(shares, 1).reshape(100, -1, size).max(2)
    return float(1 - shares.mean() / longest.mean())


def matrix_speed() -> float:
    """Floating-point operations of matrix products in a second of processor time."""
    x = jnp.ones((1024, 1024))
    jax.block_until_ready(x @ x)
    tick = time.process_time()
    for _ in range(10):
        jax.block_until_ready(x @ x)
    return 10 * 2 * 1024**3 / (time.process_time() - tick)


def measure(case: Case, python: str | None, parts: bool, flops: float) -> dict[str, Any]:
    """A row of the table; with `parts` the shares of update and data, too."""
    meta = problem(case)
    seconds, *_, ratio = microseconds(case, [sys.executable, *([python] if python else [])])
    row = {
        "problem": SUITES[case.suite].entries[case.family].name,
        "by": case.estimator,
        "pairs": case.pairs,
        "microseconds": seconds,
        "steps/s": core_count() * 1e6 / seconds,
        "of limit": arithmetic(case) / flops / seconds * 1e6,
        "idle": idle(case.estimator, meta.family, case.pairs),
    }
    if python:
        row["ratio"] = ratio
    if parts:
        bare, still = (
            microseconds(case._replace(rule="sgd", fixed=fixed), [sys.executable])[0]
            for fixed in (False, True)
        )
        row |= {"update": 1 - bare / seconds, "data": (bare - still) / seconds}
    return row


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    shares = (
        f"{row[name]:{width}.0%}" if name in row else " " * width
        for name, width in (("of limit", 8), ("update", 7), ("data", 5), ("idle", 5))
    )
    ratio = f"{row['ratio']:6.2f}" if "ratio" in row else ""
    head = f"{row['problem']:32} {row['by']:>8} {row['pairs']:>5} {row['steps/s']:9,.0f}"
    return " ".join([head, *shares, ratio])


def main() -> None:
    """Print a row for every case, and the mix."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mix", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    known = [name for name, one in SUITES.items() if isinstance(one.entries[0], TrainFamily)]
    parser.add_argument("--suite", default="META_TRAIN_V2", choices=known)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--against", metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", metavar="CASE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(Case(*json.loads(args.serve)))
        return
    use_all_cores()
    show = json.dumps if args.json else line
    kinds, steps, flops = [("full_es", 16)], 50, matrix_speed()
    if not args.quick:
        kinds, steps = [(one, pairs) for one in ("full_es", "pes") for pairs in (16, 64)], 200
    if not args.json:
        print(f"{args.suite}, {core_count()} cores, a core's products {flops / 1e9:.0f} GFLOP/s")
        print(
            f"{'problem':32} {'by':>8} pairs   steps/s of limit  update  data  idle"
            + ("  ratio" if args.against else "")
        )
    entries: Any = SUITES[args.suite].entries
    rows = []
    for i, entry in enumerate(entries):
        if args.names and not any(name in entry.name for name in args.names):
            continue
        for kind in kinds:
            case = Case(args.suite, i, *kind, steps)
            row = measure(case, args.against, kind == kinds[0], flops)
            rows.append((entry.weight, row))
            print(show(row), flush=True)
    if not rows:
        names = ", ".join(entry.name for entry in entries)
        parser.error(f"NAME must be part of a family's name, got {args.names}; there are: {names}")
    for by, pairs in kinds:
        part = [(w, row) for w, row in rows if (row["by"], row["pairs"]) == (by, pairs)]
        weight, ours = sum(w for w, _ in part), sum(w * row["microseconds"] for w, row in part)
        row = {"problem": "all by weight", "by": by, "pairs": pairs}
        row["steps/s"] = core_count() * 1e6 * weight / ours
        if args.against:
            row["ratio"] = sum(w * row["microseconds"] * row["ratio"] for w, row in part) / ours
        print(show(row), flush=True)


if __name__ == "__main__":
    main()
