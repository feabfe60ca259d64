"""The folder of a run: one process has it, and what is removed from it meanwhile is made anew."""

import errno
import re
import shutil
import signal
import socket
from typing import NamedTuple

import jax
import pytest
from processes import finish, launch, rows, same_run, wait_for

from learned_opt import meta_train
from learned_opt.checkpoints import (
    CheckpointsLostError,
    FolderError,
    SaveError,
    Store,
    hold_folder,
    saved_steps,
)
from learned_opt.meta_train.run._folder import Found, RunFolder
from learned_opt.meta_train.run._log import Log
from learned_opt.meta_train.run._loop import _Loop

LONG = ("--set", "run.outer_steps=200000")


@pytest.fixture
def running(config, tmp_path):
    """A run that goes on until it is stopped."""
    out = tmp_path / "run"
    process = launch(config, *LONG, "--out", out)
    wait_for(process, lambda: "checkpoint" in newest(out))
    yield out, process
    process.kill()
    process.communicate()


def newest(out):
    """The last row of the log."""
    return (rows(out) or [{"step": -1}])[-1]


def stop(process):
    process.send_signal(signal.SIGTERM)
    return finish(process, 143)


def test_of_two_that_resume_in_one_folder_the_second_is_told_who_has_it(running, config):
    out, process = running
    said = finish(launch(config, *LONG, "--out", out, "--resume"), 2)
    host = re.escape(socket.gethostname())
    assert re.fullmatch(
        f"error: {out} is in use by process {process.pid} on {host} since .{{19}} UTC; wait until "
        "it ends, or choose another folder with --out\n",
        said,
    )
    stop(process)
    steps = [row["step"] for row in rows(out)]
    assert steps == list(range(0, steps[-1] + 1, 2))


@pytest.mark.slow
def test_a_folder_whose_owner_was_killed_is_free(running, config):
    out, process = running
    process.kill()
    process.communicate()
    assert re.match("process [0-9]+ on ", (out / ".lock").read_text())
    done = newest(out)["step"]
    again = launch(*LONG, "--out", out, "--resume")
    wait_for(again, lambda: newest(out)["step"] > done)
    stop(again)


@pytest.mark.parametrize("what", ["", pytest.param("checkpoints", marks=pytest.mark.slow)])
def test_what_is_removed_while_a_run_goes_on_is_made_anew(running, tmp_path, what):
    out, process = running
    (out / what).rename(tmp_path / "gone")
    kept = rows(out if what else tmp_path / "gone")[-1]["step"]
    wait_for(process, lambda: newest(out).get("checkpoint", 0) > kept)
    said = stop(process)
    note = f"note: {out / what}\\S* was removed while the run went on; it is made anew\n"
    assert len(re.findall(note, said)) == 1
    assert "Traceback" not in said
    assert "WARNING" not in said
    steps = [row["step"] for row in rows(out)]
    assert steps == list(range(0, steps[-1] + 1, 2))
    assert saved_steps(out / "checkpoints")[-1] == steps[-1]
    again = launch(*LONG, "--out", out, "--resume")
    wait_for(again, lambda: newest(out)["step"] > steps[-1])
    assert f"Resuming after {steps[-1]} of 200000" in stop(again)


@pytest.mark.slow
def test_a_run_whose_folder_another_has_taken_stops(running, config):
    """As where locks hold for one host only."""
    out, process = running
    (out / ".lock").write_text("process 7 on another since 2026-01-01 00:00:00 UTC\n")
    said = finish(process, 2)
    assert (
        f"error: {out} was taken over by process 7 on another since 2026-01-01 00:00:00 UTC: this "
        "process stops, for two would mix their files; what is saved there is the other's from "
        "now on\n"
    ) in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_checkpoints_that_are_gone_are_not_started_over_silently(uninterrupted, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    shutil.rmtree(out / "checkpoints")
    said = finish(launch("--out", out, "--resume"), 2)
    assert said == (
        f"error: {out / 'checkpoints'} has no checkpoint, but metrics.jsonl tells of 12 outer "
        "steps: put the checkpoints back, or start over with --resume --start-over\n"
    )
    before = rows(out)
    said = finish(launch("--out", out, "--resume", "--start-over"))
    assert f"Starting over; what the run had is in {out / 'earlier-1'}.\n" in said
    assert rows(out / "earlier-1") == before
    same_run(uninterrupted, out)


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run", {"run": {"name": "x"}}, "command", lambda note: None)
    made.claim(resume=True)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("log", "place", "begins"),
    [
        ([], False, True),
        ([{"step": 0}], False, True),
        ([{"step": 0}, {"step": 4}], True, True),  # killed before the first checkpoint
        ([{"step": 0}, {"step": 4}], False, False),
        ([{"step": 0}, {"step": 4}, {"step": 8, "checkpoint": 4}], True, False),
    ],
)
def test_when_a_run_without_checkpoints_may_begin(folder, log, place, begins):
    written = Log(folder.path, 0)
    for row in log:
        written.append(row)
    written.close()
    folder.close()
    if place:
        (folder.path / "checkpoints").mkdir()
    folder.claim(resume=True)
    if begins:
        folder.check_progress()
    else:
        with pytest.raises(
            CheckpointsLostError, match=r"has no checkpoint, but metrics.jsonl tells of \d "
        ):
            folder.check_progress()


def test_what_is_set_aside_is_kept(folder):
    for number in (1, 2):
        (folder.path / "metrics.jsonl").write_text(str(number))
        (folder.path / "checkpoints" / "4").mkdir(parents=True)
        folder.set_aside()
        assert not (folder.path / "checkpoints").exists()
        aside = folder.path / f"earlier-{number}"
        assert sorted(path.name for path in aside.iterdir()) == ["checkpoints", "metrics.jsonl"]
        assert (aside / "metrics.jsonl").read_text() == str(number)


def test_an_artifact_without_checkpoints_is_not_overwritten_silently(folder):
    (folder.path / "tiny.safetensors").write_text("theta")
    with pytest.raises(CheckpointsLostError, match=r"no checkpoint, but there is tiny.safetensors"):
        folder.check_progress()
    folder.set_aside()
    assert (folder.path / "earlier-1" / "tiny.safetensors").read_text() == "theta"
    folder.check_progress()


def test_a_record_that_is_removed_is_made_anew(folder):
    (folder.path / "config.toml").unlink()
    assert folder.watch() == Found.WHOLE
    assert (folder.path / "config.toml").read_text() == '[run]\nname = "x"\n'


def test_a_log_that_is_removed_is_made_anew(tmp_path):
    notes = []
    log = Log(tmp_path, 0, notes.append)
    log.append({"step": 0})
    log.path.unlink()
    log.append({"step": 2})
    log.close()
    assert rows(tmp_path) == [{"step": 0}, {"step": 2}]
    assert notes == [f"note: {log.path} was removed while the run went on; it is made anew"]


@pytest.mark.parametrize(
    ("steps", "said"),
    [([0, 2, 4], 0), ([0, 2], 1), ([0, 2, 3, 4], 1), ([2, 4], 1), ([], 1), ([4], 1)],
)
def test_a_log_that_lacks_rows_says_so(tmp_path, steps, said):
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {i}}}\n' for i in steps))
    notes = []
    Log(tmp_path, 4, notes.append).close()
    note = "note: metrics.jsonl lacks rows of before outer step 4; the run goes on"
    assert notes == [note] * said


class NamedState(NamedTuple):
    step: jax.Array
    x: jax.Array


class Vanishing(Store):
    """A store whose folder is removed as it is written, a few times."""

    def __init__(self, folder, times):
        super().__init__(folder)
        self.times = times

    def save(self, *args, **kind):
        if self.times:
            self.times -= 1
            raise SaveError(errno.ENOENT, "No such file or directory", str(self.directory))
        super().save(*args, **kind)


@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_state_is_saved_though_its_folder_is_removed_again_and_again(folder, times):
    notes = []
    folder.note = notes.append
    store = Vanishing(folder.path / "checkpoints", times)
    loop = _Loop(None, None, store, folder, None, {}, 0.0)
    saved = NamedState(jax.numpy.int32(4), jax.numpy.ones(3))
    if times == 4:
        with pytest.raises(SaveError):
            loop._save(saved, last=True)
        return
    loop._save(saved, last=True)
    assert saved_steps(store.directory) == [4]
    why = f"cannot write {store.directory} (No such file or directory)"
    assert notes == [f"note: {why}; the state is saved anew"] * times


def test_what_becomes_of_a_folder_is_seen(folder):
    (folder.path / "checkpoints").mkdir()
    folder.log = Log(folder.path, 0)
    folder.log.append({"step": 0, "loss": 1.0})
    assert folder.watch() == Found.WHOLE
    (folder.path / "checkpoints" / "2").mkdir()
    assert folder.watch() == Found.WHOLE
    assert folder.newest == 2
    shutil.rmtree(folder.path / "checkpoints" / "2")
    assert folder.watch() == Found.REMOVED
    assert folder.watch() == Found.WHOLE
    assert folder.newest is None
    (folder.path / ".lock").unlink()
    assert folder.watch() == Found.REMOVED
    shutil.rmtree(folder.path)
    assert folder.watch() == Found.REMOVED
    assert rows(folder.path) == [{"step": 0, "loss": 1.0}]
    assert (folder.path / "command.txt").read_text() == "command\n"
    assert (folder.path / "config.toml").read_text() == '[run]\nname = "x"\n'
    (folder.path / "checkpoints").mkdir()
    assert folder.watch() == Found.WHOLE
    # Removed, and another run has begun there.
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    with hold_folder(folder.path):
        (folder.path / ".lock").write_text("process 7 on another\n")
        assert folder.watch() == Found.TAKEN
    assert "was taken over by process 7 on another" in str(folder.problem)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file/run", "Not a directory"), ("x" * 300, "File name too long")],
)
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, name, reason):
    from processes import TABLE

    (tmp_path / "file").write_text("in the way")
    config = meta_train.Config.from_dict(TABLE)
    with pytest.raises(FolderError) as error:
        meta_train.meta_train(config, tmp_path / name, resume=True)
    assert str(error.value) == (
        f"cannot write {tmp_path / name} ({reason}); choose another folder with --out"
    )
