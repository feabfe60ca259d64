"""Settings that have been renamed: files and commands with an old name mean the new one.

A key with another name is one row of `KEYS`; what else has changed is one more line in `renamed`,
which is applied to the table of every file, override, record and checkpoint before it is used.
"""

from typing import Any

from learned_opt.artifacts import NOMINAL, current

from ._parse import ConfigError

KEYS: dict[tuple[str, str], tuple[str, dict[bool, str]]] = {
    ("run", "chunk"): ("log_every", {}),
    ("estimator", "sign"): ("scale", {True: "sign", False: "none"}),
}
"""New names of keys, and of switches that have become names, by (section, old name)."""


def new_entry(section: str, key: str, value: Any) -> tuple[str, Any]:
    """A key of a section and its value, in today's names."""
    key, values = KEYS.get((section, key), (key, {}))
    return key, values.get(value, value) if isinstance(value, bool) else value


def renamed(table: dict[str, Any]) -> dict[str, Any]:
    """A configuration's table in today's names; in one that has no old name nothing changes.

    An objective without a name is the only one that there was.

    Raises:
      ConfigError: a key is given by its old and by its new name, or an optimizer is named as it
        was before, with options that none has now.

    Example:
      >>> from learned_opt.meta_train.settings import renamed
      >>> renamed({"run": {"chunk": 5}})
      {'run': {'log_every': 5}}
      >>> renamed({"estimator": {"sign": True}})
      {'estimator': {'scale': 'sign'}}
    """
    for (section, old), (new, _) in KEYS.items():
        given = table.get(section)
        if isinstance(given, dict) and old in given:
            if new in given:
                raise ConfigError(
                    f"{section}.{old} is the old name of {section}.{new}, got both: leave one out"
                )
            table = table | {section: dict(new_entry(section, k, v) for k, v in given.items())}
    objective = table.get("objective")
    if isinstance(objective, dict):
        table = table | {"objective": {"name": "loss", **objective}}
    optimizer = table.get("optimizer")
    if isinstance(optimizer, dict):
        # Where none is named, the options are those of what `nominal` was then.
        options = {"name": NOMINAL, **optimizer}
        name = options.pop("name")
        try:
            name, options = current(name, options)
        except ValueError as error:
            raise ConfigError(f"optimizer: {error}") from error
        table = table | {"optimizer": {"name": name, **options}}
    return table
