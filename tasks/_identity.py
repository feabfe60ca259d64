"""What somebody's functions compute, as far as their sources and what they hold can tell."""

import ast
import dataclasses
import dis
import functools
import hashlib
import inspect
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt._rooms import source_hash

INSTALLED = ("site-packages", "dist-packages")
READS = ("LOAD_GLOBAL", "LOAD_NAME")
"""Instructions that read a global."""

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


class Known:
    """An object that says itself what it is known by, in place of its fields: `known_by`."""

    known_by: Any


class Facts:
    """What functions hold, as JSON types, and the files that define them.

    A function is its name, its code, its defaults, what it closes over, and the globals that it
    reads, also those of other modules of its project. Objects are their types and fields. Of an
    installed package a function is its name, and what it closes over.

    Attributes:
      files: of projects.
      packages: names of modules at the top of what is installed, Python's own among them.
    """

    def __init__(self) -> None:
        self.files: set[Path] = set()
        self.packages: set[str] = set()
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
        if isinstance(value, Known):
            return [self.of(type(value)), self.of(value.known_by)]
        if isinstance(value, dict):
            # In the order of names: of what comes twice the first is said in full.
            named = {str(k): v for k, v in value.items()}
            return [[name, self.of(named[name])] for name in sorted(named)]
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        if isinstance(value, set | frozenset):
            return sorted(map(str, value))
        if isinstance(value, functools.partial):
            return ["partial", self.of(value.func), self.of(value.args), self.of(value.keywords)]
        if isinstance(value, MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, logging.Logger):  # it computes nothing, and knows all others
            return value.name
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, ModuleType):
            self._add(value)
            return value.__name__
        if isinstance(value, type):
            return self._class(value)
        return self._object(value)

    def _function(self, value: FunctionType) -> Any:
        self._add(value)
        inner = getattr(value, "__wrapped__", None)
        cells = [_content(cell) for cell in value.__closure__ or ()]
        facts = [
            f"{value.__module__}.{value.__qualname__}",
            self.of(value.__defaults__), self.of(value.__kwdefaults__),
            self.of(cells), self.of(inner),
        ]  # fmt: skip
        if _installed(value):
            return facts
        within = [i for code in _codes(value.__code__) for i in dis.get_instructions(code)]
        imported = {i.argval for i in within if i.opname == "IMPORT_NAME"}
        self.packages |= {name.partition(".")[0] for name in imported}
        code = hashlib.sha256(repr(_said(value.__code__)).encode()).hexdigest()
        return [*facts, code, self.of(_globals(value))]

    def _class(self, value: type) -> Any:
        name = f"{value.__module__}.{value.__qualname__}"
        self._add(value)
        if _installed(value):
            return name
        members = {k: v for k, v in vars(value).items() if isinstance(v, FunctionType)}
        return [name, self.of(members), [self.of(base) for base in value.__bases__]]

    def _object(self, value: Any) -> Any:
        kind = type(value)
        cached = {k for c in kind.__mro__ for k, v in vars(c).items() if _is_cached(v)}
        fields = {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in cached}
        if dataclasses.is_dataclass(value):
            fields |= {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        inner = getattr(value, "__wrapped__", None)  # what `jax.jit` wraps
        if not fields and inner is None:
            return [self.of(kind), self.of(_reduced(value))]
        return [self.of(kind), self.of(fields), self.of(inner)]

    def _add(self, thing: Any) -> None:
        """Keep the file in which it is defined, if it is of a project; else its package."""
        if _installed(thing):
            self.packages.add(_named(thing).partition(".")[0])
        elif file := _file(_module(thing)):
            self.files.add(file)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None


def _is_cached(member: Any) -> bool:
    return isinstance(member, functools.cached_property)


def _reduced(value: Any) -> Any:
    """What an object without fields, such as a range, is pickled as; None where it cannot be."""
    try:
        return value.__reduce_ex__(2)
    except Exception:
        return None


def _globals(function: FunctionType) -> dict[str, Any]:
    """What a function, and those within it, read of their module, and of others by its name.

    Such as `helpers.SCALE`, where `helpers` is a module of a project.
    """
    codes = list(_codes(function.__code__))
    read = {i.argval for code in codes for i in dis.get_instructions(code) if i.opname in READS}
    names = {name for code in codes for name in code.co_names}
    space = function.__globals__
    used = {name: space[name] for name in read & space.keys()}
    left, met = list(used.values()), set()
    while left:
        module = left.pop()
        if isinstance(module, ModuleType) and module.__name__ not in met:
            met.add(module.__name__)
            inner = {} if _installed(module) else vars(module)
            found = {name: inner[name] for name in names & inner.keys()}
            used |= {f"{module.__name__}.{name}": value for name, value in found.items()}
            left += found.values()
    return used


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of the functions within it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)


def _said(value: Any) -> Any:
    """What a code does, or a constant of one; the same in every process of a version of Python.

    Lines and docstrings do not count.
    """
    if isinstance(value, CodeType):
        takes = value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount
        stars = value.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        does = [(i.opname, _said(i.argval)) for i in dis.get_instructions(value)]
        return takes, stars, value.co_varnames, does, value.co_exceptiontable
    if isinstance(value, tuple):
        return [_said(item) for item in value]
    if isinstance(value, frozenset):  # whose order is another in every process
        return sorted(repr(_said(item)) for item in value)
    return repr(value)


def _installed(thing: Any) -> bool:
    """Whether it is of Python, of an installed package or of this one."""
    module = _module(thing)
    top = _named(thing).partition(".")[0]
    if top == "learned_opt" or top in sys.stdlib_module_names - {"__main__"}:
        return True
    file = _file(module)
    compiled = file is None and getattr(module, "__file__", None)
    return bool(compiled) or (file is not None and bool(set(file.parts) & set(INSTALLED)))


def _named(thing: Any) -> str:
    """The name of its module."""
    module = _module(thing)
    return (module.__name__ if module else getattr(thing, "__module__", None)) or "builtins"


def _module(thing: Any) -> ModuleType | None:
    """That in which a function or a class is defined; of a module itself."""
    if isinstance(thing, ModuleType):
        return thing
    return sys.modules.get(getattr(thing, "__module__", None) or "")
