"""One AdamW setting for all tasks: the fair rival of an optimizer that is not tuned."""

import datetime
import json
import os
from pathlib import Path

import rich.console

from learned_opt.checkpoints import claim_folder, hold_folder, write_atomic
from learned_opt.tasks import load_suite

from ._archive import Archive
from ._baselines import ADAMW, Hyper
from ._keys import baseline_identity
from ._progress import Progress
from ._rows import loss_of
from ._run import Runner
from ._tune import TUNE_SEEDS, frozen_settings, tune_frozen

FILE = Path(__file__).with_name("archive") / "frozen.json"
SUITE = "META_VALID_V1"


def frozen_setting() -> Hyper:
    """The setting that ships: chosen on tasks that nobody is judged by, once."""
    return Hyper(**json.loads(FILE.read_text())["hyper"])


def frozen_trials() -> int:
    """How many settings it was chosen from."""
    return json.loads(FILE.read_text())["settings"]


def choose_setting(
    folder: str | os.PathLike, *, console: rich.console.Console | None = None
) -> Hyper:
    """Choose it anew on META_VALID_V1, see `tune_frozen`, and write it to `FILE`.

    Args:
      folder: keeps the runs; interrupted, the same call goes on.
    """
    console = console or rich.console.Console()
    tasks = load_suite(SUITE)
    folder = claim_folder(
        folder, "frozen.toml", {"suite": SUITE}, what="runs of AdamW", resume=True
    )
    with hold_folder(folder):
        archive = Archive(folder / "runs.jsonl")
        runner, identity = Runner(ADAMW.transform, ADAMW.eval_params), baseline_identity(ADAMW)
        runs = len(frozen_settings(ADAMW)) * len(TUNE_SEEDS) * len(tasks)
        progress = Progress(console, "AdamW, frozen", 1, runs)
        archive.watch = progress.runs
        with progress:
            tuned = tune_frozen(
                ADAMW,
                tasks,
                lambda ts: [loss_of(r) for r in archive.run(identity, runner, ts, "tune")],
            )
            progress.advance(ADAMW.label)
    choice = next(iter(tuned.values()))
    facts = {
        "hyper": choice.hyper._asdict(),
        "suite": SUITE,
        "settings": choice.trials,
        "command": "learned-opt eval frozen",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    FILE.parent.mkdir(exist_ok=True)
    write_atomic(FILE, json.dumps(facts, indent=1) + "\n")
    console.print(f"{choice.trials} settings on {len(tasks)} tasks: {choice.hyper}", markup=False)
    return choice.hyper
