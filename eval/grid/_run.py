"""The generalisation grid of an evaluation: its runs, and their progress."""

from collections.abc import Sequence

import rich.console

from ..baselines import ADAMW
from ..contestants import REPORT_SEEDS, UNTUNED, Subject
from ..running import Archive, Progress, Run, Trial, baseline_identity, baseline_runner
from ._cells import grid
from ._outcomes import LEARNED, CellResult, grid_results, grid_runs


def run_grid(
    archive: Archive, console: rich.console.Console, subject: Subject | None = None
) -> tuple[tuple[CellResult, ...], list[Run]]:
    """Run AdamW and what is judged in all cells: what became of each, and the runs on fresh seeds.

    Args:
      subject: what is judged; without it AdamW runs alone, and no cell has a result.
    """
    cells = grid()
    runners = {ADAMW.name: (baseline_identity(ADAMW), baseline_runner(ADAMW))}
    count = grid_runs(cells, REPORT_SEEDS)
    if subject:
        runners[LEARNED] = subject.identity, subject.runner()
        count += len(cells) * len(REPORT_SEEDS)
    fresh: dict[str, Run] = {}

    def run(name: str, trials: Sequence[Trial]) -> list[float]:
        runs = archive.run(*runners[name], trials, curves=False)
        # A setting that is retuned to what is transferred has the same runs.
        fresh.update({run.key: run for run in runs if run.seed in REPORT_SEEDS})
        return [run.valid_loss for run in runs]

    progress = Progress(console, "Generalisation grid", 1, count)
    archive.show(progress)
    with progress:
        untuned = UNTUNED if subject else None
        found = grid_results(cells, run, seeds=REPORT_SEEDS, untuned=untuned)
        progress.advance("grid")
    return found, list(fresh.values())
