"""Configurations as files: where they are, what they say, and what `--set` changes."""

import difflib
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from learned_opt._fields import shown

from ._parse import ConfigError, section
from ._renamed import new_entry, renamed

FOLDER = Path(__file__).parent.parent / "configs"


def config_path(given: str | Path) -> Path:
    """The file that is meant: a path, or where that is no file the name of a shipped one.

    Raises:
      ConfigError: neither; the message names what ships.

    Example:
      >>> from learned_opt.meta_train.settings import config_path
      >>> config_path("quickstart").name
      'quickstart.toml'
    """
    path = Path(given)
    if path.name != str(given) or path.suffix == ".toml" or _is_file(path):
        return path
    names = sorted(file.stem for file in FOLDER.glob("*.toml"))
    if path.name in names:
        return FOLDER / f"{path.name}.toml"
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(
        f"there is no configuration {given!r}, neither a file nor one that ships; {hint}"
        f"shipped: {', '.join(names)}"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long a name
        return False


def load_table(path: str | os.PathLike, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A TOML file as a dict, with overrides applied in turn, see `changed`."""
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not valid TOML: it must be UTF-8, byte {error.start} is not"
        ) from error
    return changed(_toml(text, str(path)), overrides)


def changed(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A configuration with overrides applied in turn.

    They are "section.key=value", or "section={key=value, ...}" in place of the whole section.
    """
    table = renamed(table)
    for override in overrides:
        key, equals, text = override.partition("=")
        *sections, name = key.strip().split(".")
        value = _value(text.strip(), key)
        if not equals or not (sections or isinstance(value, dict)):
            raise ConfigError(
                "--set expects section.key=value or section={key=value, ...}, "
                f"got {shown(override)}"
            )
        target = table
        for i, part in enumerate(sections):
            target = section(target.setdefault(part, {}), ".".join(sections[: i + 1]))
        name, value = new_entry(".".join(sections), name, value)
        target[name] = value
    return renamed(table)


def _toml(text: str, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{what} is not valid TOML: it is nested too deeply") from error
    except ValueError as error:  # bad TOML, or an integer of thousands of digits
        raise ConfigError(f"{what} is not valid TOML: {error}") from error


def _value(text: str, key: str) -> Any:
    """What an override sets: TOML, or else the text itself."""
    try:
        table = _toml(f"x = {text}", key)
    except ConfigError as error:
        if isinstance(error.__cause__, tomllib.TOMLDecodeError):
            return text
        raise
    return table["x"] if len(table) == 1 else text
