"""learned-opt tasks list | show NAME | prepare NAME | measure [SUITE]: what to train on."""

import argparse
import datetime
import platform
import sys
from collections.abc import Sequence

from ._describe import STEPS, find, measure, spec_lines, suite_lines, task_lines
from .data import EMBEDDED, load_dataset, prepare_tfds
from .problems import EXAMPLES, PROBLEMS
from .suites import SUITES, Suite

WORDS = """A problem is a network or a function and its loss, such as mlp. A family is a problem on
a data set; tasks are drawn from it. A suite is a frozen list: of families to learn from, or of
tasks to be judged by."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="learned-opt tasks",
        description=f"What there is to train on, and to be judged by. {WORDS}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="all suites with their hashes, problems and data sets")
    show = commands.add_parser(
        "show",
        help="one suite, task, family or problem",
        description="A suite and its tasks; or of a task, family or problem its settings, its "
        "tensors, the numbers of a task drawn from it, and a batch.",
    )
    show.add_argument("name", metavar="NAME", help="see: learned-opt tasks list")
    prepare = commands.add_parser(
        "prepare",
        help="fetch the data of a suite, task or family",
        description="Fetch data of tensorflow-datasets, once; needs a network and TensorFlow.",
    )
    prepare.add_argument("name", metavar="NAME", help="a name, or a data set such as tfds:mnist")
    table = commands.add_parser(
        "measure",
        help="a table of all problems, or of a suite, in Markdown: size, cost, losses",
        description="A table in Markdown: parameters, time of a training step, losses at the "
        "start and after 200 steps of Adam.",
    )
    table.add_argument("name", metavar="SUITE", nargs="?", help="default: examples of all problems")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.command == "list":
            _list()
        else:
            {"show": _show, "prepare": _prepare, "measure": _measure}[args.command](args.name)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _list() -> None:
    for suite in SUITES.values():
        print("\n".join(suite_lines(suite)), end="\n\n")
    print("problems:", ", ".join(PROBLEMS))
    print("data that needs no download:", ", ".join(EMBEDDED))
    print("data of tensorflow-datasets: tfds:NAME or tfds:NAME/SIZE, e.g. tfds:mnist/14")


def _show(name: str) -> None:
    kind, thing = find(name)
    if isinstance(thing, Suite):
        print("\n".join(suite_lines(thing)))
        return
    print(f"{name}  ({kind})")
    print("\n".join([*spec_lines(thing.spec), *task_lines(thing)]))


def _prepare(name: str) -> None:
    if name.startswith("tfds:") or name.partition("/")[0] in EMBEDDED:
        names = [name]
    else:
        _, thing = find(name)
        entries = thing.entries if isinstance(thing, Suite) else [thing]
        names = list(dict.fromkeys(part for e in entries for part in e.spec.data.split("+")))
    for number, data in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {data} ...", flush=True)
        if data.startswith("tfds:"):
            prepare_tfds(data.removeprefix("tfds:").partition("/")[0])
        loaded = load_dataset(data)
        print(f"[{number}/{len(names)}] {data} is ready: {loaded.spec}")


def _measure(name: str | None) -> None:
    what, entries = "problem", EXAMPLES
    if name is not None:
        if name not in SUITES:
            raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {name!r}")
        what, entries = "name", SUITES[name].entries
    where = f"{platform.machine()}, {datetime.datetime.now(datetime.UTC).date()}"
    print(f"Measured by `learned-opt tasks measure{f' {name}' if name else ''}` ({where}).\n")
    print(
        f"| {what} | data | batch | parameters | step, us | loss of zeros | at start "
        f"| Adam, {STEPS} steps | what it is | source |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for entry in entries:
        m = measure(entry)
        print(
            f"| {m['name']} | {m['data']} | {m['batch']} | {m['parameters']:,} "
            f"| {m['microseconds']:,.0f} | {m['reference']:.3g} | {m['start']:.3g} "
            f"| {m['adam']:.3g} (lr {m['rate']:g}) | {m['what']} | {m['source']} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
