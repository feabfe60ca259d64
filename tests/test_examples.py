"""The scripts of docs/examples, as they stand: both optimizers learn; and code of the pages."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import learned_opt

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
BOUNDS = {
    "flax_nnx_classifier": np.log(10) / 4,
    "haiku_language_model": 3.0,
    "equinox_regression": 0.25,
}
"""Held-out losses. A quarter of chance; byte frequencies alone give 3.24; the mean gives 0.5."""


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_and_has_a_page_with_its_plot():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*BOUNDS, "letters", "plots"}
    pages = "".join(path.read_text() for path in EXAMPLES.glob("*.md"))
    for name in BOUNDS:
        assert f'--8<-- "docs/examples/{name}.py"' in pages
        assert f"({name}.svg)" in pages
        assert (EXAMPLES / f"{name}.svg").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_both_optimizers_learn(name, capsys, tmp_path):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = load(name).main()
    assert set(found) == {"learned", "AdamW, 3e-3, cosine"}
    for held_out, losses in found.values():
        assert held_out < BOUNDS[name]
        assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])
    assert capsys.readouterr().out.count("held-out loss") == 2
    load("plots").draw(found, tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_a_nan_in_one_member_of_an_ensemble_stops_that_member_alone():
    """The code of docs/optax.md, and what the page says of it without `vmap`."""
    page = (EXAMPLES.parent / "optax.md").read_text()
    code = re.search(r"## Ensembles.*?```python\n(.*?)```", page, re.DOTALL).group(1)
    names = {"jax": jax, "jnp": jnp, "learned_opt": learned_opt}
    exec(code, names)
    tx, members = names["tx"], names["members"]
    assert all((u < 0).all() for u in jax.tree.leaves(names["updates"]))
    bad = {k: g.at[1, 0].set(np.nan) for k, g in names["grads"].items()}
    one = jax.jit(jax.vmap(tx.update))(bad, jax.vmap(tx.init)(members), members)[0]
    for u in jax.tree.leaves(one):
        assert (u[1] == 0).all()
        assert (u[np.array([0, 2])] != 0).all()
    every = jax.jit(tx.update)(bad, tx.init(members), members)[0]
    assert all((u == 0).all() for u in jax.tree.leaves(every))
