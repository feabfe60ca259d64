"""A meta-training run in a folder: start, log, save, resume, export."""

import concurrent.futures
import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import rich.console
from jax.sharding import NamedSharding, PartitionSpec

from checkpoints import Store, claim_folder, write_atomic
from learned_opt import Artifact
from tasks import TaskFamily, compiler_options

from ._card import card_markdown, make_card
from ._config import Config
from ._progress import Progress
from ._trainer import MetaTrainState, Metrics, Trainer


def meta_train(
    config: Config,
    out: str | os.PathLike,
    *,
    resume: bool = False,
    command: str | None = None,
    console: rich.console.Console | None = None,
) -> Artifact:
    """Meta-train by `config` into the folder `out` and export the artifact with the best score.

    Writes `config.toml`, `checkpoints/`, `metrics.jsonl`, `NAME.safetensors`, `NAME.md`. A run
    that was killed at any moment continues with `resume=True` and ends with the theta, bit for
    bit, of a run that was not; with nothing to resume it starts.

    Raises:
      FolderError: `out` holds files and `resume` is off, or a run of another configuration.
    """
    console = console or rich.console.Console()
    trainer, family = config.build()
    facts = config.to_dict()
    out = claim_folder(out, "config.toml", facts, what="a meta-training run", resume=resume)
    store = Store(out / "checkpoints")
    log = _Log(out / "metrics.jsonl")
    programs = _Programs(trainer, family, config.run.chunk)
    state, seconds = programs.start, 0.0
    restored = store.restore(state) if resume else None
    if restored:
        _, state, saved = restored
        seconds = saved["seconds"]
        console.print(f"Resuming after {int(state.step)} of {config.run.outer_steps} outer steps.")
    log.rewind(int(state.step))
    with Progress(console, int(state.step), config.run.outer_steps) as progress:
        start = time.perf_counter() - seconds
        if int(state.step) < config.run.outer_steps:
            programs.compile()
        progress.compiled()
        while int(state.step) < config.run.outer_steps:
            before, tick = float(state.inner_steps), time.perf_counter()
            state, metrics = jax.block_until_ready(programs.chunk(family, state))
            rate = (float(state.inner_steps) - before) / (time.perf_counter() - tick)
            state, score = jax.block_until_ready(programs.select(family, state))
            row = _row(state, metrics, score, rate, time.perf_counter() - start)
            log.append(row)
            store.save(row["step"], state, {"seconds": row["seconds"]})
            progress.update(row)
        seconds = time.perf_counter() - start
    store.close()

    card = make_card(
        config, state, seconds=seconds, command=command or _default_command(config, out)
    )
    artifact = Artifact(config.optimizer, jax.device_get(state.best_theta), card)
    path = out / f"{config.run.name}.safetensors"
    artifact.save(path)
    path.with_suffix(".md").write_text(card_markdown(artifact))
    console.print(
        f"Meta-trained for {seconds:.0f} s, {card['budget']['inner_steps']:,} inner steps."
    )
    console.print(f"Exported {path}", soft_wrap=True)
    return artifact


class _Programs:
    """The two compiled programs of a run, and the state it starts from."""

    def __init__(self, trainer: Trainer, family: TaskFamily, length: int) -> None:
        everywhere = NamedSharding(trainer.mesh, PartitionSpec())
        options = compiler_options()
        self.family = family
        # One layout from the first call to the last, or the second call compiles again.
        self.start = jax.jit(trainer.init, out_shardings=everywhere)(family)
        self.chunk = jax.jit(
            lambda family, state: trainer.chunk(family, state, length),
            out_shardings=everywhere,
            compiler_options=options,
        )
        self.select = jax.jit(trainer.select, out_shardings=everywhere, compiler_options=options)

    def compile(self) -> None:
        """Compile both at once: each keeps about one core busy."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [
                pool.submit(lambda f: f.lower(self.family, self.start).compile(), program)
                for program in (self.chunk, self.select)
            ]
            self.chunk, self.select = (job.result() for job in jobs)


def _row(
    state: MetaTrainState, metrics: Metrics, score: jax.Array, rate: float, seconds: float
) -> dict[str, Any]:
    return {
        "step": int(state.step),
        "inner_steps": int(state.inner_steps),
        "inner_steps_per_second": round(rate, 1),
        "seconds": round(seconds, 2),
        **{name: float(value) for name, value in metrics._asdict().items()},
        "valid_loss": float(score),
    }


class _Log:
    """`metrics.jsonl`: one line a chunk, never one twice."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Forget lines after `step`, and a last line that a kill cut short."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = []
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            if row["step"] <= step:
                kept.append(line + "\n")
        write_atomic(self.path, "".join(kept))


def _default_command(config: Config, out: Path) -> str:
    return f"meta_train.meta_train(Config(...), {str(out)!r})"


def shell_command(argv: Sequence[str]) -> str:
    """The command line that repeats a run."""
    return shlex.join(["python", "-m", "meta_train", *(a for a in argv if a != "--resume")])
