"""Real evaluations that are killed, stopped, on a full disk or without their folder, then go on."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from processes import ROOT, environment

STOPPED = "stopped; the same command goes on where it stopped\n"


def launch(out, *more, most=None):
    """A smoke run of an evaluation; `most`: bytes of a file, as on a disk that is full."""
    process = subprocess.Popen(
        [sys.executable, "-m", "learned_opt", "eval", "quickstart", "--smoke", "--out", out, *more],
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    if most:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
    return process


def finish(process, status=0):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == status, errors
    return output, errors


def rows(out):
    """Its rows by key."""
    path = out / "runs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["key"]: row for row in map(json.loads, lines)}


def wait_for(process, condition):
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of an evaluation that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "out"
    finish(launch(out))
    return rows(out)


BUSY = """
import sys, threading, time
from learned_opt.eval import __main__ as command

def evaluate(*args, **kind):
    # What a compilation in another thread is: nothing ends it.
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("busy", flush=True)
    {then}

command.load_suite = lambda *args: []
command.evaluate = evaluate
command.main(["small", "--out", "unused"])
"""


@pytest.mark.parametrize(
    ("number", "then"),
    [
        (signal.SIGINT, "time.sleep(60)"),
        (signal.SIGTERM, "while True: print(end='', file=sys.stderr)"),
    ],
)
def test_a_signal_ends_an_evaluation_at_once_with_one_line(number, then):
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.format(then=then)], cwd=ROOT, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "busy\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (128 + number, "", STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "after"),
    [(signal.SIGKILL, 1), (signal.SIGKILL, 40), (signal.SIGINT, 0), (signal.SIGTERM, 102)],
)
def test_an_evaluation_that_is_ended_goes_on_and_has_the_same_rows(tmp_path, whole, number, after):
    """Bit for bit; `after`: rows that are there when the signal comes, 0 for at once."""
    out = tmp_path / "out"
    process = launch(out)
    if after:
        wait_for(process, lambda: len(whole) >= after <= lines(out))
    else:
        wait_for(process, lambda: (out / "evaluation.toml").exists())
    process.send_signal(number)
    status = -9 if number == signal.SIGKILL else 128 + number
    _, errors = finish(process, status)
    assert errors == ("" if number == signal.SIGKILL else STOPPED)
    output, errors = finish(launch(out))
    assert (errors, "note:" in output) == ("", False)
    assert rows(out) == whole


def lines(out):
    path = out / "runs.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_rows_do_not_depend_on_which_of_them_are_there(tmp_path, whole):
    out = tmp_path / "out"
    finish(launch(out))
    every = (out / "runs.jsonl").read_text().splitlines(keepends=True)
    kept = [line for i, line in enumerate(every) if i % 3 == 1]
    (out / "runs.jsonl").write_text("".join(kept))
    finish(launch(out))
    assert rows(out) == whole


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_evaluation_goes_on(tmp_path, whole):
    out = tmp_path / "out"
    for most, name in ((100, "evaluation.toml"), (5_000, "runs.jsonl"), (100_000, "report.html")):
        _, errors = finish(launch(out, most=most), 3)
        kept = f"{lines(out)} runs are kept in {out / 'runs.jsonl'}"
        saved = kept if lines(out) else "nothing is saved yet"
        assert errors == (
            f"error: cannot write {out / name} (File too large); {saved}: make room, then give the "
            "same command again\n"
        )
    finish(launch(out))
    assert rows(out) == whole


@pytest.mark.slow
def test_a_folder_that_is_removed_while_an_evaluation_runs_is_made_anew(tmp_path, whole):
    out = tmp_path / "out"
    process = launch(out)
    wait_for(process, lambda: lines(out) >= 1)
    shutil.rmtree(out)
    output, errors = finish(process)
    assert f"note: {out} was removed while the command ran; the " in " ".join(output.split())
    assert errors == ""
    assert rows(out) == whole
    assert {path.name for path in out.iterdir()} >= {"evaluation.toml", "report.html"}
