"""Strict settings for every test: no silent dtype or rank promotion, warnings are errors."""

import importlib
import os
import sys
from pathlib import Path

# Two devices, so that everything that is sharded is tested sharded; and little effort on code
# that runs for milliseconds: two thirds of a test's time is LLVM's.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# No test finds what another left.
os.environ["LEARNED_OPT_PROGRAMS"] = "0"

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).parent
ROOMS = ("tasks", "checkpoints", "meta_train", "eval")


def pytest_collect_file(file_path):
    """Doctests of a room run in the module that is installed.

    pytest would import `tasks/_base.py` as `tasks._base`: once more, with classes of its own.
    """
    name, *rest = file_path.relative_to(ROOT).with_suffix("").parts
    if name in ROOMS and file_path.suffix == ".py" and file_path.stem != "__main__":
        parts = [name, *(part for part in rest if part != "__init__")]
        module = importlib.import_module(".".join(["learned_opt", *parts]))
        sys.modules[".".join(parts)] = module


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    """What the examples in docstrings may use without importing it."""
    doctest_namespace["jax"] = jax
