"""Training states on disk: Orbax, asynchronous, atomic."""

import os
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says why."""


class Store:
    """Checkpoints of one run, newest last; keeps the newest two.

    `save` returns once the state is copied; the write goes on in the background and a checkpoint
    appears whole or not at all. A process killed at any moment loses at most the save in flight.

    Args:
      directory: created if missing.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> store = Store(tempfile.mkdtemp())
      >>> store.save(3, {"x": jnp.arange(2)}, {"note": "three"})
      >>> store.close()
      >>> step, state, facts = store.restore({"x": jnp.zeros(2, int)})
      >>> step, state["x"].tolist(), facts["note"]
      (3, [0, 1], 'three')
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory).resolve()
        self._open()

    def _open(self) -> None:
        newest: Any = ocp.training.preservation_policies.LatestN(2)
        self._checkpointer = ocp.training.Checkpointer(
            str(self.directory),
            preservation_policy=newest,
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: Any, facts: dict[str, Any]) -> None:
        """Save a pytree of arrays, and a JSON-typed dict that `restore` gives back."""
        # Overwrite: a step may be there already, damaged, so that `restore` went further back.
        self._checkpointer.save_checkpointables_async(
            step, {"state": state, "facts": facts}, force=True, overwrite=True
        )

    def restore(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest whole checkpoint as (step, state, facts); None if there is none.

        Args:
          like: a state of the same structure, shapes and dtypes; arrays are restored to its
            shardings. A checkpoint that does not read back falls back on the one before it.

        Raises:
          CheckpointError: there are checkpoints and none reads back.
        """
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        steps = sorted((found.step for found in self._checkpointer.checkpoints), reverse=True)
        errors = []
        for step in steps:
            try:
                loaded = self._checkpointer.load_checkpointables(
                    step, {"state": abstract, "facts": None}
                )
            except Exception as error:  # deletion is not atomic: a kill can leave half a folder
                errors.append(f"step {step}: {error}")
                continue
            return step, loaded["state"], loaded["facts"]
        if errors:
            raise CheckpointError(
                f"no checkpoint in {self.directory} reads back ({'; '.join(errors)}): "
                "start again in a new folder"
            )
        return None

    def close(self) -> None:
        """Wait for the save in flight; the store can be used again afterwards."""
        self._checkpointer.close()
        self._open()
