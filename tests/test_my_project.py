"""The package of the page: a transformer in NNX, a conv net in Equinox, an MLP in Haiku."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from processes import environment

import learned_opt
from learned_opt.tasks import begin_run, load_task, run_step

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
NAMES = ("manual", "digits", "circuits")
START = {"manual": np.log(128), "digits": np.log(10), "circuits": 0.5}
"""Losses of one who knows nothing; the mean gives 0.5."""

EDITS = {"text.py": ("nnx.gelu", "nnx.relu"), "images.py": ("jax.nn.relu", "jax.nn.tanh"),
         "table.py": ("** 2) / 2", "** 2) / 3")}  # fmt: skip
"""Other models and another loss, of the same shapes."""

pytest.importorskip("torch", reason="an extra of development")


def loaded(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_project"]:
        del sys.modules[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = load_task("my_project.tasks:suite")
        # Now, while its modules are those that were loaded.
        assert all(task.spec.fingerprint for task in found)
        return found


@pytest.fixture(autouse=True)
def as_a_user_has_it():
    """JAX's own promotion of types and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def suite():
    with pytest.MonkeyPatch.context() as patch:
        return loaded(EXAMPLES, patch)


def test_the_three_are_tasks_that_enough_is_known_of(suite):
    assert tuple(task.name for task in suite) == NAMES
    for task in suite:
        assert task.own
        parts = task.family.data.splits
        assert all(len(jax.tree.leaves(parts[p])[0]) >= 200 for p in ("inner_valid", "test"))


@pytest.mark.parametrize("place", range(3), ids=NAMES)
def test_a_few_steps_are_taken(suite, place):
    """On one minibatch the loss starts where nothing is known, and falls."""
    task, key = suite[place], jax.random.key(0)
    tx = optax.with_extra_args_support(optax.sgd(0.05))

    @jax.jit
    def step(state, family):
        return run_step(family, tx, state, key, 0)

    state, losses = begin_run(task.member, tx, key), []
    for _ in range(4):
        state, loss = step(state, task.family)
        losses.append(float(loss))
    assert abs(losses[0] / START[task.name] - 1) < 0.5
    assert sorted(losses, reverse=True) == losses


def test_a_changed_model_never_meets_old_runs(suite, tmp_path, monkeypatch):
    """The data are the same, also of the loader that shuffles."""
    room = tmp_path / "my_project"
    shutil.copytree(EXAMPLES / "my_project", room, ignore=shutil.ignore_patterns("__pycache__"))
    for file, (old, new) in EDITS.items():
        text = (room / file).read_text()
        assert old in text
        (room / file).write_text(text.replace(old, new))
    for before, after in zip(suite, loaded(tmp_path, monkeypatch), strict=True):
        assert after.spec.data_fingerprint == before.spec.data_fingerprint
        assert after.spec.fingerprint != before.spec.fingerprint
        kept = [
            {
                k: v
                for k, v in one.spec.described()["problem"].items()
                if k not in ("source", "holds")
            }
            for one in (before, after)
        ]
        assert kept[0] == kept[1]


def command(folder, *words):
    """What `learned-opt ...` says in that folder, with twice the least budget that it takes."""

    def done(budget):
        return subprocess.run(
            [sys.executable, "-m", "learned_opt", *words, "--budget", budget],
            cwd=folder, env=environment(), capture_output=True, text=True, timeout=1800,
        )  # fmt: skip

    refused = done("1s").stderr
    (least,) = re.findall(r"^error: --budget must be (\d+)s or more", refused, re.MULTILINE)
    found = done(f"{2 * int(least)}s")
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_package_in_an_empty_folder_is_trained_for_and_judged(name, tmp_path):
    """The two commands of the page."""
    shutil.copytree(EXAMPLES / "my_project", tmp_path / "my_project")
    task = ("--task", f"my_project.tasks:{name}", "--num-steps", "20")
    few = ("--set", "run.outer_steps=5", "--set", "run.log_every=5")
    said = command(tmp_path, "meta-train", "--start", "small", *task, *few, "--out", "tuned")
    (second,) = re.findall(r"Whether it paid: learned-opt (.*)", said)
    assert second.split()[1] == f"tuned/small-{name}.safetensors"
    artifact = learned_opt.load(tmp_path / "tuned" / f"small-{name}.safetensors")
    assert artifact.card["config"]["run"]["start"] == "small"
    assert f"own:{name}" in artifact.card["trained_on"]["datasets"]
    command(tmp_path, *second.split())
    report = json.loads((tmp_path / "tuned-report" / "report.json").read_text())
    (row,) = report["tasks"]
    assert (row["name"], row["leakage"], row["horizon"]) == (name, "yours", 20)
    assert re.search(rf"small-{name} ends at .*? times the loss of small\b", report["sentence"])
    assert f"small-{name} was meta-trained on this very task" in report["sentence"]
    ratio = row["against"]["rival:small"]["valid_ratio"]
    assert 0 < ratio["low"] <= ratio["mid"] <= ratio["high"]
    assert (tmp_path / "tuned-report" / "report.html").stat().st_size > 10_000
