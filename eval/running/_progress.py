"""What a person sees while runs are made."""

import threading
import time

import rich.console
import rich.progress

PRIOR = 0.1
"""Share of the runs after which what they took says as much as what was planned."""

QUIET = 60.0
"""Seconds between lines where there is no terminal, unless an optimizer is done before."""


class Progress:
    """Optimizers done, runs, time left; plain lines when there is no terminal.

    Args:
      title: first word of the bar.
      optimizers: how many there are.
      runs: about how many they take; runs that were found count, but not as time.
      seconds: about what all of them take, where that is known.
    """

    def __init__(
        self,
        console: rich.console.Console,
        title: str,
        optimizers: int,
        runs: int,
        seconds: float | None = None,
    ) -> None:
        self.seconds = seconds
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
        if count < self.planned and (each := self._each()):
            text += f", {span(each * (self.planned - count))} left"
        return text

    def _each(self) -> float:
        """About the seconds of a run, 0 where nobody knows: at first those of the plan."""
        took, made = time.monotonic() - self.start, self.made
        if self.seconds is not None:
            weight = PRIOR * self.planned
            return (took * (made > 0) + self.seconds * PRIOR) / (made + weight)
        return took / made if made else 0.0

    def _show(self, speak: bool, more: str = "") -> None:
        self._bar.update(self._task, completed=self.found + self.made, facts=self.facts())
        if speak and not self.console.is_terminal:
            self._spoke = time.monotonic()
            self.console.print(self.facts() + more, soft_wrap=True, highlight=False)


def span(seconds: float) -> str:
    """About so long, for people.

    >>> span(42.3), span(600), span(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
