"""What a person sees while meta-training: a bar on a terminal, plain lines in a log."""

import time
from typing import Any

import rich.console
import rich.progress


class Progress:
    """Outer steps done, inner steps a second, meta-loss, meta-validation loss, time left."""

    def __init__(self, console: rich.console.Console, done: int, total: int) -> None:
        self.console, self.done, self.total = console, done, total
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("Meta-training"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[facts]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=done, facts="compiling")
        self._start = time.perf_counter()

    def __enter__(self) -> "Progress":
        self._bar.start()
        self._line("Compiling the outer step.")
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def compiled(self) -> None:
        """The clock for the time left starts here."""
        self._line(f"Compiled in {time.perf_counter() - self._start:.0f} s.")
        self._start = time.perf_counter()
        self._bar.update(self._task, facts="")

    def update(self, row: dict[str, Any]) -> None:
        """Show one row of `metrics.jsonl`."""
        pace = (time.perf_counter() - self._start) / (row["step"] - self.done)
        facts = (
            f"{row['inner_steps_per_second']:,.0f} inner steps/s  "
            f"meta-loss {row['meta_loss']:.3f}  valid {row['valid_loss']:.3f}  "
            f"{pace * (self.total - row['step']):.0f} s left"
        )
        self._bar.update(self._task, completed=row["step"], facts=facts)
        self._line(f"outer step {row['step']}/{self.total}  {facts}")

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True, highlight=False)
