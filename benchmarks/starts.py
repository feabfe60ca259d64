"""python -m benchmarks.starts CONFIG [--start "log_decay=0.06" ...]: untrained, task by task.

Scores of the rule of a configuration as it is before meta-training, on the suites of its
meta-validation, with constants of it times others: one row a --start, which names leaves of theta
that hold logarithms and the factors to multiply what they are the logarithm of by. What is scored
is what chooses the checkpoints of a run (mean over the runs of a task of the logarithm of the
last validation loss over that of the start, or of what the reference reaches). --set changes the
configuration as `python -m meta_train` does; --trained adds rows of artifacts of the same rule.
"""

import argparse
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import learned_opt
from checkpoints import describe_device
from learned_opt.optimizers._nominal_rule import LOG_GAIN
from meta_train._config import load_config
from meta_train._programs import Programs
from tasks import use_all_cores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    parser.add_argument("config", help="TOML file of a run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="K=V")
    parser.add_argument("--start", action="append", default=[], metavar="LEAF=FACTOR ...")
    parser.add_argument("--trained", nargs="+", default=[], metavar="ARTIFACT")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="of the suites, not all")
    args = parser.parse_args()
    use_all_cores()
    config = load_config(args.config, args.overrides)
    names = config.judge_names
    trainer, problems, judges = config.build()
    wanted = [n for n in names if not args.tasks or n in args.tasks]
    judged = [judge for n, judge in zip(names, judges, strict=True) if n in wanted]
    programs = Programs(trainer, problems, judged, 1)
    programs.compile(train=False)
    print(f"{config.optimizer}\n{config.valid}\n{describe_device()}, jax {jax.__version__}\n")
    start: Any = config.optimizer.init(jax.random.key(0))
    rows = [(text or "as it is", times(start, text)) for text in args.start or [""]]
    for name in args.trained:
        theta = jax.tree.map(jnp.asarray, dict(learned_opt.load(name).theta))
        rows.append((name, theta))
    print("|".join(["", "", *wanted, "mean", ""]))
    print("|".join(["", *("---" for _ in range(len(wanted) + 2)), ""]))
    for label, theta in rows:
        pairs = zip(programs._scores, programs.judges, strict=True)
        found = [float(score(judge, theta)) for score, judge in pairs]
        cells = [f"{x:.2f}" for x in found] + [f"{np.mean(found):.3f}"]
        print("|".join(["", label, *cells, ""]), flush=True)


def times(theta: Any, text: str) -> Any:
    """`theta` with the leaves named in "a.b=2 c=0.1" moved by the logarithms of the factors."""
    for leaf, factor in (part.split("=") for part in text.split()):
        *path, last = leaf.split(".")
        theta = jax.tree.map(lambda x: x, theta)  # a copy of the dictionaries
        inner = theta
        for name in path:
            inner = inner[name]
        inner[last] = inner[last] + math.log(float(factor)) / LOG_GAIN
    return theta


if __name__ == "__main__":
    main()
