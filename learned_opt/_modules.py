"""Names of what is in somebody's own modules: "package.module:name", or "file.py:name"."""

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

from ._checks import one_line, shown


def is_reference(text: str) -> bool:
    """Whether it names something in a module; names of data sets with a colon do not.

    Example:
      >>> from learned_opt._modules import is_reference
      >>> is_reference("mine.tasks:letters"), is_reference("tfds:mnist/14")
      (True, False)
    """
    module, colon, name = text.partition(":")
    return bool(module and colon and name) and module != "tfds"


def import_name(where: str, what: str, example: str, form: str = "MODULE:NAME") -> Any:
    """The thing `name` of "module:name", the module found from the working directory too.

    Args:
      where: "module:name", or "file.py:name" with a file below the working directory.
      what: that asks for it, such as "--task": messages begin with it.
      example: of what would be right, such as "my_project.tasks:letters".
      form: what is right in general.

    Raises:
      ValueError: no such module or name, or the module raises as it is imported: one sentence.
    """
    module, _, name = where.partition(":") if isinstance(where, str) else ("", "", "")
    if not (module and name):
        raise ValueError(f"{what} must be {form}, for example {example}, got {shown(where)}")
    sys.path.insert(0, "")
    importlib.invalidate_caches()
    try:
        found = _module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except BaseException as error:  # a script that ends with sys.exit too
        plain = isinstance(error, ImportError | AttributeError)
        reason = one_line(error) if plain else blame(error)
        raise ValueError(f"{what} {where} cannot be imported: {reason}") from error
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed it
            sys.path.remove("")


def blame(error: BaseException) -> str:
    """The type and the first line of what somebody's function raised."""
    lines = str(error).strip().splitlines() or [""]
    return one_line(f"{type(error).__name__}: {lines[0].rstrip('.')}".rstrip(": "))


def module_name(module: str) -> str:
    """Of a module as it is given: by its name, or by a file below the working directory.

    >>> module_name("mine.tasks"), module_name("mine/tasks.py")
    ('mine.tasks', 'mine.tasks')
    """
    if not module.endswith(".py"):
        return module
    path = Path(module)
    if path.is_absolute():
        with contextlib.suppress(ValueError):
            path = path.relative_to(Path.cwd())
    return ".".join(path.with_suffix("").parts)


def _module(module: str) -> Any:
    """The module of that name, or of that file."""
    if not module.endswith(".py"):
        return importlib.import_module(module)
    path = Path(module)
    if path.is_absolute():
        with contextlib.suppress(ValueError):
            path = path.relative_to(Path.cwd())
    parts = path.with_suffix("").parts
    if not path.is_file():
        raise ImportError(f"there is no file {module}")
    if path.is_absolute() or not all(part.isidentifier() for part in parts):
        raise ImportError(
            f"the file {module} must lie below the working directory and be named by letters, "
            "digits and _"
        )
    found = importlib.import_module(module_name(module))
    if Path(found.__file__ or "").resolve() != path.resolve():
        raise ImportError(f"{module} has the name of another module; give it one of its own")
    return found
