"""What is measured once and kept in the folder of an evaluation, so that it goes on the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learned_opt.checkpoints import write_atomic


def kept(path: Path, key: Any, make: Callable[[], Any]) -> Any:
    """What `make` gave when the file was written: JSON types.

    Args:
      key: JSON types: what it depends on. That of another key, or what does not read back, is made
        anew.
    """
    key = json.loads(json.dumps(key))
    try:
        found = json.loads(path.read_bytes())
        if found["key"] == key:
            return found["made"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    made = json.loads(json.dumps(make()))  # as it will be read
    write_atomic(path, json.dumps({"key": key, "made": made}, indent=1) + "\n")
    return made
