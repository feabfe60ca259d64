"""A real process, killed with SIGKILL: the same command with --resume ends with the same theta."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import learned_opt
from checkpoints import CheckpointError, Store

ROOT = Path(__file__).parent.parent
SMALL = [
    "--set", "run.outer_steps=12", "--set", "run.chunk=2", "--set", "family.options.max_width=8",
    "--set", "family.options.widths=[4, 8]", "--set", "family.options.max_depth=1",
    "--set", "family.options.depths=[1, 1]", "--set", "family.batch_size=8",
    "--set", "estimator.pairs=2", "--set", "estimator.horizon=[20, 60]", "--set", "valid.tasks=2",
    "--set", "valid.horizon=20",
]  # fmt: skip


def command(out, *extra):
    config = str(ROOT / "meta_train" / "configs" / "quickstart.toml")
    return [sys.executable, "-m", "meta_train", config, *SMALL, "--out", str(out), *extra]


def start(out, *extra):
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.Popen(
        command(out, *extra),
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def rows(out):
    path = out / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    finish(start(out))
    return out


def same_run(a, b):
    one, two = (learned_opt.load(out / "quickstart.safetensors") for out in (a, b))
    jax.tree.map(np.testing.assert_array_equal, one.theta, two.theta)
    assert one.card["budget"]["inner_steps"] == two.card["budget"]["inner_steps"]
    timeless = ("inner_steps_per_second", "seconds")
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if k not in timeless}
            for line in (out / "metrics.jsonl").read_text().splitlines()
        ]
        for out in (a, b)
    ]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("kill_after_rows", [0, 1, 3])
def test_sigkill_and_resume_is_bit_identical(uninterrupted, tmp_path, kill_after_rows):
    """Killed while compiling, right after the first save, and in the middle."""
    out = tmp_path / "run"
    process = start(out)
    while rows(out) < kill_after_rows or not (out / "config.toml").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert rows(out) < 6
    assert not (out / "quickstart.safetensors").exists()
    output = finish(start(out, "--resume"))
    # The save after the last row may have been in flight; those before it are whole.
    if kill_after_rows > 1:
        assert "Resuming after" in output
    same_run(uninterrupted, out)


def test_a_finished_run_resumes_to_itself_and_is_not_started_over(uninterrupted):
    before = (uninterrupted / "metrics.jsonl").read_text()
    refused = subprocess.run(command(uninterrupted), cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "already holds this run; continue it with --resume" in refused.stderr
    finish(start(uninterrupted, "--resume"))
    assert (uninterrupted / "metrics.jsonl").read_text() == before


def test_another_configuration_is_refused(uninterrupted):
    refused = subprocess.run(
        [*command(uninterrupted, "--resume"), "--set", "run.seed=5"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "run.seed was 0, is now 5" in refused.stderr
    assert "Traceback" not in refused.stderr


def state(value):
    return {"x": jax.numpy.full(3, value), "key": jax.random.key(7)}


def test_store_keeps_keys_and_bits_and_falls_back_on_damage(tmp_path):
    store = Store(tmp_path)
    for step in (1, 2, 3):
        store.save(step, state(step / 7), {"note": step})
    store.close()
    found, loaded, facts = Store(tmp_path).restore(state(0.0))
    assert (found, facts) == (3, {"note": 3})
    np.testing.assert_array_equal(loaded["x"], state(3 / 7)["x"])
    assert jax.random.key_data(loaded["key"]).tolist() == [0, 7]
    # Half-deleted, as a kill during deletion leaves it.
    for file in sorted((tmp_path / "3").rglob("*")):
        if file.is_file() and "state" in str(file):
            file.unlink()
    store = Store(tmp_path)
    found, loaded, _ = store.restore(state(0.0))
    assert found == 2
    # Going on from step 2 comes to step 3 again.
    store.save(3, state(9.0), {"note": "again"})
    store.close()
    found, loaded, facts = store.restore(state(0.0))
    assert (found, facts["note"], float(loaded["x"][0])) == (3, "again", 9.0)
    for file in sorted((tmp_path / "3").rglob("*")):
        if file.is_file() and "state" in str(file):
            file.unlink()
    for file in sorted((tmp_path / "2").rglob("*")):
        if file.is_file() and "state" in str(file):
            file.unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* reads back"):
        Store(tmp_path).restore(state(0.0))


def test_an_empty_store_restores_nothing(tmp_path):
    assert Store(tmp_path).restore(state(0.0)) is None
