"""What a person sees while meta-training: a bar on a terminal, plain lines in a log."""

import datetime
import time
from typing import Any

import rich.console
import rich.progress


class Progress:
    """Outer steps done, speed, meta-loss, meta-validation loss, time left."""

    def __init__(self, console: rich.console.Console, total: int) -> None:
        self.console, self.done, self.total = console, 0, total
        self._valid = ""
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("Meta-training"),
            rich.progress.BarColumn(bar_width=10),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[facts]}"),
            console=console,
            disable=not console.is_terminal or console.quiet,
        )
        self._task = self._bar.add_task("", total=total, facts="")
        self._start = time.perf_counter()

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def compiling(self, done: int) -> None:
        """Compilation begins, `done` outer steps into the run."""
        self.done, self._start = done, time.perf_counter()
        self._bar.update(self._task, completed=done, facts="compiling")
        self._line("Compiling the outer step.")

    def compiled(self) -> None:
        """The clock for the time left starts here."""
        self._line(f"Compiled in {time.perf_counter() - self._start:.0f} s.")
        self._start = time.perf_counter()
        self._bar.update(self._task, facts="")

    def update(self, row: dict[str, Any]) -> None:
        """Show one row of `metrics.jsonl`."""
        if "valid_loss" in row:
            self._valid = _valid(row)
        if row["step"] == 0:
            self._line(f"untrained: {self._valid}")
            return
        pace = (time.perf_counter() - self._start) / (row["step"] - self.done)
        left = datetime.timedelta(seconds=round(pace * (self.total - row["step"])))
        bad = f"{row['nonfinite']:.0f} runs not finite" if row["nonfinite"] else ""
        # The most important first: a narrow terminal has no room for the last.
        facts = [
            f"{left} left",
            bad,
            self._valid,
            f"meta-loss {row['meta_loss']:.3f}",
            f"{row['inner_steps_per_second']:,.0f} inner steps/s",
            f"{row['outer_steps_per_second']:.3g} outer/s",
        ]
        facts = [fact for fact in facts if fact]
        self._line(f"outer step {row['step']}/{self.total}  {'  '.join(facts)}")
        while len(facts) > 1 and len("  ".join(facts)) > self._room():
            facts.pop()
        self._bar.update(self._task, completed=row["step"], facts="  ".join(facts))

    def _room(self) -> int:
        """Characters beside the bar."""
        return self.console.width - len(f"Meta-training {'-' * 10} {self.total}/{self.total} ")

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True, highlight=False)


def _valid(row: dict[str, Any]) -> str:
    """ "valid -3.095 ±0.210 (-0.450 ±0.031)": the score, and what it is above that of step 0."""

    def number(mean: str, error: str, sign: str) -> str:
        width = f" ±{row[error]:.3f}" if error in row else ""
        return f"{row[mean]:{sign}.3f}{width}"

    text = f"valid {number('valid_loss', 'valid_error', '')}"
    if "valid_gain" in row:
        text += f" ({number('valid_gain', 'valid_gain_error', '+')})"
    return text
