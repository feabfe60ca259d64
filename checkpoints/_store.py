"""Training states on disk: Orbax, asynchronous, atomic."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from ._failed import SaveError, as_save_error
from ._folder import differences

MIN_SLICE_BYTES = 1 << 20
"""A replicated array below this is written by one device: slicing it among all costs more."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says why."""


class LostError(CheckpointError):
    """There were checkpoints, and none can be read."""


class Store:
    """Checkpoints of one run: the newest `keep`, and the `best` with the lowest score.

    `save` returns once the state is copied; the write goes on in the background and a checkpoint
    appears whole or not at all. A process killed at any moment loses at most the save in flight.
    Several processes call `save` and `restore` together, each writes and reads what it holds.

    Args:
      directory: created if missing.
      keep: newest checkpoints that are kept.
      best: checkpoints of lowest score that are kept besides.
      tidy: remove what an interrupted save left; off, where another process may be saving.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> store = Store(tempfile.mkdtemp())
      >>> store.save(3, {"x": jnp.arange(2)}, {"note": "three"})
      >>> store.close()
      >>> step, state, facts = store.restore({"x": jnp.zeros(2, int)})
      >>> step, state["x"].tolist(), facts["note"]
      (3, [0, 1], 'three')
    """

    def __init__(
        self, directory: str | os.PathLike, *, keep: int = 2, best: int = 0, tidy: bool = True
    ) -> None:
        self.directory = Path(directory).resolve()
        self._keep, self._best, self._tidy = keep, best, tidy
        self._opened = self._open()

    @property
    def _checkpointer(self) -> ocp.training.Checkpointer:
        # Not as soon as it is closed: it tidies in a thread, which the end of the process disturbs.
        self._opened = self._opened or self._open()
        return self._opened

    def _open(self) -> ocp.training.Checkpointer:
        policies = ocp.training.preservation_policies
        kept: Any = [policies.LatestN(self._keep)]
        if self._best:
            kept.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics["score"],
                    reverse=True,  # the lowest score is the best
                    n=self._best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        any_of: Any = policies.AnyPreservationPolicy(kept)
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = MIN_SLICE_BYTES
        return ocp.training.Checkpointer(
            str(self.directory),
            context=context,
            preservation_policy=any_of,
            cleanup_tmp_directories=self._tidy,
        )

    def steps(self) -> list[int]:
        """Steps of the checkpoints, in order."""
        return sorted(found.step for found in self._checkpointer.checkpoints)

    def save(
        self, step: int, state: Any, facts: dict[str, Any], *, score: float | None = None
    ) -> None:
        """Save a pytree of arrays, and a JSON-typed dict that `restore` gives back.

        Raises:
          SaveError: this checkpoint, or the one in flight, could not be written.
        """
        # A copy: the caller may give the state's own buffers to the next step meanwhile.
        state = _copy(state)
        # Overwrite: a step may be there already, damaged, so that `restore` went further back.
        with as_save_error(self.directory):
            self._checkpointer.save_checkpointables_async(
                step,
                {"state": state, "facts": facts},
                metrics=None if score is None else {"score": score},
                force=True,
                overwrite=True,
            )

    def restore(
        self, like: Any, expect: dict[str, Any] | None = None
    ) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest whole checkpoint as (step, state, facts); None if there is none.

        Args:
          like: a state of the same structure, shapes and dtypes; arrays are restored to its
            shardings, whatever those they were saved with. A checkpoint that does not read back
            falls back on the one before it.
          expect: entries that the facts must have.

        Raises:
          CheckpointError: the facts are others. LostError: there are checkpoints and none reads
            back.
        """
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        errors = []
        for step in reversed(self.steps()):
            try:
                facts = self._load(step, {"facts": None})["facts"]
            except Exception as error:  # deletion is not atomic: a kill can leave half a folder
                errors.append(f"step {step}: {error}")
                continue
            found = differences({k: facts.get(k) for k in expect}, expect) if expect else []
            if found:
                raise CheckpointError(
                    f"the checkpoint {self.directory / str(step)} is of another run "
                    f"({'; '.join(found)}): go back to what it was made with, or start again in a "
                    "new folder; --accept-new-code goes on where only the code differs"
                )
            try:
                return step, self._load(step, {"state": abstract})["state"], facts
            except Exception as error:
                errors.append(f"step {step}: {error}")
        if errors:
            raise LostError(
                f"no checkpoint in {self.directory} reads back ({'; '.join(errors)}): "
                "put a whole one back, or start over with --resume --start-over"
            )
        return None

    def _load(self, step: int, what: dict[str, Any]) -> dict[str, Any]:
        return self._checkpointer.load_checkpointables(step, what)

    def close(self) -> None:
        """Wait for the save in flight; the store can be used again afterwards.

        Raises:
          SaveError: it could not be written.
        """
        opened, self._opened = self._opened, None
        if opened:
            with as_save_error(self.directory):
                opened.close()

    def reopen(self) -> None:
        """Go on after the directory was removed or moved: it is made anew, and is empty."""
        with contextlib.suppress(SaveError):  # of the save in flight, whose place is gone
            self.close()


def saved_steps(directory: str | os.PathLike) -> list[int]:
    """Steps of the checkpoints that lie whole in a store's directory, in order; none if it is not.

    One that is being written has a longer name.
    """
    try:
        names = [path.name for path in Path(directory).iterdir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdecimal())


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
