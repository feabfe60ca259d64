"""The scripts of docs/examples, as they stand, and the code of the pages."""

import contextlib
import dataclasses
import importlib.util
import io
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
    "equinox_regression": 0.45,
}
"""Held-out losses. A quarter of chance; byte frequencies alone give 3.24; the mean gives 0.5."""


PAGES = (
    "README.md",
    "docs/index.md",
    "docs/concepts.md",
    "docs/optax.md",
    "docs/layouts.md",
    "docs/optimizers.md",
)


def module_of(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*BOUNDS, "step_sizes"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_both_optimizers_learn(name, capsys):
    module = module_of(name)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = module.main()
    assert set(found) == {"learned", "AdamW, 3e-3, cosine"}
    assert max(found.values()) < BOUNDS[name], found
    assert capsys.readouterr().out.count("held-out loss") == 2


@pytest.mark.slow
def test_the_picture_of_step_sizes_is_drawn(tmp_path, monkeypatch):
    """Of short runs: the schedule ends near zero, and so do the steps."""
    module = module_of("step_sizes")
    short = {k: dataclasses.replace(task, horizon=40) for k, task in module.tasks().items()}
    monkeypatch.setattr(module, "tasks", lambda: short)
    module.draw(tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text()
    assert all(title in picture for title in module.TASKS)
    steps, found = module.step_sizes(short["An MLP learns digits"])
    assert steps[-1] == 40
    assert set(found) == set(module.COLOURS)
    for sizes in found.values():
        assert 0 < sizes[-1] < sizes.max() / 5
    assert 0.5 < found["vectors"].max() / found["schedule"].max() < 4


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    """In one namespace; what a page prints behind `# ` below a call of print is what comes out."""
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(
        r"```python\n(.*?)```", (EXAMPLES.parents[1] / f"{page}.md").read_text(), re.DOTALL
    )
    assert blocks
    for code in blocks:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            # The two devices of all tests are there already.
            exec(code.replace('jax.config.update("jax_num_cpu_devices", 2)', ""), names)
        expected = [line[2:] for line in code.splitlines() if line.startswith("# ")]
        if "print(learned_opt" in code:
            assert said.getvalue().splitlines() == expected


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
