"""Files that are there whole or not at all."""

import os
import threading
from pathlib import Path


def write_atomic(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees all of the new content or none of it."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        # What fails as bytes are written does not say where.
        raise OSError(error.errno, error.strerror, str(path)) from error


def cache_folder() -> Path:
    """LEARNED_OPT_CACHE, or learned_opt in the user's cache folder."""
    if "LEARNED_OPT_CACHE" in os.environ:
        return Path(os.environ["LEARNED_OPT_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "learned_opt"


def cannot_write(error: OSError, where: str | os.PathLike = "a file") -> str:
    """ "cannot write FILE (reason)"; `where` stands for the file if the error does not name it."""
    return f"cannot write {error.filename or where} ({error.strerror or error})"
