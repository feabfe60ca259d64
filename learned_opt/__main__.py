"""learned-opt COMMAND ...: all commands of this package; `python -m learned_opt` is the same."""

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import learned_opt

from ._extras import MissingExtraError

STOPPED = 130
"""Exit status after Ctrl-C."""

LEFT = 141
"""Exit status where nobody reads what is printed any more, such as `head` after its lines."""

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
  learned-opt eval runs/mine/quickstart.safetensors --quick --out runs/report

meta-train, eval and tasks need: pip install 'learned-opt[train]'
"""


def parser() -> argparse.ArgumentParser:
    """The command line, up to the command."""
    parser = argparse.ArgumentParser(
        prog="learned-opt",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Learned optimizers: use, meta-train and evaluate them.",
        epilog="commands:\n"
        + "\n".join(f"  {name:10}  {use}" for name, (_, use) in COMMANDS.items())
        + f"\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show it and exit")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    Ctrl-C ends it at any moment without a traceback: at once while it imports, and later as the
    command has it.
    """
    try:
        try:
            return _run(sys.argv[1:] if argv is None else list(argv))
        finally:
            # Here and not where Python ends, so that it can be seen that nobody reads it.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # What is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LEFT


def _run(argv: list[str]) -> int:
    if argv[:1] == ["--version"]:
        print(f"learned-opt {learned_opt.__version__}")
        return 0
    with _ends_at_once():
        command = parser().parse_args(argv[:1]).command
        module, _ = COMMANDS[command]
        words = argv if module == "_listing" else argv[1:]
        try:
            run = importlib.import_module(f"learned_opt.{module}").main
        except MissingExtraError as error:
            return _missing(error)
    try:
        return run(words)
    except MissingExtraError as error:
        return _missing(error)


def _missing(error: MissingExtraError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def _ends_at_once() -> Iterator[None]:
    """Within, Ctrl-C ends the process: JAX makes errors of its own of a KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
