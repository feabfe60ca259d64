"""Real processes, stopped and killed: --resume ends with the same theta, bit for bit."""

import functools
import json
import math
import random
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest
from processes import CACHE, TABLE, finish, launch, rows, same_run, wait_for, write_config

import learned_opt
from learned_opt import meta_train
from learned_opt.checkpoints import CheckpointError, Store, saved_steps
from learned_opt.meta_train import Config
from learned_opt.meta_train.__main__ import main
from learned_opt.meta_train.run import _provenance
from learned_opt.meta_train.run._log import Log, validation_curve


@pytest.mark.parametrize(
    "kill_after_rows", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1)), 4]
)
def test_sigkill_and_resume_is_bit_identical(uninterrupted, config, tmp_path, kill_after_rows):
    """Killed while compiling, after the row of the untrained theta, and in the middle."""
    out = tmp_path / "run"
    process = launch(config, "--out", out)
    wait_for(process, lambda: len(rows(out)) >= kill_after_rows and (out / "config.toml").exists())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(rows(out)) < 7
    assert not (out / "tiny.safetensors").exists()
    output = finish(launch("--out", out, "--resume"))
    # The save after the last row may have been in flight; those before it are whole.
    if kill_after_rows > 2:
        assert "Resuming after" in output
    same_run(uninterrupted, out)
    card = learned_opt.load(out / "tiny.safetensors").card
    assert card["command"] == f"learned-opt meta-train {config} --out {out}"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    uninterrupted, config, tmp_path, number, status
):
    """No step is lost: it goes on from the last row. And --resume finds the run by itself."""
    out = tmp_path / "runs" / "some" / "run"
    # So many steps that they cannot be done before the signal.
    long = ["--set", "run.outer_steps=200000"]
    process = launch(config, *long, "--out", out)
    wait_for(process, lambda: len(rows(out)) >= 3)
    process.send_signal(number)
    output = finish(process, status)
    done = rows(out)[-1]["step"]
    assert f"stopped: saved after {done} of 200000 outer steps; continue with --resume" in output
    assert "Traceback" not in output
    told = "note: stopping when this log interval is done and saved; a second Ctrl-C stops at once"
    assert output.count(told) == 1
    assert saved_steps(out / "checkpoints")[-1] == done
    again = launch(*long, "--resume", "--out", out)
    wait_for(again, lambda: rows(out)[-1]["step"] > done)
    again.send_signal(signal.SIGTERM)
    assert f"Resuming after {done} of 200000" in finish(again, 143)


def test_resume_alone_finds_the_newest_unfinished_run(tmp_path, monkeypatch):
    from learned_opt.meta_train.__main__ import newest_unfinished

    for i, name in enumerate(("old", "new", "done")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.toml").write_text("")
        if name == "done":
            (folder / "x.safetensors").write_text("")
        stamp = 1_000_000 + i
        for path in folder.iterdir():
            import os

            os.utime(path, (stamp, stamp))
    assert newest_unfinished(tmp_path) == tmp_path / "new"
    with pytest.raises(meta_train.ConfigError, match="there is no unfinished run in"):
        newest_unfinished(tmp_path / "done" / "nothing")


def test_a_finished_run_resumes_to_itself_and_is_not_started_over(uninterrupted, config, capsys):
    before = (uninterrupted / "metrics.jsonl").read_text()
    assert main([str(config), "--out", str(uninterrupted)]) == 2
    assert "already holds this run; continue it with --resume" in capsys.readouterr().err
    finish(launch(config, "--out", uninterrupted, "--resume"))
    assert (uninterrupted / "metrics.jsonl").read_text() == before


def test_another_configuration_is_refused(uninterrupted, config, capsys):
    words = [str(config), "--out", str(uninterrupted), "--resume", "--set", "run.seed=5"]
    assert main(words) == 2
    assert "run.seed was 0, is now 5" in capsys.readouterr().err


@pytest.mark.parametrize(("step", "kept"), [(0, []), (2, [0, 2]), (4, [0, 2, 4])])
def test_a_log_forgets_what_the_checkpoint_does_not_have(tmp_path, step, kept):
    """At 0 the run starts anew and writes the row of the untrained theta again."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {i}}}\n' for i in (0, 2, 4)) + '{"step": 6, "lo')
    log = Log(tmp_path, step)
    log.append({"step": 9})
    log.close()
    assert [row["step"] for row in rows(tmp_path)] == [*kept, 9]


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path):
    """SIGKILL at up to the time that a run needs to its end, until twenty have struck."""
    config = write_config(tmp_path, run={"outer_steps": 60})
    uninterrupted = tmp_path / "run0"
    rng, kills, runs, midway, span = random.Random(0), 0, 0, 0, math.inf
    while kills < 20:
        out, start = tmp_path / f"run{runs}", time.monotonic()
        process = launch(config, "--out", out, "--resume")
        try:
            # The first run of all is left alone: it says how long one takes.
            process.wait(None if span == math.inf else rng.uniform(0.3, 1.0) * span)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
            midway += 0 < len(rows(out)) < 31
        output = process.communicate()
        if process.returncode == 0:
            same_run(uninterrupted, out, 60)
            runs, span = runs + 1, min(span, time.monotonic() - start)
        else:
            assert process.returncode == -signal.SIGKILL, output
    finish(launch(config, "--out", out, "--resume"))
    same_run(uninterrupted, out, 60)
    # The others struck while it was compiling.
    assert midway >= 10


@pytest.fixture
def tiny(tmp_path):
    """A run in this process. optax's schedules mix dtypes; compilation has threads of its own, so
    the setting is changed for all."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    jax.config.update("jax_compilation_cache_dir", CACHE.name)
    yield functools.partial(_tiny, tmp_path)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_compilation_cache_dir", None)


def _tiny(tmp_path, out="run", resume=False, code=False, **sections):
    table = {k: v | sections.get(k, {}) for k, v in TABLE.items()}
    table["run"] = TABLE["run"] | {"outer_steps": 4, "log_every": 2} | sections.get("run", {})
    table["outer"] = sections.get("outer", {})
    return meta_train.meta_train(
        Config.from_dict(table), tmp_path / out, resume=resume, accept_new_code=code
    )


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, [2, 4]), (1e6, [4])])
def test_a_checkpoint_is_made_by_the_clock_and_at_the_end(tiny, tmp_path, seconds, steps):
    tiny(save={"seconds": seconds})
    assert saved_steps(tmp_path / "run" / "checkpoints") == steps


def test_the_card_keeps_the_curve_of_meta_validation(tiny, tmp_path):
    curve = tiny().card["meta_valid_curve"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    seen = {row["step"]: round(row["valid_loss"], 4) for row in map(json.loads, lines)}
    assert dict(zip(curve["outer_steps"], curve["valid_loss"], strict=True)) == seen
    assert list(seen) == [0, 2, 4]
    path = tmp_path / "run" / "metrics.jsonl"
    rows = [{"step": i, "valid_loss": float(i)} for i in range(100)] + [{"step": 100}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    thinned = validation_curve(tmp_path / "run", points=30)
    assert thinned["outer_steps"] == list(range(3, 100, 4))


def test_the_card_counts_what_the_artifact_it_started_from_has_seen_and_cost(tiny, tmp_path):
    first = tiny("first")
    start = str(tmp_path / "first" / "tiny.safetensors")
    family = {"problem": "rosenbrock", "data": "points/4"}
    artifact = tiny("second", run={"start": start}, family=family)
    card, before = artifact.card, first.card
    assert card["trained_on"]["networks"] == ["quadratic", "rosenbrock"]
    for unit in ("outer_steps", "inner_steps"):
        assert card["budget"][unit] == pytest.approx(2 * before["budget"][unit], rel=0.2)
    assert card["start"]["sha256"] == first.sha256
    assert card["start"]["budget"] == before["budget"]
    text = (tmp_path / "second" / "tiny.md").read_text()
    assert f"| started from | tiny, `{first.sha256[:12]}`" in text
    assert f"{card['meta_valid_loss_untrained']} at the start |" in text
    assert card["meta_valid_loss_untrained"] != before["meta_valid_loss_untrained"]


def test_the_best_theta_so_far_can_be_exported_from_a_run_that_goes_on(tiny, tmp_path, capsys):
    whole = tiny().theta
    (tmp_path / "run" / "tiny.safetensors").unlink()
    # What another process, whose run goes on, is saving just now.
    unfinished = tmp_path / "run" / "checkpoints" / "9.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert main(["--export", "--out", str(tmp_path / "run")]) == 0
    assert unfinished.exists()
    found = learned_opt.load(tmp_path / "run" / "exports" / "tiny.safetensors")
    jax.tree.map(np.testing.assert_array_equal, found.theta, whole)
    begun = f"learned_opt.meta_train.meta_train(Config(...), {str(tmp_path / 'run')!r})"
    assert found.card["command"] == begun
    (tmp_path / "run" / "command.txt").unlink()  # as in a folder of before there was one
    assert main(["--export", "--last", "--out", str(tmp_path / "run")]) == 0
    found = learned_opt.load(tmp_path / "run" / "exports" / "tiny.safetensors")
    assert found.card["best_step"] == 4
    config = tmp_path / "run" / "config.toml"
    assert found.card["command"] == f"learned-opt meta-train {config} --out {tmp_path / 'run'}"
    newest = rows(tmp_path / "run")[-1]["valid_loss"]
    assert found.card["meta_valid_loss"] == pytest.approx(newest, abs=1e-5)
    assert main(["--last", "--out", str(tmp_path / "run")]) == 2
    assert "--last says which theta --export writes: add --export" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert main(["--export", "--out", str(tmp_path / "run")]) == 2
    assert "metrics.jsonl tells of 4 outer steps: put the checkpoints" in capsys.readouterr().err
    (tmp_path / "run" / "metrics.jsonl").unlink()
    (tmp_path / "run" / "exports" / "tiny.safetensors").unlink()
    assert main(["--export", "--out", str(tmp_path / "run")]) == 2
    assert "no checkpoint yet, so there is nothing to export" in capsys.readouterr().err


def test_a_checkpoint_of_other_code_is_refused_unless_accepted(tiny, tmp_path, monkeypatch):
    tiny()
    (tmp_path / "run" / "tiny.safetensors").unlink()
    now = _provenance.code_identity()
    monkeypatch.setattr(_provenance, "code_identity", lambda: now | {"tasks": "0123456789ab"})
    with pytest.raises(CheckpointError) as error:
        tiny(resume=True)
    assert f"code.tasks was '{now['tasks']}', is now '0123456789ab'" in str(error.value)
    assert "--accept-new-code" in str(error.value)
    assert tiny(resume=True, code=True).card["budget"]["outer_steps"] == 4


def test_checkpoints_moved_under_another_configuration_are_refused(tiny, tmp_path):
    tiny()
    (tmp_path / "run" / "config.toml").unlink()
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "kept")
    for path in (tmp_path / "run").iterdir():
        if path.is_file():
            path.unlink()
    (tmp_path / "other").mkdir()
    tiny(out="other2", run={"seed": 4})
    (tmp_path / "other2" / "checkpoints").rename(tmp_path / "gone")
    (tmp_path / "kept").rename(tmp_path / "other2" / "checkpoints")
    with pytest.raises(CheckpointError, match=r"config\.run\.seed was 0, is now 4"):
        tiny(out="other2", resume=True, run={"seed": 4})


def test_a_diverging_run_stops_and_keeps_the_best_theta(tiny, tmp_path):
    """An outer step of 1e3 throws theta away at once: the untrained theta is what is exported."""
    with pytest.raises(meta_train.DivergedError) as error:
        tiny(run={"outer_steps": 40, "tolerance": 0.01}, outer={"learning_rate": 1e3, "clip": 0.0})
    message = str(error.value)
    assert "3 times in a row up to outer step" in message
    assert "the best theta (outer step 0, meta-validation loss" in message
    artifact = learned_opt.load(tmp_path / "run" / "tiny.safetensors")
    want = artifact.optimizer.init(jax.random.split(jax.random.key(0), 3)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), artifact.theta, want)
    assert len(rows(tmp_path / "run")) < 20


def test_metrics_go_to_json_lines_and_tensorboard(tiny, tmp_path):
    tiny()
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == [0, 2, 4]
    for name in ("inner_steps_per_second", "outer_steps_per_second", "meta_loss", "valid_loss"):
        assert np.isfinite(found[-1][name])
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert b"valid_loss" in events.read_bytes()


def test_store_keeps_the_newest_and_the_best(tmp_path):
    store = Store(tmp_path, keep=2, best=1)
    for step, score in ((1, 0.5), (2, 0.1), (3, 0.7), (4, 0.6), (5, None)):
        store.save(step, state(step / 7), FACTS, score=score)
        store.close()
    assert saved_steps(store.directory) == [2, 4, 5]


def test_a_save_holds_what_was_there_though_the_buffers_are_reused(tmp_path):
    store = Store(tmp_path)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jax.numpy.zeros(200_000)
    for step in range(5):
        store.save(step, {"x": x}, FACTS)
        for _ in range(20):
            x = add(x)
    store.close()
    _, loaded, _ = store.restore({"x": x})
    np.testing.assert_array_equal(loaded["x"], np.full(200_000, 80.0))


FACTS = {"note": 1}


def state(value):
    return {"x": jax.numpy.full(3, value), "key": jax.random.key(7)}


def test_store_keeps_keys_and_bits_and_falls_back_on_damage(tmp_path):
    store = Store(tmp_path)
    for step in (1, 2, 3):
        store.save(step, state(step / 7), {"note": step})
    store.close()
    found, loaded, facts = Store(tmp_path).restore(state(0.0))
    assert (found, facts) == (3, {"note": 3})
    np.testing.assert_array_equal(loaded["x"], state(3 / 7)["x"])
    assert jax.random.key_data(loaded["key"]).tolist() == [0, 7]
    # Half-deleted, as a kill during deletion leaves it.
    for file in sorted((tmp_path / "3").rglob("*")):
        if file.is_file() and "state" in str(file):
            file.unlink()
    store = Store(tmp_path)
    found, loaded, _ = store.restore(state(0.0))
    assert found == 2
    # Going on from step 2 comes to step 3 again.
    store.save(3, state(9.0), {"note": "again"})
    store.close()
    found, loaded, facts = store.restore(state(0.0))
    assert (found, facts["note"], float(loaded["x"][0])) == (3, "again", 9.0)
    for file in sorted((tmp_path / "3").rglob("*")):
        if file.is_file() and "state" in str(file):
            file.unlink()
    for file in sorted((tmp_path / "2").rglob("*")):
        if file.is_file() and "state" in str(file):
            file.unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole"):
        Store(tmp_path).restore(state(0.0))


def test_an_empty_store_restores_nothing(tmp_path):
    assert Store(tmp_path).restore(state(0.0)) is None
