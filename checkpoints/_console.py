"""Where people are told things."""

import os
import sys

import rich.console


class _Console(rich.console.Console):
    def on_broken_pipe(self) -> None:
        """The reader has left, as `head` does: what runs goes on, in silence."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def plain_console(*, stderr: bool = False) -> rich.console.Console:
    """A console that prints text as it is: not wrapped, coloured by its content, or marked up."""
    return _Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False, emoji=False)
