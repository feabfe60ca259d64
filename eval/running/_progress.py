"""What a person sees while runs are made."""

import threading
import time

import rich.console
import rich.progress

QUIET = 60.0
"""Seconds between lines where there is no terminal, unless an optimizer is done before."""


class Progress:
    """Optimizers done, runs, time left; plain lines when there is no terminal.

    Args:
      title: first word of the bar.
      optimizers: how many there are.
      runs: about how many they take; runs that were found count, but not as time.
    """

    def __init__(
        self, console: rich.console.Console, title: str, optimizers: int, runs: int
    ) -> None:
        self.console, self.optimizers, self.planned = console, optimizers, runs
        self.done = self.found = self.made = 0
        self.start = self._spoke = time.monotonic()
        self._lock = threading.Lock()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn(title),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TextColumn("{task.fields[facts]}"),
            rich.progress.TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=runs, facts="compiling")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def runs(self, found: int, made: int) -> None:
        """So many more runs were found, and so many made."""
        with self._lock:
            self.found += found
            self.made += made
            self._show(time.monotonic() - self._spoke >= QUIET)

    def advance(self, label: str) -> None:
        """One optimizer is done."""
        with self._lock:
            self.done += 1
            self._show(True, f", {label} done")

    def note(self, text: str) -> None:
        """A sentence on what was amiss."""
        self.console.print(
            f"note: {text}", style="yellow", markup=False, soft_wrap=True, emoji=False
        )

    def facts(self) -> str:
        """One line: how far, how long."""
        count = self.found + self.made
        about = "about " if self.done < self.optimizers else ""
        total = max(count, self.planned)
        text = f"{self.done}/{self.optimizers} optimizers, {count:,} of {about}{total:,} runs"
        if self.made and count < self.planned:
            seconds = (time.monotonic() - self.start) / self.made * (self.planned - count)
            text += f", {_duration(seconds)} left"
        return text

    def _show(self, speak: bool, more: str = "") -> None:
        self._bar.update(self._task, completed=self.found + self.made, facts=self.facts())
        if speak and not self.console.is_terminal:
            self._spoke = time.monotonic()
            self.console.print(self.facts() + more, soft_wrap=True, highlight=False)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
