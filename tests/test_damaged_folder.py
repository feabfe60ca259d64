"""A run's folder in which something is damaged: nothing is lost, nothing is silent."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tomli_w
from processes import TABLE, finish, launch, rows, same_run

import learned_opt
from learned_opt.checkpoints import CheckpointError, FolderError, LostError, Store, claim_folder
from learned_opt.checkpoints._sums import SUMS
from learned_opt.meta_train import Config, ConfigError
from learned_opt.meta_train.__main__ import main, newest_unfinished
from learned_opt.meta_train._export import _first_command
from learned_opt.meta_train._log import Log, validation_curve, whole_rows
from learned_opt.meta_train._record import RECORD, load_record


def empty(path):
    path.write_bytes(b"")


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def garbage(path):
    path.write_bytes(bytes(range(256)))


def delete(path):
    path.unlink()


def folder(path):
    path.unlink()
    path.mkdir()


def loop(path):
    path.unlink()
    path.symlink_to(path)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


WAYS = (empty, half, flip, garbage, delete, folder, loop, pipe)


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
    assert store.steps() == [10, 12, 14]
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


def files(path):
    return sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())


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
    assert store.steps() == [16, 20, 22]
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
    with pytest.raises(LostError) as error:
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
from learned_opt.checkpoints import Store

store = Store(sys.argv[1])
step, state, facts = store.restore({"x": jax.numpy.zeros(2000), "key": jax.random.key(0)})
store.save(step + 2, state, facts)
store.close()
print(step, store.steps())
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
    assert Store(out / "checkpoints").steps()[-2:] == [10, 12]


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


GOOD = [{"step": i, "valid_loss": float(i)} for i in range(0, 8, 2)]


def write_log(folder, *lines):
    """The lines among whole rows: the first before them, the others after one each."""
    whole = [json.dumps(row).encode() for row in GOOD]
    mixed = [x for pair in itertools.zip_longest(lines, whole) for x in pair if x is not None]
    (folder / "metrics.jsonl").write_bytes(b"".join(line + b"\n" for line in mixed))


BAD = (
    b"garbage",
    b"\xff\xfe\x00",
    b'{"step": 1, "valid_loss": 3',
    b'{"valid_loss": 1.0}',
    b'{"step": -1}',
    b'{"step": true}',
    b'{"step": 1.0}',
    b'{"step": "1"}',
    b'{"step": null}',
    b'{"step": 1, "valid_loss": "1"}',
    b'{"step": 1, "valid_loss": true}',
    b'{"step": 1, "valid_loss": [1.0]}',
    b'{"step": 1, "valid_loss": 1e999}',
    b'{"step": 1, "valid_loss": 1' + b"0" * 400 + b"}",
    b'{"step": 1' + b"0" * 5000 + b"}",
    b"[1, 2]",
    b"3",
    b"null",
    b"[" * 100_000,
)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[:40].decode(errors="replace"))
def test_a_damaged_line_of_the_log_is_named_and_kept(tmp_path, bad):
    write_log(tmp_path, bad)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert whole_rows(tmp_path / "metrics.jsonl") == GOOD
    assert validation_curve(tmp_path)["valid_loss"] == [0.0, 2.0, 4.0, 6.0]
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    notes = []
    Log(tmp_path, 4, notes.append).close()
    assert notes == [
        "note: metrics.jsonl: line 1 of 5 is damaged and left out; kept in metrics.jsonl.damaged"
    ]
    assert rows(tmp_path) == GOOD[:3]
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == bad + b"\n"


@pytest.mark.parametrize(("step", "kept"), [(9, GOOD), (0, [])])
def test_all_damaged_lines_are_named_at_once_and_kept(tmp_path, step, kept):
    """Also where the run starts anew, which forgets the rows of before."""
    (tmp_path / "metrics.jsonl.damaged").write_bytes(b"of before\n")
    write_log(tmp_path, b"a", b"", b"b", b"c", b"d", b"e", b"f", b"g")
    notes = []
    Log(tmp_path, step, notes.append).close()
    assert notes == [
        "note: metrics.jsonl: lines 1, 5, 7, 9, 10, ... of 12 are damaged and left out; "
        "kept in metrics.jsonl.damaged"
    ]
    assert rows(tmp_path) == kept
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == b"of before\na\nb\nc\nd\ne\nf\ng\n"


def test_a_line_that_a_kill_cut_short_is_no_damage(tmp_path):
    write_log(tmp_path)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 8, "valid_')
    Log(tmp_path, 9, pytest.fail).close()
    assert rows(tmp_path) == GOOD
    assert not (tmp_path / "metrics.jsonl.damaged").exists()


def test_what_is_not_finite_is_null_in_the_log(tmp_path):
    """JSON has no NaN; older rows that have one are read as they were meant."""
    write_log(tmp_path, b'{"step": 0, "valid_loss": NaN, "meta_loss": -Infinity}')
    log = Log(tmp_path, 2, pytest.fail)
    log.append({"step": 4, "valid_loss": float("inf"), "meta_loss": 1.5})
    log.close()
    null = {"step": 0, "valid_loss": None, "meta_loss": None}
    last = {"step": 4, "valid_loss": None, "meta_loss": 1.5}
    assert rows(tmp_path) == [null, *GOOD[:2], last]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    assert validation_curve(tmp_path) == {"outer_steps": [0, 2], "valid_loss": [0.0, 2.0]}


@pytest.mark.parametrize("way", [empty, garbage, delete, folder, loop, pipe])
def test_a_curve_needs_no_log(tmp_path, way):
    write_log(tmp_path)
    way(tmp_path / "metrics.jsonl")
    assert validation_curve(tmp_path) == {"outer_steps": [], "valid_loss": []}


def test_a_log_that_is_a_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        Log(tmp_path, 2)
    assert error.value.filename == str(tmp_path / "metrics.jsonl")


CURE = "put it back as it was, or {} another folder with --out"


@pytest.fixture
def record(tmp_path):
    config = Config.from_dict(TABLE)
    (tmp_path / RECORD).write_text(tomli_w.dumps(config.to_dict()))
    assert load_record(tmp_path) == config
    return tmp_path / RECORD


CUT = "lacks {}: it is cut short, or of older code"
SECTIONS = "estimator, families, {}objective, optimizer, {}run, save, suite, teacher, valid"
TABLE_END = "Expected ']' at the end of a table declaration (at end of document)"
DEEP = "x=" + "[" * 5000


@pytest.mark.parametrize(
    ("way", "said", "claimed"),
    [
        (empty, CUT.format(SECTIONS.format("", "")),
         CUT.format(SECTIONS.format("family, ", "outer, "))),
        (lambda p: p.write_bytes(b"\xff"), "is not valid TOML: it must be UTF-8, byte 0 is not",
         "does not read back ('utf-8' codec can't decode byte 0xff in position 0: invalid start "
         "byte)"),
        (lambda p: p.write_text("[run"), f"is not valid TOML: {TABLE_END}",
         f"does not read back ({TABLE_END})"),
        (lambda p: p.write_text(DEEP), "is not valid TOML: it is nested too deeply",
         "does not read back (maximum recursion depth exceeded)"),
        (folder, "is no file", "must be a file, and is none"),
        (loop, "is no file", "must be a file, and is none"),
        (pipe, "is no file", "must be a file, and is none"),
    ],
    ids=["empty", "bytes", "toml", "deep", "folder", "loop", "pipe"],
)  # fmt: skip
def test_a_damaged_record_is_one_sentence(record, way, said, claimed):
    """To --resume and --export without a configuration, and to a run with one."""
    facts = Config.from_dict(TABLE).to_dict()
    way(record)
    with pytest.raises(ConfigError) as error:
        load_record(record.parent, ["run.outer_steps=3"])
    before = f"{record.parent} holds no run that can go on: " if said == "is no file" else ""
    assert str(error.value) == f"{before}{record} {said}; {CURE.format('name')}"
    for resume in (True, False):
        with pytest.raises(FolderError) as error:
            claim_folder(record.parent, RECORD, facts, what="a run", resume=resume)
        assert str(error.value) == f"{record} {claimed}; {CURE.format('choose')}"


def test_a_record_that_is_cut_or_missing_or_of_another_run(record):
    facts = Config.from_dict(TABLE).to_dict()
    text = record.read_text()
    record.write_text(text[: text.index("[optimizer]")])
    with pytest.raises(ConfigError) as error:
        load_record(record.parent)
    lacks = "estimator, objective, optimizer, save, teacher, valid"
    assert str(error.value) == f"{record} {CUT.format(lacks)}; {CURE.format('name')}"
    # Another run may have sections that this one has not.
    record.write_text(tomli_w.dumps({k: v for k, v in facts.items() if k != "family"} | {"x": 1}))
    with pytest.raises(FolderError, match=r"already holds another run \(family was None"):
        claim_folder(record.parent, RECORD, facts, what="a run", resume=True)
    record.write_text(text.replace("pairs = 8", "pairs = 0"))
    with pytest.raises(ConfigError) as error:
        load_record(record.parent)
    assert str(error.value).startswith(f"{record}: estimator.pairs must be")
    record.unlink()
    with pytest.raises(ConfigError) as error:
        load_record(record.parent)
    assert str(error.value) == (
        f"{record.parent} holds no run that can go on: {record} is missing; {CURE.format('name')}"
    )


def test_the_newest_run_is_found_among_damaged_ones(tmp_path, record):
    """Links to nowhere, and what only looks like an artifact."""
    (record.parent / "link").symlink_to("nowhere")
    (record.parent / "tiny.safetensors").mkdir()
    assert newest_unfinished(tmp_path) == record.parent
    loop(record)
    (tmp_path / "runs").write_text("no folder")
    for runs in (tmp_path / "runs", tmp_path / "nowhere"):
        with pytest.raises(ConfigError) as error:
            newest_unfinished(runs)
        assert str(error.value) == (
            f"there is no unfinished run in {runs}/; name one with --out, or a configuration"
        )


COMMAND = "learned-opt meta-train 'a  b.toml' --out é"


@pytest.mark.parametrize(
    ("way", "command", "damaged"),
    [
        (lambda path: None, COMMAND, False),
        (delete, None, False),
        (empty, None, True),
        (lambda path: path.write_bytes(b" \n"), None, True),
        (lambda path: path.write_bytes(b"learned-opt \xff x\n"), "learned-opt \ufffd x", True),
        (folder, None, True),
        (loop, None, True),
        (pipe, None, True),
    ],
    ids=["whole", "missing", "empty", "blank", "bytes", "folder", "loop", "pipe"],
)
def test_a_damaged_command_costs_no_export(tmp_path, capsys, way, command, damaged):
    path = tmp_path / "command.txt"
    path.write_text(COMMAND + "\n")
    way(path)
    older = f"learned-opt meta-train {tmp_path}/config.toml --out {tmp_path}"
    assert _first_command(tmp_path) == (command or older)
    note = f"note: {path} is damaged; the card says what can be read of it\n"
    assert capsys.readouterr().out == (note if damaged else "")


@pytest.fixture
def here(uninterrupted, tmp_path):
    """A copy of a run, and what `learned-opt meta-train --export` says of it."""
    return Path(shutil.copytree(uninterrupted, tmp_path / "run"))


def test_an_export_needs_no_side_files(here, capsys):
    write_log(here, b"garbage", b"\xff")
    (here / "command.txt").write_bytes(b"\xff")
    flip(here / "checkpoints" / "12" / "facts" / "_METADATA")
    before = files(here)
    assert main(["--export", "--out", str(here)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert f"note: {here}/command.txt is damaged" in output.out
    assert "note: using the checkpoint of step 10; damaged in" in output.out
    artifact = learned_opt.load(here / "exports" / "tiny.safetensors")
    assert artifact.card["meta_valid_curve"]["outer_steps"] == [0, 2, 4, 6]
    new = {Path("exports/tiny.md"), Path("exports/tiny.safetensors")}
    assert set(files(here)) - set(before) == new


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"), [("exports", "File exists"), ("exports/tiny.safetensors", "Is a directory")]
)
def test_an_export_that_cannot_be_written_is_one_sentence(here, capsys, name, reason):
    if name == "exports":
        (here / name).write_text("in the way")
    else:
        (here / name).mkdir(parents=True)
    assert main(["--export", "--out", str(here)]) == 3
    assert capsys.readouterr().err == (
        f"error: cannot write {here / name} ({reason}); put that right, then --export again\n"
    )


@pytest.mark.parametrize(
    "args",
    [["--export"], ["--resume"]],
)
def test_what_is_damaged_ends_the_command_with_status_2(here, capsys, args):
    shutil.rmtree(here / "checkpoints")
    (here / "checkpoints").write_text("in the way")
    assert main([*args, "--out", str(here)]) == 2
    assert capsys.readouterr().err == (
        f"error: cannot read the checkpoints in {here}/checkpoints (Not a directory): put their "
        "folder back, or move away what is in its place\n"
    )
    empty(here / RECORD)
    assert main([*args, "--out", str(here)]) == 2
    assert f"error: {here}/config.toml lacks estimator" in capsys.readouterr().err
