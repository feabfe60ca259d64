"""Runs on disk: kills, races for a folder, and who holds it."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest
from made_runs import LATER, RULE, Recorder, trials, value
from processes import ROOT, environment

from learned_opt.checkpoints import FolderError, hold_folder
from learned_opt.eval.running import Archive


def launch(mode, folder):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "made_runs.py"), mode, str(folder)],
        cwd=ROOT, env=environment() | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_kill_in_the_middle_of_appending_costs_what_it_cut(tmp_path):
    """SIGKILL after half the bytes of the second task; the same command then makes the rest."""
    process = launch("tear", tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == -9
    path = tmp_path / "runs.jsonl"
    content = path.read_bytes()
    whole = content.count(b"\n")
    assert 36 <= whole < 72
    assert not content.endswith(b"\n")
    process = launch("go on", tmp_path)  # the lock of the killed process does not block
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert int(output) == 72 - whole
    archive, recorder = Archive(path), Recorder()
    wanted = [*trials(36), *trials(36, LATER)]
    rows = archive.run(RULE, recorder, wanted, curves=False)
    assert recorder.asked == []
    assert [row.valid_loss for row in rows] == [value(trial) for trial in wanted]
    assert path.read_bytes().count(b"\n") == 72


def test_of_two_processes_in_one_folder_one_works_and_one_says_why_not(tmp_path):
    both = [launch("race", tmp_path) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 60
    while not (lost := [p for p in both if p.poll() is not None]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "end").touch()
    (loser,), (winner,) = lost, [p for p in both if p not in lost]
    _, errors = loser.communicate(timeout=60)
    output, _ = winner.communicate(timeout=60)
    assert (loser.returncode, winner.returncode) == (1, 0)
    host = socket.gethostname()
    assert re.fullmatch(
        f"error: {tmp_path} is in use by process {winner.pid} on {host} since .{{19}} UTC; wait "
        "until it ends, or choose another folder with --out\n",
        errors,
    )
    assert int(output) == 72
    assert len(Archive(tmp_path / "runs.jsonl").runs) == 72


@pytest.mark.parametrize("command", [["quickstart", "--out"], ["baselines", "--out"]])
def test_the_command_says_who_holds_the_folder(tmp_path, capsys, command):
    from learned_opt.eval.__main__ import main

    out = tmp_path / "out"
    held = out if command[0] == "quickstart" else tmp_path / "out.d"
    held.mkdir()
    with hold_folder(held):
        assert main([*command, str(out)]) == 2
    error = capsys.readouterr().err
    assert f"error: {held} is in use by process {os.getpid()} on {socket.gethostname()}" in error
    assert error.count("\n") == 1
    with hold_folder(held):
        pass


def test_a_folder_that_cannot_be_locked_is_one_sentence(tmp_path):
    with (
        pytest.raises(
            FolderError, match=r"cannot lock .*\(No such file.*\); remove what is in its place, or"
        ),
        hold_folder(tmp_path / "none"),
    ):
        pass
