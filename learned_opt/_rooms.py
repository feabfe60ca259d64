"""Rooms of this package, found without importing them: where they are, and their sources.

In a checkout the others lie beside this folder, in an installed package within it.
"""

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

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


def source_hash(*paths: Path) -> str:
    """16 hex digits over the names of Python files and what they compute.

    Their order and place do not count, nor do comments, docstrings, formatting, Python's version.
    """
    digest = hashlib.sha256()
    for name, said in sorted((path.name, _computed(path.read_bytes())) for path in paths):
        digest.update(f"{name}\0{said}\0".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _computed(text: bytes) -> str:
    """A hash of the abstract syntax of a file without its strings that stand alone.

    Of one that is no Python, so that nothing can have imported it, a hash of the text.
    """
    said: list[str] = []
    try:
        left: list[Any] = [ast.parse(text)]
    except (SyntaxError, ValueError):  # the latter of null bytes
        return hashlib.sha256(text).hexdigest()
    while left:
        node = left.pop()
        if isinstance(node, ast.AST):
            said.append(type(node).__name__)
            for name in node._fields:
                value = getattr(node, name, None)
                # Versions of Python differ in which fields there are, where nothing is in them.
                if value is None or value == [] or name in _UNSAID:
                    continue
                left.append(name)
                if isinstance(value, list):
                    kept = [x for x in value if not _says_nothing(x, node)]
                    left += [len(kept), *kept]
                else:
                    left.append(value)
        else:
            said.append(ascii(node))
    return hashlib.sha256("\0".join(said).encode()).hexdigest()


_UNSAID = ("ctx", "kind", "type_comment")
"""Fields that say nothing new: how a name is used follows from where it stands."""


def _says_nothing(node: Any, parent: ast.AST) -> bool:
    """Whether it is a string as a statement, or an empty part of a formatted string."""
    if isinstance(parent, ast.JoinedStr):
        return isinstance(node, ast.Constant) and node.value == ""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
