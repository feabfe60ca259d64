"""Two real processes, one of which is killed, hangs or fails: the other says so, and ends."""

import re
import resource
import signal

import pytest
from processes import finish, pair, rows, same_run, wait_for, write_config

LONG = "--set", "run.outer_steps=200000"
LOST = "error: another process of this run was lost"
GO_ON = "continue with the same command and --resume"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


def ends(process, why, status=4):
    """One sentence, no noise, and a status of its own; returns what was saved."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert "stack trace" not in errors
    last = errors.splitlines()[-1]
    found = re.fullmatch(rf"{LOST} \((?:{why})\); (.*): {GO_ON}", last)
    assert found, errors
    assert errors.count("error") == 1
    assert "error" not in output
    return found[1]


CLOSED = (
    r"the connection to process 0 has closed",
    r"the connection to process 1 on \S+ has closed",
)  # fmt: skip


def kill(processes, which):
    processes[which].kill()
    processes[which].communicate()


@pytest.mark.parametrize("which", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_while_all_compile(config, tmp_path, which):
    both = pair(config, "--out", tmp_path / "run")
    wait_for(both[0], lambda: (tmp_path / "run" / "tensorboard").exists())
    kill(both, which)
    assert ends(both[1 - which], CLOSED[which]) == "nothing is saved yet"


# What a process does as it is killed; the other one waits for it there.
WITHIN = {
    "outer steps": ("meta_train.run._programs", "Programs.steps"),
    "meta-validation": ("meta_train.run._programs", "Programs.validate"),
    "a save": ("checkpoints", "Store.save"),
    "closing": ("checkpoints", "Store.close"),
    "the export": ("meta_train.run._loop", "export"),
}
BLOCK = """
import pathlib, time
from learned_opt import {module} as module
def block(*args, **kwargs):
    pathlib.Path({mark!r}).touch()
    time.sleep(600)
module.{name} = block
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "within"),
    [(i, name) for i in (0, 1) for name in WITHIN if (i, name) != (1, "the export")],
)
def test_killed_within(config, tmp_path, which, within):
    module, name = WITHIN[within]
    package, _, module = f"learned_opt.{module}".rpartition(".")
    block = BLOCK.replace("learned_opt import", f"{package} import")
    block = block.format(module=module, name=name, mark=str(tmp_path / "mark"))
    both = pair(
        config, "--out", tmp_path / "run", before=[block if i == which else "" for i in (0, 1)]
    )
    wait_for(both[which], (tmp_path / "mark").exists)
    kill(both, which)
    saved = ends(both[1 - which], CLOSED[which])
    # The save in flight as process 0 closes may be whole or not.
    steps = {"closing": "1[02]", "the export": "12"}.get(within)
    assert re.fullmatch(f"the last checkpoint is of outer step {steps}|nothing is saved yet", saved)
    assert ("checkpoint" in saved) == bool(steps)


@pytest.mark.slow
def test_one_whose_work_is_done_is_not_missed(config, tmp_path):
    """Process 1 has done its part and is killed while process 0 exports."""
    slow = BLOCK.replace(
        "learned_opt import {module}", "learned_opt.meta_train.run import {module}"
    )
    slow = slow.replace("module.{name} = block", "real, module.{name} = module.{name}, block")
    slow = slow.replace("time.sleep(600)", "time.sleep(20)\n    return real(*args, **kwargs)")
    slow = slow.format(module="_loop", name="export", mark=str(tmp_path / "mark"))
    both = pair(config, "--out", tmp_path / "run", before=[slow, ""])
    wait_for(both[0], (tmp_path / "mark").exists)
    with pytest.raises(AssertionError):  # it waits, in case process 0 is lost
        wait_for(both[1], lambda: False, timeout=5)
    kill(both, 1)
    assert "Exported" in finish(both[0])


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_one_that_hangs_and_wakes(config, tmp_path, which):
    both = pair(config, *LONG, "--out", tmp_path / "run")
    wait_for(both[0], lambda: len(rows(tmp_path / "run")) >= 3)
    both[which].send_signal(signal.SIGSTOP)
    name = r"process 1 on \S+" if which else "process 0"
    ends(both[1 - which], f"{name} has not been heard of for 25 s")
    both[which].send_signal(signal.SIGCONT)
    ends(both[which], rf"{CLOSED[1 - which]}|{name} has not been heard of for 25 s")


@pytest.mark.slow
def test_one_that_is_paused_for_a_while_is_not_lost(config, tmp_path):
    both = pair(config, *LONG, "--out", tmp_path / "run")
    wait_for(both[0], lambda: len(rows(tmp_path / "run")) >= 3)
    both[1].send_signal(signal.SIGSTOP)
    with pytest.raises(AssertionError):
        wait_for(both[0], lambda: False, timeout=12)
    both[1].send_signal(signal.SIGCONT)
    before = len(rows(tmp_path / "run"))
    wait_for(both[0], lambda: len(rows(tmp_path / "run")) >= before + 2)
    both[0].send_signal(signal.SIGTERM)
    for process in both:
        assert "continue with --resume" in finish(process, 143)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_one_that_cannot_write(config, tmp_path, which):
    """Its disk is full, and Orbax waits for all; it says so, and the other one ends too."""
    both = pair(config, *LONG, "--out", tmp_path / "run")
    wait_for(both[0], lambda: len(rows(tmp_path / "run")) >= 3)
    resource.prlimit(both[which].pid, resource.RLIMIT_FSIZE, (40, 40))
    name = r"process 1 on \S+" if which else "process 0"
    ends(both[1 - which], f"{name} ended with status 3")
    errors = finish(both[which], 3)
    assert re.search(
        r"error: cannot write .* \(File too large\); .*: make room, then continue with --resume\n",
        errors,
    )


@pytest.mark.slow
def test_all_are_started_alike(config, tmp_path):
    both = pair(
        config, "--out", tmp_path / "run", before=["", "import sys; sys.argv += ['--resume']"]
    )
    for process in both:
        assert "process 1 and process 0 must be alike: --resume is True and False; start" in finish(
            process, 2
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_lost_run_goes_on_and_ends_like_one_that_was_not(config, tmp_path):
    for process in pair(config, "--out", tmp_path / "whole"):
        finish(process)
    for which, row in ((0, 3), (1, 5)):
        both = pair(config, "--out", tmp_path / "run", "--resume")
        wait_for(both[0], lambda row=row: len(rows(tmp_path / "run")) >= row)
        kill(both, which)
        ends(both[1 - which], CLOSED[which])
    first, _ = (finish(p) for p in pair(config, "--out", tmp_path / "run", "--resume"))
    assert "Resuming after" in first
    same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_a_number_of_devices_each(config, tmp_path):
    """On CPU they would otherwise have one a core."""
    both = pair(config, "--out", tmp_path / "run", before=["", (
        "import os; os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=3'"
    )])  # fmt: skip
    for process in both:
        assert finish(process, 2).splitlines()[-1] == (
            "error: all processes must have the same number of devices, got 1 in process 0 and 3 "
            "in process 1: on CPU set XLA_FLAGS=--xla_force_host_platform_device_count=1 everywhere"
        )
    assert not (tmp_path / "run").exists()
