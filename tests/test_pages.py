"""The code of the pages runs as it stands, and so does what drew their pictures."""

import contextlib
import dataclasses
import importlib.util
import io
import re
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

import learned_opt

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
PAGES = (
    "README", "docs/index", "docs/concepts", "docs/layouts", "docs/optimizers", "docs/own-task",
    pytest.param("docs/optax", marks=pytest.mark.slow),
)  # fmt: skip


def module_of(name):
    spec = importlib.util.spec_from_file_location(name, PICTURES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_loss_ratios_is_that_of_the_reports(tmp_path):
    module_of("loss_ratios").draw(tmp_path / "drawn.svg")
    assert (tmp_path / "drawn.svg").read_bytes() == (PICTURES / "loss_ratios.svg").read_bytes()


def test_the_numbers_that_small_learned_are_those_of_its_theta():
    """Each is what it was before meta-training, times e^(3 theta); but for one, e^theta."""
    artifact = learned_opt.load("small")
    theta, damping = artifact.theta, artifact.theta["damping"]
    learned = {
        "peak of a": theta["log_lr"],
        "power with which a falls": theta["log_power"] / 3,
        "w": theta["log_decay"],
        "power with which w follows a": theta["log_fade"],
        "k": damping["log_start"],
        "z": damping["log_power"],
        "y": theta["log_bound"],
        "u": damping["log_kept"],
        "h": theta["log_selectivity"],
    }
    page = (ROOT / "docs" / "small.md").read_text().partition("## What was learned")[2]
    rows = re.findall(r"^\| ([\w ]+?)(?::.*?)? \| ([\d.]+).*? \| ([\d.]+).*? \|$", page, re.M)
    assert [name for name, *_ in rows] == list(learned)
    for name, before, after in rows:
        value = float(before) * np.exp(3 * float(learned[name]))
        assert f"{value:.{len(after.partition('.')[2])}f}" == after


@pytest.fixture
def as_a_user_has_it():
    """JAX's own promotion of types and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user_has_it")
def test_the_picture_of_step_sizes_is_drawn(tmp_path, capsys):
    """Of a short run: the schedule's peak is known, and the steps are of its size."""
    module = module_of("step_sizes")
    title, task = next(iter(module.tasks().items()))
    module.draw({title: dataclasses.replace(task, horizon=40)}, tmp_path / "picture.svg")
    assert title in (tmp_path / "picture.svg").read_text()
    said = dict(re.findall(r": (\w+) at most ([\d.]+)", capsys.readouterr().out))
    most = {name: float(size) for name, size in said.items()}
    assert set(most) == set(module.COLOURS)
    assert abs(most["schedule"] - 0.042) < 0.003
    assert all(0.5 < size / most["schedule"] < 4 for size in most.values())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("as_a_user_has_it")
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    """In one namespace; what a page prints behind `# ` below a call of print is what comes out."""
    monkeypatch.chdir(tmp_path)
    names = {}
    text = (ROOT / f"{page}.md").read_text()
    # Also within tabs, which are indented.
    found = re.findall(r"^ *```python[^\n]*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    blocks = [textwrap.dedent(code) for code in found]
    assert blocks
    for code in blocks:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            # The two devices of all tests are there already.
            exec(code.replace('jax.config.update("jax_num_cpu_devices", 2)', ""), names)
        expected = [line[2:] for line in code.splitlines() if line.startswith("# ")]
        if "print(learned_opt" in code:
            assert said.getvalue().splitlines() == expected
