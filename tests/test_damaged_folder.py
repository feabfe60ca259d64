"""Checkpoints that are damaged: nothing is lost, nothing is silent."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from damages import WAYS, files, flip, folder, garbage, half
from processes import finish, launch, rows, same_run

from learned_opt.checkpoints import CheckpointError, CheckpointsLostError, Store, saved_steps
from learned_opt.checkpoints.store._sums import SUMS


def state(step):
    """The array is of a size that TensorStore keeps in a file of its own, without a checksum."""
    return {"x": jax.random.normal(jax.random.key(step), (2000,)), "key": jax.random.key(step)}


def facts(step):
    return {"step": step, "note": "".join(chr(33 + (step * i * i) % 90) for i in range(1500))}


LIKE = state(0)
SCORES = {10: 0.5, 12: None, 14: 0.7}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Checkpoints 10, the best, 12 and 14."""
    path = tmp_path_factory.mktemp("three") / "checkpoints"
    store = Store(path, keep=2, best=1)
    for step, score in SCORES.items():
        store.save(step, state(step), facts(step), score=score)
    store.close()
    assert saved_steps(store.directory) == [10, 12, 14]
    return path


@pytest.fixture
def copied(three, tmp_path):
    return Path(shutil.copytree(three, tmp_path / "checkpoints"))


def restored(path, **options):
    """The step restored, after a look at all that was; and what was said."""
    notes = []
    step, found, said = Store(path, note=notes.append, **options).restore(LIKE)
    np.testing.assert_array_equal(found["x"], state(step)["x"])
    assert jax.random.key_data(found["key"]).tolist() == [0, step]
    assert said == facts(step)
    return step, notes


def some(path, skip):
    """(file, way) of damages of the newest checkpoint, one of `skip`."""
    return list(itertools.product(files(path / "14"), WAYS))[::skip]


def damage_one_by_one(three, tmp_path, skip):
    """Each file of the newest checkpoint in each way: how often which step was restored."""
    count = {12: 0, 14: 0}
    for file, way in some(three, skip):
        path = tmp_path / "checkpoints"
        shutil.copytree(three, path)
        way(path / "14" / file)
        step, notes = restored(path)
        # Files of the folder itself are no part of the state.
        assert step == 12 or len(file.parts) == 1, (file, way.__name__)
        assert len(notes) == (step == 12)
        for note in notes:
            before, _, reason = note.partition("left out: 14 (")
            assert before == f"note: using the checkpoint of step 12; damaged in {path} and "
            assert reason.endswith("; kept as 14.damaged)")
            assert len(reason) < 150
            assert "\n" not in reason
        assert restored(path) == (step, [])
        count[step] += 1
        shutil.rmtree(path)
    return count


def test_a_damaged_file_is_noticed(three, tmp_path):
    count = damage_one_by_one(three, tmp_path, 7)
    assert count[12] > 10
    assert count[14] > 0


@pytest.mark.slow
def test_any_damage_of_any_file_is_noticed_or_does_no_harm(three, tmp_path):
    count = damage_one_by_one(three, tmp_path, 1)
    assert sum(count.values()) == len(WAYS) * len(files(three / "14"))


@pytest.mark.slow
def test_damage_of_a_checkpoint_without_sums_gives_no_other_values(three, tmp_path):
    """As of older code. All but the arrays themselves, of which TensorStore knows no checksum."""
    small = tmp_path / "small"
    store = Store(small, keep=3)
    for step in SCORES:
        store.save(step, {**state(step), "x": state(step)["x"][:3]}, {"step": step}, score=1.0)
    store.close()
    for file, way in some(small, 1):
        if file.name == SUMS:
            continue
        path = tmp_path / "checkpoints"
        shutil.copytree(small, path)
        (path / "14" / SUMS).unlink()
        way(path / "14" / file)
        notes = []
        like = {**LIKE, "x": LIKE["x"][:3]}
        step, found, said = Store(path, note=notes.append).restore(like)
        assert step in (12, 14)
        assert said == {"step": step}
        np.testing.assert_array_equal(found["x"], state(step)["x"][:3])
        assert len(notes) == (step != 14)
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (half, "metrics/metrics does not read back (Unterminated string starting at: line 1 "
        "column 2 (char 1))"),
        (folder, "metrics/metrics cannot be read (it is no file)"),
        (lambda path: path.write_text('{"score": "x"}'), "metrics/metrics holds no score"),
        (lambda path: path.write_text("[" * 5000), "metrics/metrics does not read back (maximum "
        "recursion depth exceeded while decoding a JSON array from a unicode string)"),
    ],
)  # fmt: skip
def test_metrics_that_do_not_read_back_block_no_other_checkpoint(copied, way, reason):
    """Also those of an older one, of which there are no sums."""
    (copied / "14" / SUMS).unlink()
    way(copied / "14" / "metrics" / "metrics")
    step, notes = restored(copied)
    assert step == 12
    (note,) = notes
    assert note.partition(": 14 (")[2] == f"{reason}; kept as 14.damaged)"


def test_a_store_goes_on_beside_damaged_checkpoints(copied):
    """The best counts no more, a step may come again, and foreign names stay as they are."""
    (copied / "foo").write_text("mine")
    (copied / "7.txt").mkdir()
    (copied / "015").mkdir()
    half(copied / "10" / "metrics" / "metrics")
    shutil.rmtree(copied / "14" / "state")
    (copied / "16").write_text("in the way")
    notes = []
    store = Store(copied, keep=2, best=1, note=notes.append)
    assert store.restore(LIKE)[0] == 12
    assert notes == [
        f"note: using the checkpoint of step 12; damaged in {copied} and left out: "
        "10 (metrics/metrics is not as it was written; kept as 10.damaged), "
        "14 (state/_METADATA is missing; kept as 14.damaged), "
        "16 (it is no folder; kept as 16.damaged)"
    ]
    for step, score in ((14, 0.9), (16, 0.8), (18, float("nan")), (20, None), (22, None)):
        store.save(step, state(step), facts(step), score=score)
        store.close()
    assert saved_steps(store.directory) == [16, 20, 22]
    assert restored(copied) == (22, [])
    flip(copied / "20" / "facts" / "_METADATA")
    flip(copied / "22" / "facts" / "_METADATA")
    (copied / "22.damaged").mkdir()
    step, notes = restored(copied)
    assert step == 16
    assert "kept as 22.damaged1)" in notes[0]
    assert (copied / "foo").read_text() == "mine"
    assert {"7.txt", "015", "10.damaged", "14.damaged", "16.damaged"} <= {
        path.name for path in copied.iterdir()
    }


def test_beside_another_process_nothing_is_set_aside(copied):
    before = files(copied)
    flip(copied / "14" / "state" / "_METADATA")
    step, notes = restored(copied, tidy=False)
    assert (step, notes) == (
        12,
        [
            f"note: using the checkpoint of step 12; damaged in {copied} and left out: "
            "14 (state/_METADATA is not as it was written)"
        ],
    )
    assert files(copied) == before


def test_where_all_are_damaged_it_says_what_is_amiss_with_each(copied):
    for step in SCORES:
        (copied / str(step) / "facts" / "_METADATA").unlink()
    (copied / "12" / SUMS).unlink()
    before = files(copied)
    with pytest.raises(CheckpointsLostError) as error:
        Store(copied).restore(LIKE)
    before_12, _, rest = str(error.value).partition("; step 12: ")
    reason, _, after_12 = rest.partition("; step 10: ")
    assert before_12 == (f"no checkpoint in {copied} is whole (step 14: facts/_METADATA is missing")
    assert reason.startswith("it does not read back (Metadata file (named _METADATA) does not ")
    assert len(reason) <= 120
    assert after_12 == (
        "facts/_METADATA is missing): put a whole one back, or start over with "
        "--resume --start-over"
    )
    assert files(copied) == before


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("x"), "Not a directory"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
@pytest.mark.parametrize("tidy", [True, False])
def test_checkpoints_that_are_no_folder_are_one_sentence(tmp_path, make, reason, tidy):
    make(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError) as error:
        Store(tmp_path / "checkpoints", tidy=tidy)
    assert str(error.value) == (
        f"cannot read the checkpoints in {tmp_path}/checkpoints ({reason}): put their folder back, "
        "or move away what is in its place"
    )


BLOCKED = """
import pathlib, shutil, sys
import jax.numpy as jnp
from learned_opt.checkpoints import SaveError, Store, quiet_saves

path, x = pathlib.Path(sys.argv[1]), {"x": jnp.zeros(3)}
for opened in (False, True):
    store = Store(path)
    if opened:
        store.save(1, x, {"note": 1})
        store._checkpointer.wait()
    shutil.rmtree(path)
    path.write_text("in the way")
    try:
        with quiet_saves():
            store.save(2, x, {"note": 2})
            store.close()
    except SaveError as error:
        print(error.strerror, error.filename)
    path.unlink()
"""


def test_checkpoints_that_cannot_be_written_are_an_error_at_once(tmp_path):
    """Orbax's threads would wait ten minutes for a folder that one of them could not create."""
    path = tmp_path / "checkpoints"
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, path], text=True, capture_output=True, timeout=50
    )
    assert done.stdout == 2 * f"Not a directory {path}\n"
    assert done.stderr == ""


QUIET = """
import sys
import jax
from learned_opt.checkpoints import Store, saved_steps

store = Store(sys.argv[1])
step, state, facts = store.restore({"x": jax.numpy.zeros(2000), "key": jax.random.key(0)})
store.save(step + 2, state, facts)
store.close()
print(step, saved_steps(store.directory))
"""


@pytest.mark.parametrize("sums", [True, False])
def test_a_fallback_is_one_line_and_no_noise(copied, sums):
    """Without sums, damage is found by Orbax and TensorStore, whose threads have much to say."""
    for step, file in ((12, "facts/manifest.ocdbt"), (14, "state/manifest.ocdbt")):
        garbage(copied / str(step) / file)
        if not sums:
            (copied / str(step) / SUMS).unlink()
    garbage(copied / "10" / "_CHECKPOINT_METADATA")
    done = subprocess.run(
        [sys.executable, "-c", QUIET, copied], text=True, capture_output=True, check=True
    )
    assert done.stderr == ""
    note, result = done.stdout.splitlines()
    assert note.startswith(f"note: using the checkpoint of step 10; damaged in {copied} and left")
    assert result == "10 [10, 12]"


@pytest.mark.parametrize(
    "file", ["metrics/metrics", pytest.param("state/_METADATA", marks=pytest.mark.slow)]
)
def test_a_run_goes_on_from_the_checkpoint_before(uninterrupted, tmp_path, file):
    out = Path(shutil.copytree(uninterrupted, tmp_path / "run"))
    (out / "tiny.safetensors").unlink()
    half(out / "checkpoints" / "12" / file)
    output = finish(launch("--out", out, "--resume"))
    assert (
        f"note: using the checkpoint of step 10; damaged in {out}/checkpoints and left out: 12 "
        f"({file} is not as it was written; kept as 12.damaged)"
    ) in " ".join(output.split())
    assert "Resuming after 10 of 12" in output
    assert "absl" not in output
    assert "asyncio" not in output
    same_run(uninterrupted, out)
    assert saved_steps(out / "checkpoints")[-2:] == [10, 12]


@pytest.mark.slow
def test_two_processes_fall_back_to_the_same_checkpoint(uninterrupted, config, tmp_path):
    import socket

    out = Path(shutil.copytree(uninterrupted, tmp_path / "run"))
    (out / "tiny.safetensors").unlink()
    flip(max((out / "checkpoints" / "12" / "state").rglob("*"), key=lambda p: p.stat().st_size))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    join = ["--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    both = [launch(config, "--out", out, "--resume", *join, "--process", i) for i in range(2)]
    first, second = (finish(process) for process in both)
    assert "kept as 12.damaged" in " ".join(first.split())
    assert "Resuming after 10 of 12" in first
    assert "damaged" not in second
    assert rows(out)[-1]["step"] == 12
