"""One AdamW setting for all tasks: the fair rival of an optimizer that is not tuned."""

import datetime
import json
import os
from pathlib import Path

import rich.console

from learned_opt._checks import one_line
from learned_opt.checkpoints import is_number, plain_console, write_atomic
from learned_opt.tasks import load_suite

from ..baselines import ADAMW, Hyper
from ..running import ArchiveError, Progress, baseline_identity, baseline_runner, own_archive
from ._tune import TUNE_SEEDS, frozen_settings, tune_frozen

FILE = Path(__file__).parent.with_name("archive") / "frozen.json"
SUITE = "META_VALID_V1"


def frozen_setting() -> Hyper:
    """The setting that ships: chosen on tasks that nobody is judged by, once."""
    return _shipped()[0]


def frozen_trials() -> int:
    """How many settings it was chosen from."""
    return _shipped()[1]


def _shipped() -> tuple[Hyper, int]:
    try:
        found = json.loads(FILE.read_text())
        hyper, settings = Hyper(**found["hyper"]), found["settings"]
        if not all(map(is_number, (*hyper, settings))):
            raise ValueError("it holds no setting")
        return hyper, settings
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ArchiveError(
            f"{FILE} cannot be used ({one_line(error)}); fetch it again, or choose the setting "
            "anew: learned-opt eval frozen --out DIR"
        ) from error


def choose_setting(
    folder: str | os.PathLike, *, console: rich.console.Console | None = None
) -> Hyper:
    """Choose it anew on META_VALID_V1, see `tune_frozen`, and write it to `FILE`.

    Args:
      folder: keeps the runs; interrupted, the same call goes on.
    """
    console = console or plain_console()
    tasks = load_suite(SUITE)
    own = own_archive(folder, "frozen.toml", {"suite": SUITE}, what="runs of AdamW")
    with own as archive:
        runner, identity = baseline_runner(ADAMW), baseline_identity(ADAMW)
        runs = len(frozen_settings(ADAMW)) * len(TUNE_SEEDS) * len(tasks)
        progress = Progress(console, "AdamW, one setting", 1, runs)
        archive.show(progress)
        with progress:
            tuned = tune_frozen(
                ADAMW,
                tasks,
                lambda ts: [r.valid_loss for r in archive.run(identity, runner, ts, curves=False)],
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
    console.print(f"{choice.trials} settings on {len(tasks)} tasks: {choice.hyper}")
    return choice.hyper
