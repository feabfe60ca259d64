"""All runs of the baselines on a suite in one file, which then ships with the package."""

import os
from collections.abc import Sequence
from pathlib import Path

import rich.console

from learned_opt.checkpoints import plain_console, write_atomic
from learned_opt.tasks.suites import Tier

from ._evaluate import whole
from .baselines import BASELINES
from .contestants import baseline_jobs, calibrated_name, run_jobs
from .grid import GRID, run_grid
from .running import own_archive, pack, shipped_file


def pack_baselines(
    suite: str,
    *,
    tier: Tier = "cpu",
    only: Sequence[str] = (),
    out: str | os.PathLike | None = None,
    console: rich.console.Console | None = None,
) -> Path:
    """Tune the baselines on a suite, run them on fresh seeds, pack all runs; returns the file.

    Among them are those at their papers' defaults, and the calibrated ones, which have one setting
    on all tasks.

    The suite GRID has the cells of the generalisation grid, and one baseline, the headline's.

    Runs that are in the file already, and still mean the same, are taken from it; new ones are
    kept in the folder `<out>.d` until then, so that an interrupted call goes on.

    Args:
      only: names of baselines, a calibrated one's too; others keep the runs that they have in the
        file. A baseline that may be calibrated brings that along.
      out: the file; where shipped runs are looked for by default.

    Raises:
      FolderError: `<out>.d` holds something else, or another process is at work there.
      ArchiveError: the file there holds something else.
      WriteError: a file could not be written; the runs made so far are kept.
      ValueError: no such suite, tier or baseline.
    """
    console = console or plain_console()
    jobs = baseline_jobs(BASELINES)
    for name in only:
        if name not in jobs:
            raise ValueError(f"a baseline must be one of {', '.join(jobs)}, got {name!r}")
    wanted = {*only, *map(calibrated_name, only)} if only else jobs.keys()
    chosen = {name: job for name, job in jobs.items() if name in wanted}
    protocol = None if suite == GRID else whole(suite, tier)
    file = Path(out) if out else shipped_file(suite, tier)
    folder, facts = file.with_name(f"{file.name}.d"), {"suite": suite, "tier": tier}
    own = own_archive(folder, "baselines.toml", facts, what="runs of baselines", base=[file])
    with own as archive:
        if protocol:
            run_jobs(chosen, protocol, archive, console, "Baselines")
        else:
            run_grid(archive, console)
        others = {key for key in archive.shipped if archive.runs[key].optimizer not in chosen}
        keys = archive.used | others
        content = pack(archive.runs[key] for key in keys)
        write_atomic(file, content)
    console.print(f"{len(keys):,} runs, {len(content) / 1e6:.2f} MB")
    return file
