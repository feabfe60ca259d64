"""The configurations that ship with the package, by name."""

import difflib
from pathlib import Path

from ._parse import ConfigError

FOLDER = Path(__file__).with_name("configs")


def config_path(given: str | Path) -> Path:
    """The file that is meant: a path, or where that is no file the name of a shipped one.

    Raises:
      ConfigError: neither; the message names what ships.

    Example:
      >>> from learned_opt.meta_train._shipped import config_path
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
