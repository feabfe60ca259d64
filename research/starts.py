"""python -m research.starts CONFIG [--start "log_decay=0.06" ...]: untrained, task by task.

Scores of the rule of a configuration as it is before meta-training, on the suites of its
meta-validation, with other constants: one row a --start, of words "leaf=factor", for a leaf of
theta that holds a logarithm, as log_decay or damping.log_start, and what to multiply it by, or
"leaf/row/column=number" for an entry, as controller.skip/13/0=0.15. What is scored is what chooses
the checkpoints of a run. --set changes the configuration as `learned-opt meta-train` does;
--trained adds rows of artifacts of the same rule, and --without LEAF, as controller, what these are
with that part of theta as it was at the start.
"""

import argparse
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.meta_train import Programs, build, load_config
from learned_opt.parts._controlled import LOG_GAIN


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.starts", description=__doc__)
    parser.add_argument("config", help="TOML file of a run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="K=V")
    parser.add_argument("--start", action="append", default=[], metavar="LEAF=FACTOR ...")
    parser.add_argument("--trained", nargs="+", default=[], metavar="ARTIFACT")
    parser.add_argument("--without", nargs="+", default=[], metavar="LEAF", help="of --trained")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="of the suites, not all")
    args = parser.parse_args()
    use_all_cores()
    config = load_config(args.config, args.overrides)
    names = config.judge_names
    unknown = sorted(set(args.tasks or []) - set(names))
    if unknown:
        parser.error(f"--tasks takes names of {', '.join(names)}; got {', '.join(unknown)}")
    start: Any = config.optimizer.init(jax.random.key(0))
    rows = []
    for text in args.start or [""]:
        try:
            rows.append((text or "as it is", moved(start, text)))
        except (KeyError, ValueError, IndexError, TypeError):
            paths = [path for path, _ in jax.tree.leaves_with_path(start)]
            leaves = [jax.tree_util.keystr(p, simple=True, separator=".") for p in paths]
            parser.error(f"--start takes LEAF=FACTOR words of {', '.join(leaves)}; got {text!r}")
    for name in args.trained:
        theta = jax.tree.map(jnp.asarray, dict(learned_opt.load(name).theta))
        rows.append((name, theta))
        for leaf in args.without:
            if leaf not in theta:
                parser.error(f"--without takes {', '.join(theta)}; got {leaf!r}")
            rows.append((f"{name} without {leaf}", theta | {leaf: start[leaf]}))
    trainer, problems, judges = build(config)
    wanted = [n for n in names if not args.tasks or n in args.tasks]
    judged = [judge for n, judge in zip(names, judges, strict=True) if n in wanted]
    programs = Programs(trainer, problems, judged, 1)
    programs.compile(train=False)
    print(f"{config.optimizer}\n{config.valid}\n{describe_device()}, jax {jax.__version__}\n")
    print("|".join(["", "", *wanted, "mean", ""]))
    print("|".join(["", *("---" for _ in range(len(wanted) + 2)), ""]))
    for label, theta in rows:
        found = [float(scores[:, 0].mean()) for scores in programs.scores(theta)]
        cells = [f"{x:.2f}" for x in found] + [f"{np.mean(found):.3f}"]
        print("|".join(["", label, *cells, ""]), flush=True)


def moved(theta: Any, text: str) -> Any:
    """`theta` with what the words of a --start change."""
    for word in text.split():
        leaf, number = word.split("=")
        name, *place = leaf.split("/")
        *path, last = name.split(".")
        theta = jax.tree.map(lambda x: x, theta)  # Dictionaries of its own.
        inner = theta
        for key in path:
            inner = inner[key]
        if place:
            inner[last] = inner[last].at[tuple(map(int, place))].set(float(number))
        else:
            inner[last] = inner[last] + math.log(float(number)) / LOG_GAIN
    return theta


if __name__ == "__main__":
    main()
