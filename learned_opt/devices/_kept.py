"""Compiled programs that are kept on disk: traced and compiled once a machine.

JAX's own persistent cache keeps what XLA made, and has to trace a program to find it. Here a
program is found by what it is made of.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable
from jax.sharding import Mesh

from .._checks import shown
from .._files import cache_folder, write_atomic
from .._rooms import room_sources, source_hash
from ._memory import room_for_program

SETTING = "LEARNED_OPT_PROGRAMS"
GIGABYTES = 2.0
"""Kept at most, unless SETTING says otherwise."""
HEAD = b"learned-opt program 1\n"
ENDING = ".program"
ROOMS = ("learned_opt", "tasks", "meta_train")
"""Whose code makes programs that are kept."""
TRACED_BY = {name: name for name in ("jax", "jaxlib", "optax", "numpy", "evosax")} | {
    "haiku": "dm-haiku"
}
"""Module -> distribution whose version counts in every key."""
UNSEEN = ("cache", "log", "dump", "distributed", "coordination", "debug", "explain")
"""In names of settings of JAX that say nothing about what is computed."""


def kept_bytes() -> int:
    """Bytes of programs that are kept at most: LEARNED_OPT_PROGRAMS, in GB, is 2 unless set.

    0 if none are; also where the user has JAX keep them, in JAX_COMPILATION_CACHE_DIR, and where
    there are several processes, which must compile alike.

    Raises:
      ValueError: the setting is not a number of gigabytes.
    """
    said = os.environ.get(SETTING, str(GIGABYTES))
    try:
        size = float(said)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise ValueError(
            f"{SETTING} must be a number of gigabytes, 0 to keep no compiled programs, got "
            f"{shown(said)}"
        )
    elsewhere = jax.config.values.get("jax_compilation_cache_dir") or jax.process_count() > 1
    return 0 if elsewhere else int(1e9 * size)


def versions(modules: Iterable[str]) -> dict[str, str]:
    """Distribution -> version, of modules at the top of what is installed.

    Without Python, this package and TRACED_BY, which count in every key.
    """
    left = {*modules} - {*sys.stdlib_module_names, *TRACED_BY, "learned_opt"}
    # To ask reads what all distributions hold.
    owners = _owners() if left else {}
    names = {name for module in left for name in owners.get(module, ())}
    return {name: _version(name) for name in sorted(names)}


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _version(name: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return ""


def programs_folder() -> Path:
    """Where programs are kept; it may be removed at any time."""
    return cache_folder() / "programs"


def compiled(
    program: Any, args: tuple[Any, ...], results: Any, facts: Any, mesh: Mesh
) -> tuple[Any, bool]:
    """`program.lower(*args).compile()`, or the same from disk; and whether it was there.

    A file that is damaged, or of another user, is not read; files used longest ago make room.

    Args:
      program: what `jax.jit` returns.
      args: arrays as it is called with, or their shapes.
      results: a tree of the structure of what it returns.
      facts: JSON types that say what it computes, but for the shapes of arguments.
      mesh: the devices that it runs on.

    Raises:
      MemoryError: see `room_for_program`.
    """
    with room_for_program():
        return _compiled(program, args, results, facts, mesh)


def _compiled(
    program: Any, args: tuple[Any, ...], results: Any, facts: Any, mesh: Mesh
) -> tuple[Any, bool]:
    limit = kept_bytes()
    if not limit:
        return program.lower(*args).compile(), False
    place = programs_folder() / f"{_key(args, results, facts, mesh)}{ENDING}"
    found = _load(place, args, results, mesh)
    if found is not None:
        return found, True
    lowered = program.lower(*args)
    made = lowered.compile()
    # Whatever is wrong with the disk, the program is there. One that calls back into Python is of
    # this process alone.
    with contextlib.suppress(Exception):
        if "callback" not in lowered.as_text():
            payload, _, _ = serialize_executable.serialize(made)
            _write(place, HEAD + hashlib.sha256(payload).digest() + payload, limit)
    return made, False


def remembered(args: Any, facts: Any, make: Callable[[], list[int]]) -> list[int]:
    """`make()`, or what it returned before for the same facts and arguments of these shapes.

    Kept beside the programs; `make` must depend on nothing else, and on the code of this package.
    """
    limit = kept_bytes()
    if not limit:
        return make()
    place = programs_folder() / f"{_key((args,), (), facts, None)}.json"
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_own_bytes(place))
        if isinstance(found, list) and all(type(x) is int for x in found):
            os.utime(place)
            return found
    made = make()
    with contextlib.suppress(OSError):
        _write(place, json.dumps(made).encode(), limit)
    return made


def _own_bytes(place: Path) -> bytes:
    """Of a file of this user; OSError of another's: nobody else's machine code is run."""
    if hasattr(os, "geteuid") and place.stat().st_uid != os.geteuid():
        raise FileNotFoundError(place)
    return place.read_bytes()


def _write(place: Path, content: bytes, limit: int) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(place, content)
    _tidy(place.parent, limit)


def _load(place: Path, args: tuple[Any, ...], results: Any, mesh: Mesh) -> Any:
    """The program in a file; None if there is none. A file that cannot be loaded is removed."""
    try:
        raw = _own_bytes(place)
        body = len(HEAD) + hashlib.sha256().digest_size
        payload = raw[body:]
        if raw[:body] != HEAD + hashlib.sha256(payload).digest():
            raise ValueError("damaged")
        found = serialize_executable.deserialize_and_load(
            payload,
            jax.tree.structure((args, {})),
            jax.tree.structure(results),
            execution_devices=list(mesh.devices.flat),
        )
        os.utime(place)
    except FileNotFoundError:
        return None
    except Exception:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
        return None
    return found


def _tidy(folder: Path, limit: int) -> None:
    """Remove the files used longest ago until the others fit."""
    seen = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process tidies, too
            stat = path.stat()
            seen.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in seen)
    for _, size, path in sorted(seen):
        if total <= limit:
            break
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        total -= size


def _key(args: tuple[Any, ...], results: Any, facts: Any, mesh: Mesh | None) -> str:
    """32 hex digits of SHA-256 over all that a compiled program depends on."""
    options = {
        name: repr(value)
        for name, value in jax.config.values.items()
        if not any(word in name for word in UNSEEN)
    }
    flags = {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")}
    where: list[Any] = [jax.device_count()]
    if mesh is not None:
        where += [str(mesh.shape), str(mesh.axis_types)]
        where += [[device.id, device.device_kind] for device in mesh.devices.flat]
    told = [
        facts, _shapes(args), [jax.tree_util.keystr(p) for p, _ in _leaves(results)], where,
        options, flags, _here(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _shapes(args: tuple[Any, ...]) -> list[str]:
    return [
        f"{jax.tree_util.keystr(path)} {x.dtype}{list(x.shape)} "
        f"{getattr(x, 'weak_type', False)} {getattr(getattr(x, 'sharding', None), 'spec', None)}"
        for path, x in _leaves(args)
    ]


def _leaves(tree: Any) -> list[Any]:
    return jax.tree_util.tree_leaves_with_path(tree)


@functools.cache
def _here() -> list[Any]:
    """Versions, the code of this package, the processor."""
    found = {name: _version(name) for name in TRACED_BY.values()}
    files = [path for room in ROOMS for path in room_sources(room) if path.is_file()]
    processor = [platform.machine(), platform.processor(), platform.python_version()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor += sorted({line for line in lines if line.startswith(("flags", "model name"))})
    return [found, source_hash(*files), processor, jax.devices()[0].client.platform_version]
