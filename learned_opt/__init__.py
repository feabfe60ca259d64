"""Learned optimizers as optax gradient transformations."""

TYPE_CHECKING = False  # as `typing` has it, without its import

if TYPE_CHECKING:
    from ._public import *  # noqa: F403

    __version__: str
else:
    # All are imported when the first is asked for, and JAX with them: so a command starts at
    # once, and can be stopped while JAX loads.

    def __getattr__(name):
        """A public name, or a module that came with them."""
        if name == "__version__":
            from importlib.metadata import version

            return version("learned-opt")
        if name == "__all__":
            return list(_every())
        own = globals()
        if not name.startswith("__"):
            for other, value in _every().items():
                own.setdefault(other, value)
        if name not in own:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return own[name]

    def __dir__():
        return sorted({*globals(), *_every()})

    def _every():
        import importlib

        # Not `from . import`, which would ask for an attribute first.
        found = vars(importlib.import_module("._public", __name__))
        return {name: x for name, x in found.items() if not name.startswith("_")}
