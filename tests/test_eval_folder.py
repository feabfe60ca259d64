"""The folder of an evaluation: full disks, removed folders, files in the way."""

import contextlib
import errno
import io
import re
import shutil
from pathlib import Path

import jax
import pytest
import rich.console
from made_runs import RULE, Recorder, trials

import learned_opt
import learned_opt.eval._evaluate
import learned_opt.eval.cost._measurements
from learned_opt.checkpoints import FolderError, WriteError, own_folder, write_atomic
from learned_opt.eval import Runner
from learned_opt.eval._evaluate import evaluate
from learned_opt.eval.contestants import artifact_subject
from learned_opt.eval.cost._measurements import _read
from learned_opt.eval.running import Archive

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "reports" / "META_TEST_V2" / "report.html"
SILENT = rich.console.Console(file=io.StringIO(), width=200)


@pytest.fixture
def made_up(monkeypatch):
    """Evaluations whose runs are made up, and whose measurements take no time."""
    recorder, measured = Recorder(), []

    def measure(*args):
        measured.append(1)
        return {}

    jax.config.update("jax_numpy_dtype_promotion", "standard")
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    monkeypatch.setattr(learned_opt.eval.cost._measurements, "_traces", measure)
    monkeypatch.setattr(learned_opt.eval.cost._measurements, "_costs", measure)
    yield recorder, measured
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def smoke(out):
    text = io.StringIO()
    console = rich.console.Console(file=text, width=500)
    subject = artifact_subject(learned_opt.load("small"))
    return evaluate(subject, "quickstart", out, smoke=True, console=console), text.getvalue()


def test_measurements_that_are_damaged_are_made_anew(made_up, tmp_path):
    _, measured = made_up
    path = tmp_path / "measured.json"
    smoke(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    assert len(measured) == 2
    _, text = smoke(tmp_path)
    assert f"note: {path} is damaged: what it held is measured again\n" in text
    assert (len(measured), path.read_bytes()) == (4, content)
    notes = []
    assert set(_read(path, notes.append)) == {"key", "traces", "cost", "step_us"}
    assert notes == []
    changed = content.replace(b'"cost": {}', b'"cost": 3')
    for bad in (b"", b"[]", b"3", b"{}", b"\xff", b"[" * 10**5, changed, b'{"hash": NaN}'):
        path.write_bytes(bad)
        assert _read(path, notes.append) == {}
        assert notes.pop() == f"{path} is damaged: what it held is measured again"


@pytest.mark.parametrize(
    ("name", "kept"), [("runs.jsonl", "[0-9]+ runs"), ("measured.json", "[0-9]+ runs"),
                       ("report.json", "[0-9]+ runs"), ("report.html", "[0-9]+ runs"),
                       ("evaluation.toml", "nothing")],
)  # fmt: skip
def test_a_full_disk_says_what_is_saved(made_up, monkeypatch, tmp_path, name, kept):
    out = tmp_path / "out"
    if name == "runs.jsonl":
        whole, appends = Path.open, []

        def full(path, *args, **kind):
            appends.extend([path] if path.name == name and args == ("ab",) else [])
            if len(appends) > 1 and args == ("ab",):
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole(path, *args, **kind)

        monkeypatch.setattr(Path, "open", full)
    else:
        whole_replace = Path.replace

        def full(path, target):
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole_replace(path, target)

        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError) as raised:
        smoke(out)
    saved = "nothing is saved yet" if kept == "nothing" else rf"{kept} are kept in {out}/runs.jsonl"
    assert re.fullmatch(
        rf"cannot write {out / name} \(No space left on device\); {saved}: make room, then give "
        "the same command again",
        str(raised.value),
    )
    lines = (out / "runs.jsonl").read_text().splitlines() if kept != "nothing" else []
    assert kept == "nothing" or f"{len(lines)} runs" in str(raised.value)
    monkeypatch.undo()


def test_a_folder_that_is_removed_meanwhile_is_made_anew(tmp_path):
    """With all runs so far, of other machines too, and held again."""
    out, recorder, said = tmp_path / "out", Recorder(), []
    with own_folder(out, "evaluation.toml", {"smoke": True}, what="an evaluation") as watch:
        Archive(out / "runs-other.jsonl").run(RULE, Recorder(), trials(2), curves=False)
        archive = Archive(out / "runs.jsonl", watch=watch)
        archive.say = said.append
        archive.run(RULE, recorder, trials(4), curves=False)
        shutil.rmtree(out)
        rows = archive.run(RULE, recorder, trials(6), curves=True)
        assert said == [
            f"{out} was removed while the command ran; the 4 runs so far are written anew"
        ]
        (out / "runs.jsonl").unlink()
        archive.mend()
        archive.mend()
        assert said[1:] == [
            f"{out}/runs.jsonl was removed while the command ran; the 10 runs so far are written "
            "anew"
        ]
        with (
            pytest.raises(FolderError, match="is in use by process"),
            own_folder(out, "evaluation.toml", {"smoke": True}, what="an evaluation"),
        ):
            pass
    assert (out / "evaluation.toml").read_text() == "smoke = true\n"
    again = Archive(out / "runs.jsonl")
    assert again.notes == []
    assert again.run(RULE, recorder, trials(6), curves=True) == rows
    assert recorder.calls == [2, 6]


def test_a_folder_that_another_has_taken_is_left_to_it(tmp_path):
    out = tmp_path / "out"
    with own_folder(out, "evaluation.toml", {}, what="an evaluation") as watch:
        archive = Archive(out / "runs.jsonl", watch=watch)
        shutil.rmtree(out)
        out.mkdir()
        (out / ".lock").write_text("process 3 on elsewhere\n")
        with pytest.raises(FolderError, match="was taken over by process 3 on elsewhere"):
            archive.run(RULE, Recorder(), trials(1), curves=False)
    assert not (out / "runs.jsonl").exists()


def test_what_was_cut_short_stays_the_last_line(monkeypatch, tmp_path):
    """After a write that failed another thread writes nothing behind it."""
    path, whole = tmp_path / "runs.jsonl", Path.open

    class Torn:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self.file.close()

        def write(self, content):
            self.file.write(content[:50])
            raise OSError(errno.ENOSPC, "No space left on device")

    archive = Archive(path)
    archive.run(RULE, Recorder(), trials(2), curves=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *args: Torn(whole(path, *args)))
        with pytest.raises(OSError, match="No space left"):
            archive.run(RULE, Recorder(), trials(4), curves=False)
    with pytest.raises(OSError, match="No space left"):
        archive.run(RULE, Recorder(), trials(5), curves=False)
    again, recorder = Archive(path), Recorder()
    assert (again.notes, len(again.runs)) == ([], 2)
    again.run(RULE, recorder, trials(5), curves=False)
    assert [t.seed for t in recorder.asked] == [2, 3, 4]


def test_runs_in_whose_place_a_folder_comes_end_in_one_sentence(made_up, monkeypatch, tmp_path):
    recorder, path = made_up[0], tmp_path / "runs.jsonl"

    def runner(runner, trials, **kind):
        # Another thread may be writing it.
        while recorder.calls and not path.is_dir():
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                path.unlink()
                path.mkdir()
        return recorder(trials, **kind)

    monkeypatch.setattr(Runner, "__call__", runner)
    with pytest.raises(WriteError) as raised:
        smoke(tmp_path)
    assert re.fullmatch(
        rf"cannot write {tmp_path}/runs.jsonl \(Is a directory\); no run is kept yet: put that "
        "right, then give the same command again",
        str(raised.value),
    )


def test_what_cannot_be_written_has_a_status_of_its_own(said, monkeypatch, tmp_path):
    def full(path, content):
        if path.name == "compare.html":
            raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))
        write_atomic(path, content)

    monkeypatch.setattr("learned_opt.eval.report._compare_page.write_atomic", full)
    assert said("compare", EXAMPLE, EXAMPLE, "--out", tmp_path) == (
        3,
        f"cannot write {tmp_path}/compare.html (Disk quota exceeded); the reports are as they "
        "were: make room, then give the same command again",
    )
