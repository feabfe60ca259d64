"""A meta-trained optimizer as one small file: theta, the optimizer's configuration, its card."""

import dataclasses
import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .._base import Theta
from .._checks import check_path, one_line, shown, shown_path
from .._files import write_atomic
from .._rooms import room_folder
from ..optimizers import OPTIMIZERS
from ..transformation._learned_optimizer import LearnedOptimizer
from ._older import current, hashed
from ._theta import flatten_theta, restore_theta

FORMAT = 1
METADATA_KEY = "learned_opt"
RECOMMENDED = "small"
"""The pretrained optimizer that is used where none is named."""
ZOO = room_folder("checkpoints") / "zoo"


class ArtifactError(ValueError):
    """The artifact does not exist, cannot be used, or its file is damaged or newer than this code.

    The message is one sentence.
    """


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A meta-trained optimizer.

    Attributes:
      optimizer: the update rule's family, e.g. `GatedAdam()`.
      theta: its meta-parameters, a nested dict of float arrays.
      card: provenance as JSON types: name, command, tasks, data, horizons, budget, code version.

    Raises:
      ArtifactError: `optimizer` is no learned optimizer, or `card` no dict.

    Example:
      >>> import jax, learned_opt, tempfile, pathlib
      >>> optimizer = learned_opt.GatedAdam()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.safetensors"
      >>> learned_opt.Artifact(optimizer, theta, {"name": "mine"}).save(path)
      >>> learned_opt.load(path).card["name"]
      'mine'
    """

    optimizer: LearnedOptimizer
    theta: Theta
    card: dict[str, Any]

    def __post_init__(self) -> None:
        if isinstance(self.optimizer, type) or not hasattr(self.optimizer, "transform"):
            raise ArtifactError(
                f"optimizer must be a learned optimizer such as GatedAdam(), got "
                f"{shown(self.optimizer)}; see learned_opt.OPTIMIZERS"
            )
        if not isinstance(self.card, dict):
            raise ArtifactError(
                f"card must be a dict, got {shown(self.card)}; pass {{}} if there is nothing to say"
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write one `.safetensors` file, atomically.

        Raises:
          ArtifactError: `load` would refuse it: the optimizer is none of `OPTIMIZERS`, theta is
            not its own or not finite, or the card does not consist of JSON types.
        """
        where = shown_path(check_path("path", path))
        if type(self.optimizer) not in OPTIMIZERS:
            raise ArtifactError(
                f"{where} cannot be written: its optimizer must be one of learned_opt.OPTIMIZERS, "
                f"got {shown(self.optimizer)}; add its class to them"
            )
        tensors = flatten_theta(self.theta)
        try:
            # As it will be read: JSON turns keys into strings, and orders them.
            config = dataclasses.asdict(self.optimizer)  # type: ignore[arg-type]
            said = {"optimizer": self.optimizer.name, "config": config, "card": self.card}
            header = json.loads(_json({"format": FORMAT, **said}))
        except (RecursionError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{where} cannot be written: its card must consist of JSON types and finite "
                f"numbers ({one_line(error)}); convert what does not"
            ) from error
        header["sha256"] = _digest(header, tensors)
        _decode(where, header, tensors)
        # One entry: safetensors writes several in random order.
        metadata = {METADATA_KEY: _json(header)}
        write_atomic(path, safetensors.numpy.save(tensors, metadata=metadata))

    @property
    def sha256(self) -> str:
        """Content hash of theta and the optimizer's configuration (hex)."""
        return _digest(hashed(self.optimizer), flatten_theta(self.theta))


def available() -> tuple[str, ...]:
    """Names of the pretrained optimizers that ship with this package, sorted."""
    return tuple(sorted(path.stem for path in ZOO.glob("*.safetensors")))


def load(name_or_path: str | os.PathLike) -> Artifact:
    """Load a pretrained optimizer by name (see `available`) or from a `.safetensors` file.

    Raises:
      ArtifactError: unknown name; missing, truncated, altered or newer file; or one whose theta is
        not what its optimizer's `init` gives, or not finite. TypeError: neither string nor path.
    """
    path = _find(check_path("name_or_path", name_or_path))
    try:
        with safetensors.safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(METADATA_KEY, "{}")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        header = json.loads(text)
        _json(header)  # A number may be infinite, a list too deep.
    except Exception as error:  # safetensors raises several types on damage
        raise ArtifactError(
            f"{shown_path(path)} is not a readable artifact ({one_line(error)}): it is truncated "
            "or damaged; fetch or export it again"
        ) from error
    return _decode(shown_path(path), header, tensors)


def _find(given: str) -> Path:
    """The file of that name."""
    looks_like_path = given.endswith(".safetensors") or os.sep in given
    path = Path(given) if looks_like_path else ZOO / f"{given}.safetensors"
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise ArtifactError(f"cannot read {shown_path(path)}: {error.strerror}") from error
    if looks_like_path:
        raise ArtifactError(f"no artifact at {shown_path(path)}: there is no such file")
    close = difflib.get_close_matches(given, available(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(available()) or "none"
    raise ArtifactError(
        f"no pretrained optimizer is named {shown(given)}; {hint}available: {listed}"
    )


def _decode(where: str, header: Any, tensors: dict[str, np.ndarray]) -> Artifact:
    """What a header, as JSON types, and arrays say; `where`: the file, for messages."""
    if not isinstance(header, dict) or "format" not in header:
        raise ArtifactError(
            f"{where} is not a learned-opt artifact: its header has no format; "
            "pass a file exported by learned-opt meta-train"
        )
    found = header["format"]
    if type(found) is not int or found < 1:
        raise ArtifactError(
            f"{where} must have a positive integer as its format, got {shown(found)}; "
            "export it again"
        )
    if found > FORMAT:
        raise ArtifactError(
            f"{where} has artifact format {shown(found)}, this code reads up to {FORMAT}: "
            "upgrade learned-opt"
        )
    said = {key: value for key, value in header.items() if key != "sha256"}
    if header.get("sha256") != _digest(said, tensors):
        raise ArtifactError(
            f"{where} does not match its own checksum: it was altered or damaged; "
            "fetch or export it again"
        )
    fields: list[Any] = [header.get(key) for key in ("optimizer", "config", "card")]
    name, config, card = fields
    for key, value, kind in (
        ("optimizer", name, str),
        ("config", config, dict),
        ("card", card, dict),
    ):
        if not isinstance(value, kind):
            noun = "a name" if kind is str else "a table"
            raise ArtifactError(
                f"{where} must have {noun} as its {key}, got {shown(value)}; export it again"
            )
    known = {cls.name: cls for cls in OPTIMIZERS}
    try:
        name, config = current(name, config)
    except ValueError as error:
        raise ArtifactError(f"{where} cannot be used: {error}") from error
    if name not in known:
        raise ArtifactError(
            f"{where} holds an optimizer named {shown(name)}, this code knows "
            f"{', '.join(known)}: upgrade learned-opt"
        )
    try:
        optimizer = known[name](**config)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"the configuration in {where} does not fit this code's {name} "
            f"({one_line(error)}): upgrade learned-opt"
        ) from error
    try:
        theta = restore_theta(optimizer, tensors)
    except ValueError as error:
        raise ArtifactError(
            f"{where} does not hold the meta-parameters of its configuration ({error}); "
            "export it again"
        ) from error
    return Artifact(optimizer, theta, card)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _digest(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    sha = hashlib.sha256(_json(header).encode())
    for key in sorted(tensors):
        x = tensors[key]
        sha.update(f"{key}{x.shape}{x.dtype}".encode())
        sha.update(np.ascontiguousarray(x).tobytes())
    return sha.hexdigest()
