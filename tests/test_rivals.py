"""Rivals: the names of their jobs, and how one is tuned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_runs import Recorder
from subjects import TASK, artifact

from learned_opt import Artifact, GatedAdam, PerParamMLP
from learned_opt.eval import Hyper, Runner
from learned_opt.eval.baselines import warmup_cosine
from learned_opt.eval.contestants import REPORT_SEEDS, Protocol, rival_jobs
from learned_opt.eval.contestants._jobs import tuned_rival_job
from learned_opt.eval.running import Archive


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
