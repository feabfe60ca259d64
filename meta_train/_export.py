"""What a run leaves: its artifact, and the card beside it."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import jax
import rich.console

from learned_opt import Artifact
from learned_opt.checkpoints import CheckpointError, Store, card_markdown, write_atomic

from ._card import make_card
from ._config import Config
from ._log import validation_curve
from ._processes import leads
from ._programs import Programs
from ._record import RECORD, load_record
from ._trainer import MetaTrainState

COMMAND = "command.txt"
"""Of a run's folder: what began the run, for its card. Resuming it names no configuration."""


def export_now(out: str | os.PathLike, *, last: bool = False) -> Artifact:
    """Export the best theta so far of the run in `out` to `out`/exports/NAME.safetensors.

    With `last` the newest one, judged now: where runs of meta-validation are few, the best owes its
    score to luck. The run may be going on meanwhile, or be resumed later.

    Raises:
      ConfigError: `out` holds no run. CheckpointError: it has saved nothing yet.
    """
    folder = Path(out)
    config = load_record(folder)
    setup = config.build()
    store = Store(folder / "checkpoints", keep=config.save.keep, best=config.save.best, tidy=False)
    programs = Programs(*setup, config.run.chunk)
    restored = store.restore(programs.start, {"config": config.to_dict()})
    store.close()
    if not restored:
        raise CheckpointError(
            f"{folder} has no checkpoint yet, so there is nothing to export: train longer, or save "
            "sooner (save.seconds)"
        )
    _, state, saved = restored
    if last:
        programs.compile(train=False)
        state, _ = programs.validate(state._replace(best_score=jax.numpy.asarray(jax.numpy.inf)))
    return export(config, folder, state, saved["seconds"], rich.console.Console(), "exports")


def export(
    config: Config,
    folder: Path,
    state: MetaTrainState,
    seconds: float,
    console: rich.console.Console,
    inside: str = "",
) -> Artifact:
    """Write the artifact with the best theta, and its card beside it, in `folder`/`inside`."""
    curve = validation_curve(folder) if leads() else {}
    command = _first_command(folder)
    card = make_card(config, state, seconds=seconds, command=command, curve=curve)
    artifact = Artifact(config.optimizer, jax.device_get(state.best_theta), card)
    if leads():
        path = folder / inside / f"{config.run.name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        artifact.save(path)
        write_atomic(path.with_suffix(".md"), card_markdown(artifact))
        console.print(
            f"Meta-trained for {seconds:.0f} s, {card['budget']['inner_steps']:,} inner steps."
        )
        console.print(f"Exported {path}", soft_wrap=True)
    return artifact


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
