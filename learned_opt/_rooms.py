"""Rooms of this package, found without importing them: where they are, and their sources.

In a checkout the others lie beside this folder, in an installed package within it.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

CORE = "learned_opt"
OTHERS = ("tasks", "checkpoints", "meta_train", "eval")


def room_folder(room: str) -> Path:
    """The folder of a room, by its name: `CORE` or one of `OTHERS`."""
    core = Path(__file__).resolve().parent
    found = None if room == CORE else importlib.util.find_spec(f"{CORE}.{room}")
    places = found.submodule_search_locations if found else None
    if places:
        return Path(places[0]).resolve()
    return core if room == CORE else core / room


def room_sources(room: str) -> list[Path]:
    """The Python files of a room, by its name; of `CORE` without the rooms within it."""
    folder = room_folder(room)
    others = OTHERS if room == CORE else ()
    files = sorted(folder.rglob("*.py"))
    return [path for path in files if path.relative_to(folder).parts[0] not in others]


@functools.cache
def source_hash(*paths: Path) -> str:
    """16 hex digits over names and texts of files; order, place and line ends do not count."""
    digest = hashlib.sha256()
    for name, text in sorted((path.name, path.read_text(encoding="utf-8")) for path in paths):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]
