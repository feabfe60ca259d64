"""One program: the same run on 1, 2 and 8 devices and on two processes, and from one to another."""

import shutil
import signal

import jax
import numpy as np
import pytest
from processes import finish, launch, pair, rows, theta, wait_for


@pytest.fixture(scope="module")
def alone(tmp_path_factory, config):
    out = tmp_path_factory.mktemp("alone") / "run"
    finish(launch(config, "--out", out, devices=1))
    return out


@pytest.fixture(scope="module")
def stopped_on_eight(tmp_path_factory, config):
    """A run on 8 simulated devices, killed in the middle."""
    out = tmp_path_factory.mktemp("eight") / "run"
    process = launch(config, "--out", out, devices=8)
    wait_for(process, lambda: len(rows(out)) >= 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(rows(out)) < 7
    return out


def equal_to_rounding(a, b):
    """Sums over devices are taken in another order; twelve steps of Adam amplify that."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), theta(a), theta(b))
    losses = [[row["valid_loss"] for row in rows(out)] for out in (a, b)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    steps = [[(row["step"], row.get("inner_steps")) for row in rows(out)] for out in (a, b)]
    assert steps[0] == steps[1]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 8])
def test_any_number_of_devices(alone, config, tmp_path, devices):
    finish(launch(config, "--out", tmp_path / "run", devices=devices))
    equal_to_rounding(alone, tmp_path / "run")


@pytest.mark.slow
def test_two_processes(alone, config, tmp_path):
    """Of two devices each; only the first one speaks and writes."""
    first, second = (finish(p) for p in pair(config, "--out", tmp_path / "run", devices=2))
    equal_to_rounding(alone, tmp_path / "run")
    assert "Exported" in first
    assert "Exported" not in second
    assert "outer step" not in second


@pytest.mark.slow
def test_from_eight_devices_to_one(alone, stopped_on_eight, config, tmp_path):
    shutil.copytree(stopped_on_eight, tmp_path / "run")
    output = finish(launch(config, "--out", tmp_path / "run", "--resume", devices=1))
    assert "Resuming after" in output
    equal_to_rounding(alone, tmp_path / "run")


@pytest.mark.slow
def test_from_eight_devices_to_two_processes(alone, stopped_on_eight, config, tmp_path):
    shutil.copytree(stopped_on_eight, tmp_path / "run")
    output, _ = (finish(p) for p in pair(config, "--out", tmp_path / "run", "--resume"))
    assert "Resuming after" in output
    equal_to_rounding(alone, tmp_path / "run")


@pytest.mark.slow
def test_processes_stop_together_and_mistakes_reach_all(config, tmp_path):
    """SIGTERM to the second alone: both save and stop. A folder in use: both say so."""
    out = tmp_path / "run"
    both = pair(config, "--set", "run.outer_steps=200000", "--out", out)
    wait_for(both[0], lambda: len(rows(out)) >= 3)
    both[1].send_signal(signal.SIGTERM)
    for process in both:
        assert "continue with --resume" in finish(process, 143)
    for process in pair(config, "--set", "run.outer_steps=200000", "--out", out):
        assert "already holds this run; continue it with --resume" in finish(process, 2)


def test_lanes_that_do_not_fit_all_processes_are_refused(config, tmp_path):
    for process in pair(config, "--set", "estimator.pairs=3", "--out", tmp_path / "run"):
        output = finish(process, 2)
        assert "estimator.pairs and valid.tasks: 2 processes with 2 devices need" in output
    assert not (tmp_path / "run").exists()
