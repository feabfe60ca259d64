"""All runs of the baselines on a suite in one file, which then ships with the package."""

import os
from collections.abc import Sequence
from pathlib import Path

import rich.console

from learned_opt.checkpoints import plain_console, write_atomic
from learned_opt.tasks.suites import Tier

from ._evaluate import whole
from .baselines import BASELINES
from .contestants import baseline_jobs, run_jobs
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

    Among them are AdamW's under the one setting that is the same on all tasks.

    The suite GRID has the cells of the generalisation grid, and one baseline, the headline's.

    Runs that are in the file already, and still mean the same, are taken from it; new ones are
    kept in the folder `<out>.d` until then, so that an interrupted call goes on.

    Args:
      only: names of baselines; others keep the runs that they have in the file.
      out: the file; where shipped runs are looked for by default.

    Raises:
      FolderError: `<out>.d` holds something else, or another process is at work there.
      ArchiveError: the file there holds something else.
      WriteError: a file could not be written; the runs made so far are kept.
      ValueError: no such suite, tier or baseline.
    """
    console = console or plain_console()
    known = {row.name: row for row in BASELINES}
    for name in only:
        if name not in known:
            raise ValueError(f"a baseline must be one of {', '.join(known)}, got {name!r}")
    chosen = {name: row for name, row in known.items() if not only or name in only}
    protocol = None if suite == GRID else whole(suite, tier)
    file = Path(out) if out else shipped_file(suite, tier)
    folder, facts = file.with_name(f"{file.name}.d"), {"suite": suite, "tier": tier}
    own = own_archive(folder, "baselines.toml", facts, what="runs of baselines", base=[file])
    with own as archive:
        if protocol:
            jobs = baseline_jobs(list(chosen.values()))
            run_jobs(jobs, protocol, archive, console, "Baselines")
        else:
            run_grid(archive, console)
        others = {key for key in archive.shipped if archive.runs[key].optimizer not in chosen}
        keys = archive.used | others
        content = pack(archive.runs[key] for key in keys)
        write_atomic(file, content)
    console.print(f"{len(keys):,} runs, {len(content) / 1e6:.2f} MB")
    return file
