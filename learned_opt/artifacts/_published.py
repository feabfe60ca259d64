"""Weights that other authors published, read from their own files as artifacts.

None of them is part of this package: fetch them where their authors offer them.
"""

import difflib
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from .._checks import check_path, one_line, shown, shown_path
from .._extras import MissingExtraError, needs_extra
from ..optimizers import OPEN, Celo, Celo2, CeloAdam
from ..transformation._learned_optimizer import LearnedOptimizer
from ._artifact import Artifact, ArtifactError
from ._theta import flatten_theta, restore_theta

NDARRAY, SCALAR = 1, 3
"""Extension types of msgpack that flax uses for an array and for a NumPy scalar."""


class _Published(NamedTuple):
    """Whose weights they are, whether the file is one flat vector, who made it, and what to know.

    `configurations`: of the optimizer, one of which has meta-parameters of the file's sizes.
    """

    configurations: tuple[Any, ...]
    flat: bool
    source: str
    use: str


FAULTS = "As published, with the faults of the published code: its weights were found under them."


PUBLISHED = {
    "celo": _Published(
        (Celo(as_published=True),),
        False,
        "Moudgil, Knyazev, Lajoie, Belilovsky 2025, Celo: Training Versatile Learned Optimizers on "
        "a Compute Diet",
        FAULTS,
    ),
    "celo-adam": _Published(
        (CeloAdam(as_published=True),),
        False,
        "Moudgil, Knyazev, Lajoie, Belilovsky 2025, Celo: Training Versatile Learned Optimizers on "
        "a Compute Diet",
        FAULTS,
    ),
    "celo2": _Published(
        (Celo2(as_published=True),),
        False,
        "Moudgil, Knyazev, Belilovsky 2026, Celo2: Towards Learned Optimization Free Lunch",
        FAULTS,
    ),
    "open": _Published(
        (OPEN(stochastic=True), OPEN.published(stochastic=True)),
        True,
        "Goldie, Lu, Jackson, Whiteson, Foerster 2024, Can Learned Optimization Make Reinforcement "
        "Learning Less Difficult?",
        "As published, with noise on the parameters of the actor: pass update the keyword actor, "
        'such as actor={"actor": 1.0, "critic": 0.0}, else the critic has noise too. Without any: '
        "dataclasses.replace(artifact.optimizer, stochastic=False).",
    ),
}
"""What can be imported, by kind."""


def import_published(kind: str, path: str | os.PathLike) -> Artifact:
    """Published weights as an artifact, for `learned_opt.learned` and `Artifact.save`.

    Args:
      kind: "celo", "celo-adam", "celo2" or "open".
      path: the authors' file: flax msgpack, `.npz` or `.npy`, told apart by their first bytes.
        Names of arrays are paths, their parts joined by "/" or "."; of "open" it is one vector.

    Returns an artifact as it was published: with `as_published`, or for "open" with `stochastic`.
    Its card says where the weights are from, what to know of them, and the sha256 of the file.

    Raises:
      ArtifactError: unknown kind; the file cannot be read, is damaged or of another layout, or
        updates with it are not finite; or it is msgpack and the package of that name is not
        installed. TypeError: `path` is neither string nor path.

    Example:
      >>> import learned_opt
      >>> learned_opt.import_published("celo2", "nowhere.npz")
      Traceback (most recent call last):
      learned_opt....ArtifactError: cannot read nowhere.npz: No such file or directory
    """
    if not isinstance(kind, str) or kind not in PUBLISHED:
        close = (
            difflib.get_close_matches(str(kind), PUBLISHED, n=1) if isinstance(kind, str) else []
        )
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ArtifactError(f"kind must be one of {', '.join(PUBLISHED)}, got {shown(kind)}{hint}")
    published = PUBLISHED[kind]
    path = check_path("path", path)
    where = shown_path(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {where}: {error.strerror}") from error
    except ValueError as error:  # a name with a NUL
        raise ArtifactError(f"cannot read {where}: {one_line(error)}") from error
    try:
        with needs_extra(f"reading {where}"):
            weights = _read(data)
    except MissingExtraError as error:
        raise ArtifactError(str(error)) from error
    except Exception as error:  # NumPy, zipfile and msgpack raise many types on damage
        raise ArtifactError(
            f"{where} is not a readable flax msgpack, .npz or .npy file ({one_line(error)}): "
            "it is truncated or damaged; fetch it again"
        ) from error
    if published.flat == isinstance(weights, Mapping):
        wanted = "one vector" if published.flat else "arrays by name"
        got = f"{len(weights)} arrays by name" if published.flat else "one array"
        raise ArtifactError(
            f"{where} does not have the layout of {kind}: it must hold {wanted}, got {got}; "
            f"pass the authors' file for {kind}"
        )
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(weights)):
        raise ArtifactError(
            f"{where} holds numbers that are not finite in float32: it is damaged; fetch it again"
        )
    try:
        theta = published.configurations[0].from_published(weights)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{where} does not have the layout of {kind} ({one_line(error)}): "
            f"pass the authors' file for {kind}"
        ) from error
    card = {
        "name": f"published-{kind}",
        "kind": kind,
        "source": published.source,
        "file": Path(path).name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "note": "The authors' weights, converted from their file; not redistributed here.",
        "use": published.use,
    }
    optimizer = _fitting(published.configurations, theta)
    try:
        theta = restore_theta(optimizer, flatten_theta(theta))
    except ValueError as error:
        raise ArtifactError(
            f"{where} does not hold weights of {kind} that can be used ({error}): fetch it again"
        ) from error
    return Artifact(optimizer, theta, card)


def _fitting(configurations: tuple[Any, ...], theta: Theta) -> LearnedOptimizer:
    """The first whose meta-parameters have the sizes of `theta`."""
    shapes = jax.tree.map(jnp.shape, theta)
    for optimizer in configurations:
        like = jax.eval_shape(optimizer.init, jax.random.key(0))
        if jax.tree.map(jnp.shape, like) == shapes:
            return optimizer
    name = configurations[0].name
    raise ArtifactError(f"no {name} has meta-parameters of these shapes: upgrade learned-opt")


def _read(data: bytes) -> np.ndarray | dict[str, np.ndarray]:
    """One array, or arrays by their paths joined by "/"."""
    if data.startswith(b"PK"):
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return _flatten({name: file[name] for name in file.files})
    if data.startswith(b"\x93NUMPY"):
        return _floats(np.load(io.BytesIO(data), allow_pickle=False), "the file")
    import msgpack

    tree = msgpack.unpackb(data, ext_hook=_unpack, raw=False)
    return _floats(tree, "the file") if isinstance(tree, np.ndarray) else _flatten(tree)


def _unpack(code: int, data: bytes) -> np.ndarray:
    """An array as flax writes it: shape, name of the dtype and bytes, packed once more."""
    import msgpack

    if code not in (NDARRAY, SCALAR):
        raise ValueError(f"extension type {code} is not an array")
    shape, dtype, content = msgpack.unpackb(data, raw=False)
    return np.frombuffer(content, jnp.dtype(dtype)).reshape(shape)


def _floats(x: np.ndarray, name: str) -> np.ndarray:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{shown(name)} holds {x.dtype}, not floating point numbers")
    # What is too large for float32 becomes infinite, and is refused as that.
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def _flatten(tree: Any, path: str = "") -> dict[str, np.ndarray]:
    if isinstance(tree, np.ndarray):
        return {path: _floats(tree, path)}
    if not isinstance(tree, dict):
        raise ValueError(f"{shown(path) if path else 'the file'} holds {type(tree).__name__}")
    found = {}
    for key, value in tree.items():
        # Names with both would be ambiguous; the published ones have one or the other.
        part = key if "/" in key else key.replace(".", "/")
        arrays = _flatten(value, f"{path}/{part}" if path else part)
        twice = sorted(found.keys() & arrays.keys())
        if twice:
            raise ValueError(f"it holds two arrays called {shown(twice[0])}")
        found |= arrays
    return found
