"""learned-opt COMMAND ...: all commands of this package; `python -m learned_opt` is the same."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from ._extras import MissingExtraError

COMMANDS = {
    "list": ("_listing", "all optimizers and all pretrained ones"),
    "show": ("_listing", "the card of one artifact"),
    "import": ("_listing", "published weights of other authors, as an artifact"),
    "meta-train": ("meta_train.__main__", "meta-train an optimizer and export it as one file"),
    "eval": ("eval.__main__", "compare an optimizer with tuned ones, and write a report"),
    "tasks": ("tasks.__main__", "what there is to train on, and its data"),
}
"""The module of each, whose `main` takes the words after the command, and what it is for.

Imported by name, and when asked for: this room imports no other. `_listing` has several commands,
and is told which.
"""

EXAMPLES = """
each has its own --help. From the first to the last step:
  learned-opt list
  learned-opt meta-train quickstart --out runs/mine
  learned-opt eval runs/mine/quickstart.safetensors --suite quickstart --out runs/report

meta-train, eval and tasks need: pip install 'learned-opt[train]'
"""


def parser() -> argparse.ArgumentParser:
    """The command line, up to the command."""
    parser = argparse.ArgumentParser(
        prog="learned-opt",
        usage="%(prog)s [-h] COMMAND ...",
        description="Learned optimizers: use, meta-train and evaluate them.",
        epilog="commands:\n"
        + "\n".join(f"  {name:10}  {use}" for name, (_, use) in COMMANDS.items())
        + f"\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    command = parser().parse_args(argv[:1]).command
    module, _ = COMMANDS[command]
    words = argv if module == "_listing" else argv[1:]
    try:
        return importlib.import_module(f"learned_opt.{module}").main(words)
    except MissingExtraError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
