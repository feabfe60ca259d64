"""The scripts of docs/examples, as they stand: both optimizers learn."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
BOUNDS = {
    "flax_nnx_classifier": np.log(10) / 4,
    "haiku_language_model": 3.0,
    "equinox_regression": 0.45,
}
"""Held-out losses. A quarter of chance; byte frequencies alone give 3.24; the mean gives 0.5."""


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(BOUNDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_both_optimizers_learn(name, capsys):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = module.main()
    assert set(found) == {"learned", "AdamW, 3e-3, cosine"}
    assert max(found.values()) < BOUNDS[name], found
    assert capsys.readouterr().out.count("held-out loss") == 2
