"""What a run leaves: its artifact, and the card beside it."""

import contextlib
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import rich.console

from learned_opt import Artifact
from learned_opt._checks import one_line
from learned_opt.checkpoints import (
    CheckpointError,
    Store,
    card_markdown,
    plain_console,
    write_atomic,
)

from .._errors import DivergedError
from .._trainer import MetaTrainState
from ..processes import leads
from ..settings import Config
from ._folder import check_progress
from ._log import valid_row, validation_curve
from ._memory import fits
from ._programs import Programs
from ._provenance import make_card
from ._record import CHECKPOINTS, COMMAND, RECORD, load_record, todays
from ._setup import build


@fits()
def export_now(out: str | os.PathLike, *, last: bool = False) -> Artifact:
    """Export the best theta so far of the run in `out` to `out`/exports/NAME.safetensors.

    With `last` the newest one, judged now: where runs of meta-validation are few, the best owes its
    score to luck. The run may be going on meanwhile, or be resumed later.

    Raises:
      ConfigError: `out` holds no run, or it does not fit into memory. CheckpointError: it has
        saved nothing yet, or nothing finite.
    """
    folder = Path(out)
    config = load_record(folder)
    setup = build(config)
    had_place = (folder / CHECKPOINTS).is_dir()
    store = Store(folder / CHECKPOINTS, keep=config.save.keep, best=config.save.best, tidy=False)
    programs = Programs(*setup, config.run.log_every)
    restored = store.restore(programs.start, {"config": config.to_dict()}, todays)
    store.close()
    if not restored:
        check_progress(folder, had_place)
        raise CheckpointError(
            f"{folder} has no checkpoint yet, so there is nothing to export: train longer, or save "
            "sooner (save.seconds)"
        )
    _, state, saved = restored
    if last:
        programs.compile(train=False)
        state, _ = programs.validate(state._replace(best_score=jax.numpy.asarray(jax.numpy.inf)))
        if int(state.best_step) != int(state.step):
            raise CheckpointError(
                f"the newest theta of {folder} (outer step {int(state.step)}) or its "
                "meta-validation loss is not finite: export the best one, without --last"
            )
    return export(
        config, setup.trainer.start, folder, state, saved["seconds"], plain_console(), "exports"
    )


def export(
    config: Config,
    start: Artifact | None,
    folder: Path,
    state: MetaTrainState,
    seconds: float,
    console: rich.console.Console,
    inside: str = "",
) -> Artifact:
    """Write the artifact with the best theta, and its card beside it, in `folder`/`inside`."""
    theta = jax.device_get(state.best_theta)
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(theta)):
        raise DivergedError(
            f"the best theta (outer step {int(state.best_step)}) is not finite, so that nothing is "
            "exported: start again in a new folder, with a lower outer.learning_rate"
        )
    card, lost = make_card(
        config,
        start,
        state,
        seconds=seconds,
        command=lambda: _first_command(folder),
        curve=lambda: validation_curve(folder) if leads() else {},
        best=lambda: valid_row(folder, int(state.best_step)) if leads() else {},
    )
    artifact = Artifact(config.optimizer, theta, card)
    if leads():

        def say(text: str) -> None:
            console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)

        path = folder / inside / f"{config.run.name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        artifact.save(path)
        say(f"Meta-trained for {seconds:.0f} s, {int(state.inner_steps):,} inner steps.")
        say(f"Exported {path}")
        if lost:
            say(f"note: the card lacks {', '.join(lost)}")
        _write_page(path.with_suffix(".md"), artifact, say)
    return artifact


def _write_page(path: Path, artifact: Artifact, say: Callable[[str], None]) -> None:
    """The card for people; what it says is in the artifact too, so that no run fails for it."""
    try:
        write_atomic(path, card_markdown(artifact))
    except Exception as error:
        why = f"{error.strerror}" if isinstance(error, OSError) else one_line(error)
        with contextlib.suppress(OSError):  # that of an artifact before
            path.unlink(missing_ok=True)
        say(f"note: {path} is missing ({why}); the artifact holds the same card")


def _first_command(folder: Path) -> str:
    path = folder / COMMAND
    text, damage = "", ""
    try:
        if os.path.lexists(path):
            data = path.read_bytes() if path.is_file() else b""
            text = data.decode(errors="replace").strip()
            damage = "" if text and text.encode() == data.strip() else "is damaged"
    except OSError as error:
        damage = f"cannot be read ({error.strerror})"
    if damage and leads():
        print(f"note: {path} {damage}; the card says what can be read of it")
    # That of an older run, which has no such file.
    return text or shell_command([str(folder / RECORD), "--out", str(folder)])


def shell_command(argv: Sequence[str]) -> str:
    """The command line that repeats a run."""
    return shlex.join(["learned-opt", "meta-train", *(a for a in argv if a != "--resume")])
