"""Side files of a run that are damaged: its log, its record, its command."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
import tomli_w
from damages import delete, empty, files, flip, folder, garbage, loop, pipe
from processes import TABLE, rows

import learned_opt
from learned_opt.checkpoints import FolderError, claim_folder
from learned_opt.meta_train import Config, ConfigError
from learned_opt.meta_train.__main__ import main, newest_unfinished
from learned_opt.meta_train.run._export import _first_command
from learned_opt.meta_train.run._log import Log, validation_curve, whole_rows
from learned_opt.meta_train.run._record import RECORD, load_record

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


@pytest.mark.parametrize(("step", "kept"), [(6, GOOD), (0, [])])
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
    Log(tmp_path, 6, pytest.fail).close()
    assert rows(tmp_path) == GOOD
    assert not (tmp_path / "metrics.jsonl.damaged").exists()


def test_what_is_not_finite_is_null_in_the_log(tmp_path):
    """JSON has no NaN; older rows that have one are read as they were meant."""
    write_log(tmp_path, b'{"step": 0, "valid_loss": NaN, "meta_loss": -Infinity}')
    log = Log(tmp_path, 2)
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
        f"error: cannot write {here / name} ({reason}); the run is as it was: put that right, then "
        "--export again\n"
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
