"""learned-opt tasks list | show NAME | prepare NAME | measure: what there is to train on."""

import argparse
import datetime
import platform
import sys
from collections.abc import Sequence

from ._describe import STEPS, example_lines, find, measure, spec_lines, suite_lines
from .data import EMBEDDED, load_dataset, prepare_tfds
from .problems import EXAMPLES
from .suites import SUITES, Suite


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="learned-opt tasks", description="What there is to train on, and to be judged by."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="all suites with their hashes, families and data sets")
    show = commands.add_parser("show", help="one suite, task or family, with an example")
    show.add_argument("name", metavar="NAME", help="see: learned-opt tasks list")
    prepare = commands.add_parser("prepare", help="fetch the data of a suite, task or family")
    prepare.add_argument("name", metavar="NAME", help="a name, or a data set such as tfds:mnist")
    commands.add_parser(
        "measure", help="a table of all families in Markdown: size, step cost, losses"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.command == "list":
            _list()
        elif args.command == "show":
            _show(args.name)
        elif args.command == "prepare":
            _prepare(args.name)
        else:
            _measure()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _list() -> None:
    for suite in SUITES.values():
        print(f"{suite.name}  {suite.hash}  {suite.purpose}")
        print("\n".join(f"  {line}" for line in suite_lines(suite)), end="\n\n")
    print("families:", ", ".join(dict.fromkeys(row.spec.problem.name for row in EXAMPLES)))
    print("data that needs no download:", ", ".join(EMBEDDED))
    print("data of tensorflow-datasets: tfds:NAME or tfds:NAME/SIZE, e.g. tfds:mnist/14")


def _show(name: str) -> None:
    kind, thing = find(name)
    if isinstance(thing, Suite):
        print(f"{thing.name}  {thing.hash}  {thing.purpose}")
        print("\n".join(suite_lines(thing)))
        return
    print(f"{name}  ({kind})")
    print("\n".join(spec_lines(thing.spec)))
    family = thing.spec.build()
    task = getattr(thing, "member", None) or family.member()
    print("\n".join(example_lines(family, task)))


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


def _measure() -> None:
    where = f"{platform.machine()}, {datetime.datetime.now(datetime.UTC).date()}"
    print(f"Measured by `learned-opt tasks measure` ({where}).\n")
    print(
        "| family | data | batch | parameters | step, us | loss of zeros | at start "
        f"| Adam, {STEPS} steps | what it is | source |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for row in EXAMPLES:
        m = measure(row)
        print(
            f"| {m['name']} | {m['data']} | {m['batch']} | {m['parameters']:,} "
            f"| {m['microseconds']:,.0f} | {m['reference']:.3g} | {m['start']:.3g} "
            f"| {m['adam']:.3g} (lr {row.learning_rate:g}) | {m['what']} | {m['source']} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
