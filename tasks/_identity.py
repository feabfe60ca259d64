"""What somebody's functions compute, as far as their sources and what they hold can tell."""

import ast
import dataclasses
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt._rooms import source_hash

INSTALLED = ("site-packages", "dist-packages")
CHUNK = 2**24
"""Bytes of an array that are hashed at once."""


def project_source(*things: Any) -> str:
    """`source_hash` of the modules that define functions or classes, and of all these import.

    Counted are modules of the same project: files below the folder from which the module is
    imported, but for installed packages. What is imported is found by reading.
    """
    return source_hash(*project_files(_file(sys.modules.get(thing.__module__)) for thing in things))


def project_files(files: Iterable[Path | None]) -> list[Path]:
    """The files, and those of the same project that they import, directly or not."""
    reached: set[Path] = set()
    for file in files:
        if file is None:
            continue
        base, root = _roots(file)
        left = [file]
        while left:
            path = left.pop()
            if path not in reached:
                reached.add(path)
                left += _imported(path, base, root)
    return sorted(reached)


def _file(module: ModuleType | None) -> Path | None:
    """Its Python file; None of what was typed, such as a cell of a notebook."""
    path = Path(getattr(module, "__file__", None) or "")
    return path.resolve() if path.suffix == ".py" and path.is_file() else None


def _roots(file: Path) -> tuple[Path, Path]:
    """The folder from which the module is imported, and that of its project.

    They differ for an installed module, whose project is its package alone.
    """
    parents = list(file.parents)
    top = next(i for i, p in enumerate(parents) if not (p / "__init__.py").is_file())
    installed = parents[top].name in INSTALLED
    return parents[top], parents[top - 1] if installed and top else parents[top]


def _imported(path: Path, base: Path, root: Path) -> list[Path]:
    """Files below `root` that are run because this one is imported."""
    names: set[str] = set()
    package = list(path.relative_to(base).parent.parts)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            kept = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*kept, *([node.module] if node.module else [])])
            names |= {stem, *(f"{stem}.{name.name}".lstrip(".") for name in node.names)}
    parts = [name.split(".") for name in names if name]
    found = {".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)}
    found |= {".".join(package[:n]) for n in range(1, len(package) + 1)}
    return [file for name in sorted(found) if (file := _project_file(name, base, root))]


def _project_file(name: str, base: Path, root: Path) -> Path | None:
    """The file of a module, if it is of the project; None else."""
    if name.partition(".")[0] == "learned_opt":  # whose keys say its version in their own way
        return None
    place = base.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py", _file(sys.modules.get(name))):
        if path and path.is_file() and path.resolve().is_relative_to(root):
            path = path.resolve()
            if not set(path.relative_to(root).parts) & set(INSTALLED):
                return path
    return None


def array_hash(array: np.ndarray) -> str:
    """Hash of an array with its type and shape, read a part at a time."""
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    if not array.ndim or not array.size:
        digest.update(array.tobytes())
        return digest.hexdigest()
    rows = max(1, CHUNK // max(1, array.nbytes // len(array)))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


class Facts:
    """What functions hold, as JSON types, and the files that define them.

    A function is its name, its defaults, what it closes over, and the plain globals that it reads;
    one that is in no file also its text and all its globals. Objects are their types and fields.
    """

    def __init__(self) -> None:
        self.files: set[Path] = set()
        self._seen: dict[int, Any] = {}

    @property
    def source(self) -> str:
        """Hash of the files and of what of their projects they import."""
        return source_hash(*project_files(self.files))

    def of(self, value: Any) -> Any:
        """Facts about anything."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, bytes):
            return hashlib.sha256(value).hexdigest()
        if id(value) in self._seen:
            return "seen"
        self._seen[id(value)] = value  # kept, so that no other gets its number
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return array_hash(np.asarray(value))
        if isinstance(value, dict):
            return sorted(([str(k), self.of(v)] for k, v in value.items()), key=lambda kv: kv[0])
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        if isinstance(value, set | frozenset):
            return sorted(map(str, value))
        if isinstance(value, functools.partial):
            return ["partial", self.of(value.func), self.of(value.args), self.of(value.keywords)]
        if isinstance(value, MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, type):
            return self._class(value)
        return self._object(value)

    def _function(self, value: FunctionType) -> Any:
        file = self._add(value)
        inner = getattr(value, "__wrapped__", None)
        cells = [_content(cell) for cell in value.__closure__ or ()]
        facts = [
            f"{value.__module__}.{value.__qualname__}",
            self.of(value.__defaults__), self.of(value.__kwdefaults__),
            self.of(cells), self.of(inner),
        ]  # fmt: skip
        names = sorted(_names(value.__code__) & value.__globals__.keys())
        used = {name: value.__globals__[name] for name in names}
        if file is None and not _installed(value):
            return [*facts, _text(value), self.of(used)]
        if file is not None:
            plain = bool | int | float | str | np.ndarray | np.generic | jax.Array
            facts.append(self.of({k: v for k, v in used.items() if isinstance(v, plain)}))
        return facts

    def _class(self, value: type) -> Any:
        name = f"{value.__module__}.{value.__qualname__}"
        if self._add(value) is None and not _installed(value):
            members = {k: v for k, v in vars(value).items() if isinstance(v, FunctionType)}
            return [name, self.of(members), [self.of(base) for base in value.__bases__]]
        return name

    def _object(self, value: Any) -> Any:
        fields = dict(getattr(value, "__dict__", {}))
        if dataclasses.is_dataclass(value):
            fields |= {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        inner = getattr(value, "__wrapped__", None)  # what `jax.jit` wraps
        return [self.of(type(value)), self.of(fields), self.of(inner)]

    def _add(self, thing: Any) -> Path | None:
        """The file in which it is defined, kept, if it is of a project."""
        file = None if _installed(thing) else _file(sys.modules.get(thing.__module__ or ""))
        if file is not None:
            self.files.add(file)
        return file


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None


def _names(code: CodeType) -> set[str]:
    """Names of globals that a function reads, and the functions within it."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*(_names(const) for const in inner))


def _text(function: FunctionType) -> str:
    """The source of a function that is in no file; without one, its code."""
    try:
        text = ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):
        text = repr(_code(function.__code__))
    return hashlib.sha256(text.encode()).hexdigest()


def _code(code: CodeType) -> Any:
    consts = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, consts, code.co_names


def _installed(thing: Any) -> bool:
    """Whether it is of Python, of an installed package or of this one."""
    name = (getattr(thing, "__module__", None) or "builtins").partition(".")[0]
    if name == "learned_opt" or name in sys.stdlib_module_names - {"__main__"}:
        return True
    file = _file(sys.modules.get(thing.__module__ or ""))
    compiled = file is None and getattr(sys.modules.get(thing.__module__), "__file__", None)
    return bool(compiled) or (file is not None and bool(set(file.parts) & set(INSTALLED)))
