"""What is judged: artifacts, anyone's functions; and the command line that takes them."""

import dataclasses
import json
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from made_runs import Recorder
from subjects import SOURCE, TASK, artifact

from learned_opt import OPTIMIZERS, Artifact, Celo2, GatedAdam, HyperAdam, PerParamMLP
from learned_opt.eval import Hyper, Runner, Trial, artifact_subject, factory_subject
from learned_opt.eval.__main__ import main
from learned_opt.eval.contestants import (
    MULTIPLIED,
    REPORT_SEEDS,
    Protocol,
    learned_job,
    multiplied_job,
)
from learned_opt.eval.contestants._factory import ignores_horizon
from learned_opt.eval.running import Archive


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's in the working directory."""
    (tmp_path / "users_rules.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return "users_rules"


def test_a_function_is_a_subject(module):
    subject = factory_subject(f"{module}:sgd")
    assert (subject.name, subject.kind, subject.card) == ("sgd", "factory", {})
    # Takes the loss as a keyword, though plain optimizers do not.
    updates, _ = subject.make(10).update(
        jnp.ones(2), subject.make(10).init(jnp.ones(2)), jnp.ones(2), value=jnp.zeros(())
    )
    np.testing.assert_allclose(updates, -0.1, rtol=1e-6)
    assert subject.to_json()["identity"] == f"{module}:sgd"
    assert len(subject.digest) == 64


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("users_rules", "must be MODULE:FUNCTION, for example"),
        ("users_rules:none", "cannot be imported: module 'users_rules' has no attribute 'none'"),
        ("no_such_module:f", "cannot be imported: No module named 'no_such_module'"),
        ("broken_rules:f", "cannot be imported: ZeroDivisionError: division by zero"),
        ("users_rules:number", "must return an optax.GradientTransformation for a number of steps"),
        ("users_rules:raises", "raised RuntimeError: no luck, called with 100 steps; it must take"),
        ("users_rules:nothing", "raised TypeError: nothing() takes 0 positional arguments but 1"),
    ],
)
def test_what_is_no_optimizer_is_one_sentence(module, where, message, capsys, tmp_path):
    Path("broken_rules.py").write_text("1 / 0")
    assert main(["--optimizer", where, "--out", str(tmp_path / "report")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --optimizer ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("args", [[], ["quickstart", "--optimizer", "a:b"]])
def test_one_optimizer_is_judged(args, capsys, tmp_path):
    with pytest.raises(SystemExit):
        main([*args, "--out", str(tmp_path)])
    assert "give either an artifact or --optimizer MODULE:FUNCTION" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "free", "traced"),
    [
        ("sgd", True, True), ("adam", True, True), ("stops", False, True), ("warm", False, True),
        ("cosine", False, False), ("warm_up_and_cosine", False, False),
        ("one_cycle", False, False), ("linear", False, False), ("piecewise", False, False),
        ("tenth", False, False), ("unused", True, False), ("picky", False, False),
    ],
)  # fmt: skip
def test_what_a_function_does_with_the_number_of_steps_is_found_out(
    standard, module, name, free, traced
):
    """By its updates; what cannot be tried counts as told, and gets plain integers."""
    subject = factory_subject(f"{module}:{name}")
    assert subject.horizon_free == subject.to_json()["horizon_free"] == free
    assert subject.traced == traced


def test_a_schedule_of_plain_integers_runs_at_every_length(standard, module):
    """A program for each number of steps that is told."""
    runner = factory_subject(f"{module}:warm_up_and_cosine").runner()
    trials = [Trial(TASK, Hyper(1.0), 0, told) for told in (1.0, 1.5, 1.0)]
    curves = runner(trials)
    assert len(runner.programs) == 2

    def make(hyper, num_steps):
        ramp = lambda t: jnp.minimum(t / (num_steps // 10), 1.0)  # noqa: E731
        part = lambda t: (t - num_steps // 10) / (num_steps - num_steps // 10)  # noqa: E731
        fall = lambda t: 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(part(t), 0.0, 1.0)))  # noqa: E731
        return optax.with_extra_args_support(optax.adam(lambda t: 3e-3 * ramp(t) * fall(t)))

    for got, want in zip(curves, Runner(make)(trials), strict=True):
        assert got.final["valid_loss"] == pytest.approx(want.final["valid_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("long_only", r"long_only raised ZeroDivisionError: .*, called with 40 steps; it must"),
        ("picky", r"the init of the optimizer of --optimizer users_rules:picky raised KeyError"),
        ("single", r"the update of .* raised ValueError: not enough values to unpack"),
        ("narrow", r"the update of .* raised TypeError: its updates had another structure"),
        ("restless", r"raised TypeError: its state had another structure, shape or dtype before"),
    ],
)
def test_what_fails_later_is_one_sentence_too(standard, module, name, message):
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    subject = factory_subject(f"{module}:{name}")

    def step():
        tx = subject.make(40)
        return tx.update(params, tx.init(params), params, value=jnp.zeros(()))

    with pytest.raises(ValueError, match=message) as raised:
        step()
    assert "\n" not in str(raised.value)


def test_trials_are_those_of_the_card():
    optimizer = PerParamMLP()
    assert artifact_subject(artifact(optimizer)).trials == 0
    tuned = artifact_subject(artifact(optimizer, trials=7))
    assert tuned.trials == tuned.to_json()["trials"] == 7


@pytest.mark.parametrize(
    "optimizer",
    [
        Celo2(), GatedAdam(horizon_free=True),
        *(pytest.param(cls(), marks=pytest.mark.slow) for cls in OPTIMIZERS if cls is not Celo2),
    ],
    ids=lambda optimizer: optimizer.name,
)  # fmt: skip
def test_a_rule_is_told_the_horizon_unless_it_says_otherwise(standard, optimizer):
    """What it declares is what its updates do, with random weights too."""
    theta = jax.tree.map(
        lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape),
        optimizer.init(jax.random.key(0)),
    )
    subject = artifact_subject(Artifact(optimizer, theta, {}))
    assert subject.horizon_free == optimizer.horizon_free == ignores_horizon(subject.make)


def test_the_subject_runs_half_as_long_again_and_under_wrong_horizons(monkeypatch, tmp_path):
    recorder = Recorder()
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    variant = dataclasses.replace(TASK, name="tiny~long", horizon=60, variant_of="tiny")
    protocol = Protocol((TASK,), (variant,), REPORT_SEEDS[:2], (0.5, 2.0))
    job = learned_job(artifact_subject(artifact(HyperAdam(), name="mine")))
    made = job.make(protocol, Archive(tmp_path / "runs.jsonl"))
    assert job.runs(protocol) == len(recorder.asked) == 2 * (1 + 1 + 2)
    assert [run.steps[-1] for run in made.runs] == [60, 60]
    assert [(run.task, run.steps[-1]) for run in made.variant_runs] == [("tiny~long", 60)] * 2
    asked = [(t.task.name, t.told, t.beyond, t.seed) for t in recorder.asked]
    assert set(asked) == {
        ("tiny", 1.0, 1.5, 100), ("tiny", 1.0, 1.5, 101),
        ("tiny~long", 1.0, 1.0, 100), ("tiny~long", 1.0, 1.0, 101),
        *(("tiny", told, 1.0, seed) for told in (0.5, 2.0) for seed in (100, 101)),
    }  # fmt: skip
    assert {told: [run.told for run in runs] for told, runs in made.misinformed.items()} == {
        0.5: [0.5, 0.5], 2.0: [2.0, 2.0],
    }  # fmt: skip
    assert not any(run.steps for runs in made.misinformed.values() for run in runs)


def test_multipliers_are_tried_in_order_and_the_best_is_run(module, monkeypatch, tmp_path):
    """Made up, a run ends the lower the smaller its multiplier: at 0.01."""
    recorder = Recorder()
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    variant = dataclasses.replace(TASK, name="tiny~long", horizon=60, variant_of="tiny")
    protocol = Protocol((TASK,), (variant,), REPORT_SEEDS[:2], (0.5, 2.0))
    job = multiplied_job(factory_subject(f"{module}:sgd"))
    made = job.make(protocol, Archive(tmp_path / "runs.jsonl"))
    assert (made.name, made.label) == (MULTIPLIED, "sgd, best of 8 step multipliers")
    assert job.runs(protocol) == len(recorder.asked) == 8 * 3 + 2
    choice = made.tuned["tiny"]
    assert [hyper.lr for hyper, _ in choice.table] == [1, 0.3, 3, 0.1, 10, 0.03, 30, 0.01]
    assert [len(row) for row in choice.losses] == [3] * 8
    assert (choice.hyper.lr, choice.trials) == (0.01, 8)
    assert [(run.lr, run.seed, run.steps[-1]) for run in made.runs] == [
        (0.01, 100, 40), (0.01, 101, 40)
    ]  # fmt: skip
    assert made.variant_runs == []


@pytest.mark.parametrize("kind", ["function", "artifact"])
def test_a_multiplier_scales_the_step_and_keeps_the_schedule(module, kind, standard):
    if kind == "function":
        subject = factory_subject(f"{module}:warm")
    else:
        subject = artifact_subject(artifact(GatedAdam()))
    params = {"linear": {"w": jnp.full((3, 2), 0.5)}}
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    sides = [subject.make(20), multiplied_job(subject).runner().make(Hyper(3.0), 20)]
    states = [tx.init(params) for tx in sides]
    for _ in range(3):
        updates = []
        for i, tx in enumerate(sides):
            update, states[i] = tx.update(grads, states[i], params, value=jnp.ones(()))
            updates.append(update["linear"]["w"])
        assert jnp.abs(updates[0]).min() > 0
        np.testing.assert_allclose(updates[1], 3 * updates[0], rtol=1e-6)


def test_the_words_of_a_command_are_kept_but_for_its_folder(monkeypatch, tmp_path):
    asked = {}

    def evaluate(*arguments, **options):
        asked.update(options)
        return types.SimpleNamespace(sentence="", seconds=0)

    monkeypatch.setattr("learned_opt.eval.__main__.evaluate", evaluate)
    words = ["quickstart", "--suite", "quickstart", "--rival", "small", "--quick"]
    for folder in (["--out", str(tmp_path)], [f"--out={tmp_path}"]):
        assert main([*words[:1], *folder, *words[1:]]) == 0
        assert asked["arguments"] == words


@pytest.mark.slow
def test_a_smoke_run_of_a_function_and_its_comparison(module):
    """The whole path in a minute; two reports side by side."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    try:
        assert main(["--optimizer", f"{module}:sgd", "--smoke", "--out", "a"]) == 0
        assert main(["quickstart", "--smoke", "--rival", "small", "--out", "b"]) == 0
        assert main(["compare", "a/report.json", "b/report.json", "--out", "both"]) == 0
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    report = json.loads(Path("a/report.json").read_text())
    assert report["smoke"]
    assert report["subject"]["name"] == "sgd"
    assert report["sentence"].startswith("sgd, untuned, against AdamW tuned for each task is")
    (everything, *_) = json.loads(Path("b/report.json").read_text())["groups"]
    ratio = everything["against"]["rival:small"]["valid_ratio"]
    assert 0 < ratio["low"] <= ratio["mid"] <= ratio["high"]
    assert Path("both/compare.html").stat().st_size > 1000
