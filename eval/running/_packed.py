"""Runs in one small file: what ships with the package, so that baselines are not run again."""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._run import Run, run_from_json
from ._schema import six_digits

FOLDER = Path(__file__).parent.with_name("archive")
LAYOUT = "tables.json"

# Rows of the same fields are a table: one array a field, `<table>.<field>.npy`.
NUMBERS, CODES, HEX = "numbers", "codes", "hex"


class ArchiveError(RuntimeError):
    """Packed runs cannot be used; the message says why and what to do."""


def shipped_file(suite: str, tier: str) -> Path:
    """Where the runs of baselines on a suite ship, whether they do or not."""
    return FOLDER / f"{suite}-{tier}.npz"


def pack(runs: Iterable[Run]) -> bytes:
    """Runs as an `.npz`; `unpack` gives them back exactly, in order of their keys.

    Numbers of six significant digits, which is what runs hold, are float32: it keeps them all.
    Other values are kept once each, as JSON. Equal runs in any order give equal bytes.
    """
    tables: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run.key):
        row = run.to_json()
        lengths = {name: len(x) if isinstance(x, list) else -1 for name, x in row.items()}
        tables.setdefault(tuple(sorted(lengths.items())), []).append(row)
    layout, members = [], {}
    for number, shape in enumerate(sorted(tables)):
        layout.append({})
        for name, _ in shape:
            column, array = _encode([row[name] for row in tables[shape]])
            layout[-1][name] = column
            np.save(buffer := io.BytesIO(), array)
            members[f"{number}.{name}.npy"] = buffer.getvalue()
    head = json.dumps({"tables": layout}, separators=(",", ":"), sort_keys=True)
    return _zip({LAYOUT: head.encode(), **members})


def unpack(path: Path) -> list[Run]:
    """The runs of a file written with `pack`, in order of their keys.

    Raises:
      ArchiveError: not such a file, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            head = json.loads(file.read(LAYOUT))
            runs = []
            for number, columns in enumerate(head["tables"]):
                fields = [
                    _decode(np.load(io.BytesIO(file.read(f"{number}.{name}.npy"))), **column)
                    for name, column in columns.items()
                ]
                found = zip(*fields, strict=True)
                rows = (dict(zip(columns, values, strict=True)) for values in found)
                runs += map(run_from_json, rows)
            return sorted(runs, key=lambda run: run.key)
    except Exception as error:  # zipfile and NumPy raise a dozen kinds
        raise ArchiveError(
            f"{path} holds no packed runs, or is damaged ({error}); delete it, or fetch it again"
        ) from error


def _encode(values: list[Any]) -> tuple[dict[str, Any], np.ndarray]:
    """(how it is kept, array) of one field; losing nothing."""
    if all(isinstance(x, str) and re.fullmatch("[0-9a-f]{16}", x) for x in values):
        return {"kind": HEX}, np.array([list(bytes.fromhex(x)) for x in values], np.uint8)
    flat = [x for value in values for x in (value if isinstance(value, list) else [value])]
    if all(x is None or isinstance(x, float) for x in flat):
        shape = (len(values), -1) if isinstance(values[0], list) else (len(values),)
        with np.errstate(over="ignore"):
            array = np.array([np.nan if x is None else x for x in flat], np.float32).reshape(shape)
        if _decode(array, NUMBERS) == values:
            return {"kind": NUMBERS}, array
    texts = [json.dumps(value, sort_keys=True) for value in values]
    distinct = sorted(set(texts))
    index = {text: i for i, text in enumerate(distinct)}
    codes = np.array([index[text] for text in texts], np.min_scalar_type(len(distinct)))
    return {"kind": CODES, "values": [json.loads(text) for text in distinct]}, codes


def _decode(array: np.ndarray, kind: str, values: Sequence[Any] = ()) -> list[Any]:
    if kind == HEX:
        return [row.tobytes().hex() for row in array]
    if kind == CODES:
        return [values[code] for code in array]
    if array.ndim == 1:
        return [six_digits(x) for x in array.tolist()]
    return [[six_digits(x) for x in row] for row in array.tolist()]


def _zip(members: dict[str, bytes]) -> bytes:
    """A zip file that does not know when or where it was made."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # of 1980
            info.create_system, info.external_attr = 3, 0o644 << 16
            file.writestr(info, content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
