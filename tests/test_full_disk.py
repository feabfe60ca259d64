"""A full disk ends a run with one sentence, and leaves what was saved before good."""

import shutil
import subprocess
import sys

import pytest
from processes import finish, launch, rows, same_run

from learned_opt.meta_train.run._log import Log, validation_curve

FULL = """
import resource, sys
import jax.numpy as jnp
from learned_opt.checkpoints import SaveError, Store, quiet_saves, saved_steps

def limit(most):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

store, x = Store(sys.argv[1], keep=1), {"x": jnp.arange(1000)}
store.save(1, x, {"note": 1})
store.close()
for most in (40, 200, 400):
    limit(most)
    try:
        with quiet_saves():
            store.save(2, x, {"note": 2})
            store.close()
    except SaveError as error:
        print(error.strerror, saved_steps(sys.argv[1]), store.restore(x)[2])
    limit(resource.RLIM_INFINITY)
store.save(2, x, {"note": 2})
store.close()
print(saved_steps(sys.argv[1]), store.restore(x)[2])
"""


def test_a_save_on_a_full_disk_is_one_error_and_leaves_those_before(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], text=True, capture_output=True, check=True
    )
    failed = "File too large [1] {'note': 1}"
    assert done.stdout.splitlines() == [*[failed] * 3, "[2] {'note': 2}"]
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "what"), [(15_000, "checkpoints"), (2_500, "checkpoints"), (None, "metrics.jsonl")]
)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_saved(
    uninterrupted, config, tmp_path, most, what
):
    """Of a run of 12 outer steps the last checkpoint and the artifact are lost, then room is."""
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    shutil.rmtree(out / "checkpoints" / "12")
    for name in ("tiny.safetensors", "tiny.md"):
        (out / name).unlink()
    kept = (out / "metrics.jsonl").read_text().splitlines(True)[:-1]
    most = most or len("".join(kept)) + 50  # what is there and half a row
    output = finish(launch("--out", out, "--resume", most=most), 3)
    said = [line for line in output.splitlines() if line.startswith("error: ")]
    assert said == [
        f"error: cannot write {out / what} (File too large); the last checkpoint is of outer step "
        "10: make room, then continue with --resume"
    ]
    assert "Traceback" not in output
    assert "Resuming after 10" in finish(launch("--out", out, "--resume"))
    same_run(uninterrupted, out)


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_loses_nothing(uninterrupted, config, tmp_path):
    out = tmp_path / "run"
    said = finish(launch(config, "--out", out, most=300), 3)
    assert said.startswith(f"error: cannot write {out / 'config.toml'} (File too large); nothing ")
    output = finish(launch(config, "--out", out, most=15_000), 3)
    assert "nothing is saved yet: make room, then continue with --resume" in output
    assert "Traceback" not in output
    finish(launch(config, "--out", out, "--resume"))
    same_run(uninterrupted, out)


def test_tensorboard_that_cannot_be_written_ends_no_run(tmp_path):
    (tmp_path / "tensorboard").write_text("in its way")
    notes = []
    log = Log(tmp_path, 0, notes.append)
    log.append({"step": 0, "loss": 1.0})
    log.close()
    assert notes == ["note: TensorBoard's file cannot be written (File exists)"]
    assert rows(tmp_path) == [{"step": 0, "loss": 1.0}]


def test_a_row_that_was_cut_short_is_left_out_of_the_curve(tmp_path):
    whole = '{"step": 0, "valid_loss": 1.5}\n'
    (tmp_path / "metrics.jsonl").write_text(whole + '{"step": 2, "valid_l')
    assert validation_curve(tmp_path) == {"outer_steps": [0], "valid_loss": [1.5]}
