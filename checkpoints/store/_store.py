"""Training states on disk: Orbax, asynchronous, atomic."""

import contextlib
import gc
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from learned_opt._checks import one_line

from ..folders import differences
from ._errors import SaveError, as_save_error, quiet_loads
from ._sums import damage, move_aside, write_sums

MIN_SLICE_BYTES = 1 << 20
"""A replicated array below this is written by one device: slicing it among all costs more."""

REASON = 120
"""Characters, at most, of what is said of one checkpoint."""

CURE = "put a whole one back, or start over with --resume --start-over"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says why."""


class CheckpointsLostError(CheckpointError):
    """There were checkpoints, and none can be read."""


class Store:
    """Checkpoints of one run: the newest `keep`, and the `best` with the lowest score.

    `save` returns once the state is copied; the write goes on in the background and a checkpoint
    appears whole or not at all. A process killed at any moment loses at most the save in flight.
    Several processes call `save` and `restore` together, each writes and reads what it holds.

    Args:
      directory: created if missing, unless the store is not `tidy`.
      keep: newest checkpoints that are kept.
      best: checkpoints of lowest score that are kept besides.
      tidy: remove what an interrupted save left, and set damaged checkpoints aside; off, where
        another process may be saving.
      note: told, in one line, of damaged checkpoints that `restore` has left out.

    Raises:
      CheckpointError: `directory` is no folder, or cannot be read. OSError: it cannot be created.

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
        self,
        directory: str | os.PathLike,
        *,
        keep: int = 2,
        best: int = 0,
        tidy: bool = True,
        note: Callable[[str], Any] = print,
    ) -> None:
        self.directory = Path(directory).absolute()
        self._keep, self._best, self._tidy, self._note = keep, best, tidy, note
        self._opened: ocp.training.Checkpointer | None = None
        self._saving = 0
        self._found()
        if tidy and jax.process_index() == 0:
            self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def _checkpointer(self) -> ocp.training.Checkpointer:
        # Opened by the first save: it reads every checkpoint, so damaged ones must be gone. And not
        # as soon as it is closed: it tidies in a thread, which the end of the process disturbs.
        if not self._opened:
            with quiet_loads():
                self._opened = self._open()
        return self._opened

    def _open(self) -> ocp.training.Checkpointer:
        policies = ocp.training.preservation_policies
        kept: Any = [policies.LatestN(self._keep)]
        if self._best:
            kept.append(
                policies.BestN(
                    # The lowest score is the best, and NaN, which is in no order, the worst.
                    get_metric_fn=lambda metrics: min(math.inf, metrics["score"]),
                    reverse=True,
                    n=self._best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        any_of: Any = policies.AnyPreservationPolicy(kept)
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = MIN_SLICE_BYTES
        # Where one cannot be created, threads that wait for it would do so for minutes.
        context.async_options.create_directories_asynchronously = False
        # A bound method would be copied, and the store with it.
        context.async_options.post_finalization_callback = lambda: self._seal()
        return ocp.training.Checkpointer(
            str(self.directory),
            context=context,
            preservation_policy=any_of,
            cleanup_tmp_directories=self._tidy,
        )

    def _seal(self) -> None:
        """Before the checkpoint that is being saved gets its name: it has its sums from then on."""
        if jax.process_index() == 0:
            unnamed = self.directory.glob(f"{self._saving}.orbax-checkpoint-tmp*")
            newest = max(unnamed, key=lambda path: path.stat().st_mtime, default=None)
            write_sums(newest or self.directory / str(self._saving))

    def _found(self) -> list[int]:
        """Steps of which there is something, whole or not."""
        if not os.path.lexists(self.directory):
            return []
        try:
            names = [path.name for path in self.directory.iterdir()]
        except OSError as error:
            raise CheckpointError(
                f"cannot read the checkpoints in {self.directory} ({error.strerror}): put their "
                "folder back, or move away what is in its place"
            ) from error
        return sorted(int(name) for name in names if re.fullmatch(STEP, name))

    def save(
        self, step: int, state: Any, facts: dict[str, Any], *, score: float | None = None
    ) -> None:
        """Save a pytree of arrays, and a JSON-typed dict that `restore` gives back.

        Raises:
          SaveError: this checkpoint, or the one in flight, could not be written.
        """
        # A copy: the caller may give the state's own buffers to the next step meanwhile.
        state = _copy(state)
        # Overwrite: a step may be there already, from before `restore` went further back.
        with as_save_error(self.directory):
            self._checkpointer.wait()
            self._saving = step
            self._checkpointer.save_checkpointables_async(
                step,
                {"state": state, "facts": facts},
                metrics=None if score is None else {"score": score},
                force=True,
                overwrite=True,
            )

    def restore(
        self,
        like: Any,
        expect: dict[str, Any] | None = None,
        renew: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest whole checkpoint as (step, state, facts); None if there is none.

        One that is not as it was written, or does not read back, is left out: where the store is
        `tidy` it is renamed to STEP.damaged, so that nothing is lost. Of several processes the
        first looks at the files, so that all read the same checkpoint.

        Args:
          like: a state of the same structure, shapes and dtypes; arrays are restored to its
            shardings, whatever those they were saved with.
          expect: entries that the facts must have.
          renew: the facts of an older checkpoint as they are said today.

        Raises:
          CheckpointError: the facts are others. CheckpointsLostError: there are checkpoints and
            none is whole.
          OSError: a damaged one could not be renamed.
        """
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        bad = self._damaged()
        for step in reversed([step for step in bad if not bad[step]]):
            found = self._read(step, abstract, expect or {}, renew)
            if not isinstance(found, str):
                self._leave_out({k: reason for k, reason in bad.items() if reason}, step)
                return step, *found
            bad[step] = found
        if bad:
            reasons = "; ".join(f"step {step}: {bad[step]}" for step in reversed(bad))
            raise CheckpointsLostError(
                f"no checkpoint in {self.directory} is whole ({reasons}): {CURE}"
            )
        return None

    def _damaged(self) -> dict[int, str]:
        """What is amiss with each checkpoint, by step in order; in all processes the first's."""
        first = jax.process_index() == 0
        mine = {step: damage(self.directory / str(step)) for step in self._found()} if first else {}
        return {int(step): reason for step, reason in json.loads(_firsts(json.dumps(mine))).items()}

    def _read(
        self,
        step: int,
        abstract: Any,
        expect: dict[str, Any],
        renew: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> tuple[Any, dict[str, Any]] | str:
        """(state, facts), or why they do not read back."""
        path = str(self.directory / str(step))
        what = "it does not read back"
        with quiet_loads():
            try:
                facts = renew(ocp.load_checkpointables(path, {"facts": None})["facts"])
                found = differences({k: facts.get(k) for k in expect}, expect)
                if not found:
                    # Its files are as they were written.
                    what = "it does not read back as a state of this code"
                    return ocp.load_checkpointables(path, {"state": abstract})["state"], facts
            except Exception as error:
                reason = one_line(f"{what} ({error.__cause__ or error})", REASON)
            else:
                raise CheckpointError(
                    f"the checkpoint {path} was made by other settings or code "
                    f"({'; '.join(found)}): go back to what it was made with, or start again in a "
                    "new folder; --accept-new-code goes on where only the code differs"
                )
            gc.collect()  # tasks that failed speak up as they go: here nobody hears
        return reason

    def _leave_out(self, bad: dict[int, str], step: int) -> None:
        if not bad or jax.process_index() != 0:
            return
        left = []
        for k, reason in bad.items():
            kept = f"; kept as {move_aside(self.directory / str(k))}" if self._tidy else ""
            left.append(f"{k} ({reason}{kept})")
        self._note(
            f"note: using the checkpoint of step {step}; damaged in {self.directory} and left out: "
            f"{', '.join(left)}"
        )

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
        """Let go of a directory that was removed or moved; the next save makes it anew."""
        with contextlib.suppress(SaveError):  # of the save in flight, whose place is gone
            self.close()


STEP = "0|[1-9][0-9]{0,17}"
"""Name of a checkpoint's folder; one that is being written has a longer one."""


def saved_steps(directory: str | os.PathLike) -> list[int]:
    """Steps of the checkpoints in a store's directory, in order; none if it cannot be read."""
    try:
        found = [path for path in Path(directory).iterdir() if re.fullmatch(STEP, path.name)]
    except OSError:
        return []
    return sorted(int(path.name) for path in found if path.is_dir())


def _firsts(text: str) -> str:
    """The first process's text, in every process; all must call it together."""
    if jax.process_count() == 1:
        return text
    data = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    said = multihost_utils.broadcast_one_to_all(np.resize(data, size))
    return bytes(np.asarray(said)).decode()


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
