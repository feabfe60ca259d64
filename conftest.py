"""Strict settings for every test: no silent dtype or rank promotion, warnings are errors."""

import os

# Two devices, so that everything that is sharded is tested sharded; and little effort on code
# that runs for milliseconds: two thirds of a test's time is LLVM's.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    """What the examples in docstrings may use without importing it."""
    doctest_namespace["jax"] = jax
