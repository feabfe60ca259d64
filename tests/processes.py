"""Real meta-training processes for tests: small, quick to compile, with every kind of state."""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from quick import QUICK

import learned_opt

ROOT = Path(__file__).parent.parent
TABLE = {
    "run": {"name": "tiny", "outer_steps": 12, "log_every": 2},
    "family": {"problem": "quadratic", "data": "points/20", "batch_size": 4},
    "optimizer": {"hidden": 2, "controller_hidden": 2},
    "estimator": {"name": "pes", "pairs": 8, "horizon": [20, 60], "truncation": 10},
    "objective": {"steps": 1.0},
    "valid": {"tasks": 8, "horizon": 20},
    "save": {"seconds": 0.0},
}
"""PES: its checkpoint holds unrolls, perturbations and keys."""


# Each program is compiled once for all processes of a test session: half of their time.
CACHE = tempfile.TemporaryDirectory()


def environment(devices=None):
    env = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    env["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    env["XLA_FLAGS"] = QUICK
    if devices:
        env["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={devices}"
    return env


def write_config(folder, **sections):
    import tomli_w

    path = Path(folder) / "tiny.toml"
    table = {k: v | sections.pop(k, {}) for k, v in TABLE.items()} | sections
    path.write_text(tomli_w.dumps(table))
    return path


def command(*args):
    return [sys.executable, "-m", "learned_opt", "meta-train", *map(str, args)]


def launch(*args, devices=None, most=None, before=""):
    """`most`: bytes of a file, as on a disk that is full. `before`: Python that is run first."""
    words = command(*args)
    if before:
        module = "from learned_opt.__main__ import main"
        words[1:3] = ["-c", f"{before}\n{module}; raise SystemExit(main())"]
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment(devices), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    if most:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
    return process


def pair(*args, devices=1, before=("", "")):
    """Two processes on this host, as on two hosts."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return [
        launch(
            *args, "--coordinator", f"127.0.0.1:{port}", "--processes", 2, "--process", i,
            devices=devices, before=before[i],
        )
        for i in range(2)
    ]  # fmt: skip


def finish(process, status=0):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    return output + errors


def rows(out):
    path = Path(out) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(process, condition, timeout=120):
    end = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


TIMELESS = ("inner_steps_per_second", "outer_steps_per_second", "seconds", "checkpoint")


def theta(out):
    return learned_opt.load(Path(out) / "tiny.safetensors").theta


def same_run(a, b, outer_steps=12):
    """Same theta, bit for bit, and the same log but for the times."""
    one, two = (learned_opt.load(Path(out) / "tiny.safetensors") for out in (a, b))
    jax.tree.map(np.testing.assert_array_equal, one.theta, two.theta)
    assert one.card["budget"]["inner_steps"] == two.card["budget"]["inner_steps"]
    logs = [[{k: v for k, v in r.items() if k not in TIMELESS} for r in rows(o)] for o in (a, b)]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == list(range(0, outer_steps + 1, 2))
