"""A meta-trained optimizer as one small file: theta, the optimizer's configuration, its card."""

import dataclasses
import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from ._base import LearnedOptimizer, Theta
from ._files import write_atomic
from ._rooms import room_folder
from .optimizers import OPTIMIZERS

FORMAT = 1
METADATA_KEY = "learned_opt"
RECOMMENDED = "small"
"""The pretrained optimizer that is used where none is named."""
ZOO = room_folder("checkpoints") / "zoo"


class ArtifactError(ValueError):
    """The artifact does not exist, or the file is damaged or newer than this code."""


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A meta-trained optimizer.

    Attributes:
      optimizer: the update rule's family, e.g. `Nominal()`.
      theta: its meta-parameters, a nested dict of float arrays.
      card: provenance as JSON types: name, command, tasks, data, horizons, budget, code version.

    Example:
      >>> import jax, learned_opt, tempfile, pathlib
      >>> optimizer = learned_opt.Nominal()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.safetensors"
      >>> learned_opt.Artifact(optimizer, theta, {"name": "mine"}).save(path)
      >>> learned_opt.load(path).card["name"]
      'mine'
    """

    optimizer: LearnedOptimizer
    theta: Theta
    card: dict[str, Any]

    def save(self, path: str | os.PathLike) -> None:
        """Write one `.safetensors` file, atomically."""
        tensors = _flatten(self.theta)
        header = {"format": FORMAT, **self._rule(), "card": self.card}
        header["sha256"] = _digest(header, tensors)
        # One entry: safetensors writes several in random order.
        metadata = {METADATA_KEY: _json(header)}
        write_atomic(path, safetensors.numpy.save(tensors, metadata=metadata))

    @property
    def sha256(self) -> str:
        """Content hash of theta and the optimizer's configuration (hex)."""
        return _digest(self._rule(), _flatten(self.theta))

    def _rule(self) -> dict[str, Any]:
        config = dataclasses.asdict(self.optimizer)  # type: ignore[arg-type]
        for field in dataclasses.fields(self.optimizer):  # type: ignore[arg-type]
            if field.metadata.get("added") and config[field.name] == field.default:
                del config[field.name]
        return {"optimizer": self.optimizer.name, "config": config}


def available() -> tuple[str, ...]:
    """Names of the pretrained optimizers that ship with this package, sorted."""
    return tuple(sorted(path.stem for path in ZOO.glob("*.safetensors")))


def load(name_or_path: str | os.PathLike) -> Artifact:
    """Load a pretrained optimizer by name (see `available`) or from a `.safetensors` file.

    Raises:
      ArtifactError: unknown name, missing, truncated, altered or newer file.
    """
    given = os.fspath(name_or_path)
    looks_like_path = given.endswith(".safetensors") or os.sep in given
    path = Path(given) if looks_like_path else ZOO / f"{given}.safetensors"
    if not path.is_file():
        if looks_like_path:
            raise ArtifactError(f"no artifact at {path}: there is no such file")
        close = difflib.get_close_matches(given, available(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        listed = ", ".join(available()) or "none"
        raise ArtifactError(
            f"no pretrained optimizer is named {given!r}; {hint}available: {listed}"
        )
    try:
        with safetensors.safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(METADATA_KEY, "{}")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        header = json.loads(text)
    except Exception as error:  # safetensors raises several types on damage
        raise ArtifactError(
            f"{path} is not a readable artifact ({error}): it is truncated or damaged; "
            "fetch or export it again"
        ) from error
    return _decode(path, header, tensors)


def _decode(path: Path, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Artifact:
    if "format" not in header:
        raise ArtifactError(
            f"{path} is not a learned-opt artifact: its header has no format; "
            "pass a file exported by learned-opt meta-train"
        )
    if isinstance(header["format"], int) and header["format"] > FORMAT:
        raise ArtifactError(
            f"{path} has artifact format {header['format']}, this code reads up to {FORMAT}: "
            "upgrade learned-opt"
        )
    digest = header.pop("sha256", None)
    if digest != _digest(header, tensors):
        raise ArtifactError(
            f"{path} does not match its own checksum: it was altered or damaged; "
            "fetch or export it again"
        )
    known = {cls.name: cls for cls in OPTIMIZERS}
    if header["optimizer"] not in known:
        raise ArtifactError(
            f"{path} holds an optimizer named {header['optimizer']!r}, this code knows "
            f"{', '.join(known)}: upgrade learned-opt"
        )
    try:
        optimizer = known[header["optimizer"]](**header["config"])
    except TypeError as error:
        raise ArtifactError(
            f"the configuration in {path} does not fit this code's {header['optimizer']} "
            f"({error}): upgrade learned-opt"
        ) from error
    return Artifact(optimizer, _unflatten(tensors), header["card"])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _digest(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    sha = hashlib.sha256(_json(header).encode())
    for key in sorted(tensors):
        x = tensors[key]
        sha.update(f"{key}{x.shape}{x.dtype}".encode())
        sha.update(np.ascontiguousarray(x).tobytes())
    return sha.hexdigest()


def _flatten(theta: Theta) -> dict[str, np.ndarray]:
    leaves = jax.tree.leaves_with_path(theta)
    return {".".join(k.key for k in path): np.array(x) for path, x in leaves}


def _unflatten(tensors: dict[str, np.ndarray]) -> Theta:
    theta: dict[str, Any] = {}
    for key, value in tensors.items():
        *parents, last = key.split(".")
        node = theta
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = jnp.asarray(value)
    return theta
