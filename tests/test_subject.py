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

from learned_opt import OPTIMIZERS, Artifact, Celo2, GatedAdam, HyperAdam, PerParamMLP
from learned_opt.eval import Hyper, Runner, Trial, artifact_subject, factory_subject
from learned_opt.eval.__main__ import main
from learned_opt.eval.baselines import warmup_cosine
from learned_opt.eval.contestants import (
    MULTIPLIED,
    REPORT_SEEDS,
    Protocol,
    learned_job,
    multiplied_job,
    rival_jobs,
)
from learned_opt.eval.contestants._factory import ignores_horizon
from learned_opt.eval.contestants._jobs import tuned_rival_job
from learned_opt.eval.running import Archive
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP

SOURCE = r"""
import jax
import optax

def sgd(num_steps):
    return optax.sgd(0.1)

def number(num_steps):
    return 3

def cosine(num_steps):
    return optax.sgd(optax.cosine_decay_schedule(0.1, num_steps))

def warm_up_and_cosine(num_steps):
    return optax.adam(optax.warmup_cosine_decay_schedule(0, 3e-3, num_steps // 10, num_steps))

def one_cycle(num_steps):
    return optax.adam(optax.cosine_onecycle_schedule(num_steps, 3e-3))

def linear(num_steps):
    return optax.adam(optax.linear_schedule(3e-3, 0, num_steps))

def piecewise(num_steps):
    return optax.adam(optax.piecewise_constant_schedule(3e-3, {num_steps // 2: 0.1}))

def tenth(num_steps):
    return optax.adam(optax.warmup_constant_schedule(0, 3e-3, int(0.1 * num_steps)))

def unused(num_steps):
    assert int(num_steps) > 0
    return optax.sgd(0.1)

def raises(num_steps):
    raise RuntimeError("no luck\nand more of it")

def nothing():
    return optax.sgd(0.1)

def long_only(num_steps):
    return optax.sgd(1 / max(0, num_steps - 50))

def single(num_steps):
    return optax.stateless(lambda updates, params: updates)._replace(update=lambda u, s, p: (u,))

def narrow(num_steps):
    return optax.stateless(lambda updates, params: updates["w"])

def restless(num_steps):
    update = lambda u, s, p: (u, s + 0.5)
    return optax.GradientTransformation(lambda params: jax.numpy.zeros((), int), update)

def stops(num_steps):
    return optax.sgd(lambda count: jax.numpy.where(count < num_steps, 0.1, 0.0))

def warm(num_steps):
    rate = lambda count: 0.1 * jax.numpy.minimum(1.0, (count + 1) / (0.05 * num_steps))
    return optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(rate))

def adam(num_steps):
    return optax.adam(lambda count: 0.1 / (1 + count))

def picky(num_steps):
    def init(params):
        return params["linear"]
    return optax.GradientTransformation(init, lambda updates, state, params: (updates, state))
"""
NETWORK = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
TASK = EvalTask("tiny", FamilySpec(NETWORK, "digits"), (("activation", 0),), 40)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's in the working directory."""
    (tmp_path / "users_rules.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return "users_rules"


@pytest.fixture
def standard():
    """optax's own code mixes dtypes, and it runs in threads."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    yield
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def artifact(optimizer, **card):
    return Artifact(optimizer, optimizer.init(jax.random.key(0)), card)


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


@pytest.mark.slow
def test_a_tuned_rival_is_tuned_like_adamw(standard, tmp_path):
    protocol = Protocol((TASK,), seeds=REPORT_SEEDS[:2], wrong_horizons=())
    rival = artifact(PerParamMLP(), name="theirs")
    contestant = tuned_rival_job(rival, "rival:theirs").make(
        protocol, Archive(tmp_path / "runs.jsonl")
    )
    assert (contestant.name, contestant.role) == ("rival:theirs:tuned", "rival")
    choice = contestant.tuned["tiny"]
    assert choice.trials >= 26
    assert {hyper.cosine for hyper, _ in choice.table} == {0.0, 1.0}
    assert len(contestant.runs) == 2


def test_rivals_have_names_of_their_own():
    """Untuned and tuned; two of one title by their hashes; the same one twice is one."""
    first, other = (
        Artifact(PerParamMLP(), PerParamMLP().init(jax.random.key(seed)), {"name": "x"})
        for seed in (0, 1)
    )
    assert list(rival_jobs([first], [first])) == ["rival:x", "rival:x:tuned"]
    assert list(rival_jobs([first, first])) == ["rival:x"]
    names = [f"rival:x {one.sha256[:6]}" for one in (first, other)]
    jobs = rival_jobs([first, other], [other])
    assert list(jobs) == [*names, f"{names[1]}:tuned"]


@pytest.mark.parametrize("tuned", [False, True])
def test_the_name_of_a_rivals_job_is_the_contestants(monkeypatch, tmp_path, tuned):
    recorder = Recorder()
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    pair = [artifact(PerParamMLP(), name="x"), artifact(PerParamMLP(hidden=5), name="x")]
    jobs = rival_jobs((), pair) if tuned else rival_jobs(pair)
    protocol = Protocol((TASK,), seeds=REPORT_SEEDS[:2], wrong_horizons=())
    found = [job.make(protocol, Archive(tmp_path / "runs.jsonl")) for job in jobs.values()]
    assert [one.name for one in found] == list(jobs)
    assert len({one.label for one in found}) == 2
    # Their rule has no horizon; the schedules that tuning tries have.
    assert [one.horizon_free for one in found] == [not tuned] * 2


def tuned_rival(optimizer):
    """(settings, number of steps) -> the optimizer that a tuned rival runs."""
    return tuned_rival_job(artifact(optimizer, name="x"), "rival:x").runner().make


@pytest.mark.parametrize("cosine", [0.0, 1.0])
def test_a_tuned_rival_has_the_schedule_that_is_tuned_in_place_of_its_own(standard, cosine):
    """Own warm-up and decay are gone; the learning rate multiplies the own peak."""
    make = tuned_rival(GatedAdam(learning_rate=3e-3, weight_decay=0.0))
    tx = make(Hyper(10.0, 0.0, cosine), jnp.int32(100))
    params = {"w": jnp.ones((3, 2))}
    state, steps = tx.init(params), []
    for _ in range(3):
        # Under equal gradients a step of Adam, which this is, has the size of its learning rate.
        update, state = tx.update({"w": jnp.ones((3, 2))}, state, params, value=jnp.ones(()))
        steps.append(float(update["w"][0, 0]))
    unit = warmup_cosine(100) if cosine else lambda count: 1.0
    np.testing.assert_allclose(steps, [-3e-2 * float(unit(t)) for t in range(3)], rtol=1e-3)


def test_a_tuned_rival_decays_what_adamw_decays(standard):
    """Weights, but no biases and no norms; by the learning rate times the weight decay."""
    make = tuned_rival(PerParamMLP())
    params = {"dense": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}}
    grads = jax.tree.map(jnp.ones_like, params)
    plain, decayed = (
        tx.update(grads, tx.init(params), params, value=jnp.ones(()))[0]
        for tx in (make(Hyper(0.1, wd), 10) for wd in (0.0, 0.5))
    )
    moved = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), plain, decayed)
    assert moved["dense"]["w"] == pytest.approx(0.1 * PerParamMLP().step_multiplier * 0.5, rel=1e-4)
    assert (moved["dense"]["b"], moved["norm"]["scale"]) == (0, 0)


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
