"""What a person sees while an evaluation runs."""

import rich.console
import rich.progress


class Progress:
    """Optimizers done, runs so far, time left; plain lines when there is no terminal."""

    def __init__(self, console: rich.console.Console, total: int) -> None:
        self.console, self.total, self.done = console, total, 0
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("Evaluating"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("optimizers  {task.fields[facts]}"),
            rich.progress.TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, facts="compiling")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self, label: str, runs: int) -> None:
        """One optimizer is tuned and run."""
        self.done += 1
        facts = f"{runs:,} runs, last: {label}"
        self._bar.update(self._task, advance=1, facts=facts)
        if not self.console.is_terminal:
            self.console.print(f"{self.done}/{self.total} optimizers  {facts}", soft_wrap=True)
