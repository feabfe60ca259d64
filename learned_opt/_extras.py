"""What is said where a package of an extra is not installed."""

import contextlib
from collections.abc import Iterator


class MissingExtraError(ModuleNotFoundError):
    """A package that belongs to an extra of this one is not installed."""


@contextlib.contextmanager
def needs_extra(what: str, extra: str = "train") -> Iterator[None]:
    """Within, a package that is not installed is an error that says how to install it.

    Args:
      what: needs the package, such as "learned_opt.tasks".
      extra: of `pyproject.toml`, to which the package belongs.

    Raises:
      MissingExtraError: in place of a ModuleNotFoundError, unless that is of a module of ours.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "learned_opt").partition(".")[0]
        if isinstance(error, MissingExtraError) or package == "learned_opt":
            raise
        raise MissingExtraError(
            f"{what} needs the package {package}, which is not installed: "
            f"pip install 'learned-opt[{extra}]'",
            name=error.name,
        ) from error
