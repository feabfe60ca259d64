"""What an owner is told: both clocks, whether training on paid, lines that run."""

import dataclasses
import io
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest
import rich.console
from made_runs import Recorder
from own_runs import judge, make_up, probes

import learned_opt
import learned_opt.eval._own as own
from learned_opt.checkpoints import FolderError, card_markdown
from learned_opt.eval import artifact_subject
from learned_opt.eval._signals import ANEW, GOES_ON
from learned_opt.eval.plan import LEVELS
from learned_opt.eval.report import to_html
from learned_opt.eval.report.owner import code, owner_sentences
from learned_opt.eval.report.owner._choice import advice
from learned_opt.eval.report.owner._markdown import owner_markdown
from learned_opt.eval.report.owner._words import amount, ends, ratio
from learned_opt.eval.statistics import Estimate, Speedup
from learned_opt.tasks import load_task


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A made-up evaluation of `small` beside `lean`."""
    words = ["small", "--rival", "here/lean.safetensors", "--task", "a:b"]
    with pytest.MonkeyPatch.context() as patch:
        make_up(patch, Recorder(), [probes()])
        patch.setattr("learned_opt.eval.plan._plan.LEVELS", LEVELS[3:4])
        subject = artifact_subject(learned_opt.load("small"))
        rivals = [learned_opt.load("lean")]
        out = tmp_path_factory.mktemp("out")
        return judge(subject, out, rivals=rivals, arguments=words)[0]


def speedup(mid, low=None, high=None):
    return Speedup(
        low=low, least=mid, most=mid, high=high, mid=mid, bound="", text=f"{mid:.2f}x", pairs=10,
        missed=0, both_missed=0,
    )  # fmt: skip


def told(report, against):
    """The report with other comparisons, name -> fields, of what was trained on from `lean`."""
    (task,) = report.tasks
    found = {n: dataclasses.replace(task.against[n], **fields) for n, fields in against.items()}
    card = {"start": {"name": "lean", "sha256": "0"}}
    return dataclasses.replace(
        report,
        subject=dataclasses.replace(report.subject, card=card),
        tasks=[dataclasses.replace(task, against=task.against | found)],
    )


def estimate(low, mid, high):
    return Estimate(mid=mid, low=low, high=high)


def test_ratios_print_no_end_as_1_that_is_another_number():
    assert ratio(estimate(0.99, 0.9966, 0.9982)) == "0.997 [0.990, 0.998]"
    assert ratio(estimate(0.9982, 1.0, 1.02)) == "1.000 [0.998, 1.020]"
    assert ratio(estimate(1.0, 1.0, 1.0)) == "1.00 [1.00, 1.00]"
    assert ratio(estimate(0.8, 0.9, 1.1)) == "0.90 [0.80, 1.10]"
    assert ratio(estimate(None, None, None)) == "– [–, –]"
    assert (amount(speedup(1.15)), ends(speedup(1.15, 1.04))) == ("1.15 times", " (at least 1.04)")
    assert ends(speedup(1.15, 1.04, 1.2)) == " [1.04, 1.20]"
    assert (ends(speedup(1.1, None, 1.2)), ends(speedup(1.1))) == (" (at most 1.20)", "")


def test_the_clock_stands_beside_the_steps_and_losing_is_not_hidden(report):
    slow = {"speedup": speedup(1.15, 1.04), "speedup_seconds": speedup(0.55, 0.49)}
    lost = {"speedup": speedup(0.92, 0.88, 0.99), "speedup_seconds": None}
    found = told(report, {"adamw": slow, "muon": lost})
    rows = [
        dataclasses.replace(row, step=210.0 if row.optimizer == "learned" else 100.0)
        for row in report.cost.rows
    ]
    found = dataclasses.replace(found, cost=dataclasses.replace(report.cost, rows=rows))
    text = " ".join(part for parts in owner_sentences(found) for part in parts)
    assert (
        "small reaches the 90 % target 1.15 times as fast as tuned AdamW in steps (at least 1.04) "
        "but 0.55 times as fast in seconds (at least 0.49), for a step takes 2.10 times as long."
    ) in text
    assert text.count("The 90 % target lies nine tenths of the way, in log loss, ") == 1
    assert "…" not in text
    (task,) = found.tasks
    best = {"adamw": "", "muon": "0.92 times as fast as tuned Muon in steps [0.88, 0.99]"}
    assert best[advice(found, task).tuned] in text


def bounds(least, most):
    return dataclasses.replace(speedup(1.0), mid=None, least=least, most=most, text="bounds")


@pytest.mark.parametrize(
    ("steps", "clock", "word"),
    [
        (speedup(0.9), speedup(1.2), "but"),
        (speedup(1.2), speedup(1.1), "and"),
        (bounds(1.2, 1.4), bounds(0.5, 0.7), "but"),
        (bounds(0.9, 1.4), bounds(0.5, 0.7), "and"),
        (bounds(1.2, None), bounds(None, 0.7), "but"),
    ],
)
def test_but_stands_where_one_clock_says_faster_and_the_other_slower(report, steps, clock, word):
    found = told(report, {"adamw": {"speedup": steps, "speedup_seconds": clock}})
    assert re.search(rf" in steps {word} .* in seconds", owner_sentences(found)[1][0])


def test_where_every_run_diverged_nothing_is_advised(tmp_path, monkeypatch):
    make_up(monkeypatch, Recorder(float("nan")), [probes()])
    monkeypatch.setattr("learned_opt.eval.plan._plan.LEVELS", LEVELS[-1:])
    found = judge(artifact_subject(learned_opt.load("small")), tmp_path)[0]
    assert owner_sentences(found)[0][0].startswith(
        "Nothing trained task: all runs of all 3 optimizers diverged, so that nothing is said of "
    )
    assert "% target" not in found.sentence
    assert "decides nothing" not in found.sentence
    assert "<pre>" not in to_html(found).partition("</header>")[0]
    assert "```python" not in owner_markdown(found)


@pytest.mark.parametrize(
    ("interval", "first", "use"),
    [
        ((1.1, 1.2, 1.3), "Training on did not pay for task: stay with lean.", "rival:lean"),
        (
            (0.998, 1.0, 1.02),
            "Whether training on paid for task is undecided: stay with lean.",
            "rival:lean",
        ),
        ((0.8, 0.9, 0.95), "Train task with small: ", "learned"),
    ],
)
def test_what_gained_nothing_is_not_advised(report, interval, first, use):
    """The losses of the two learned ones are far below those of all others."""
    (task,) = report.tasks
    low = dataclasses.replace(task.results["learned"].seed_losses, valid=[1e-9] * report.seeds)
    results = task.results | {
        name: dataclasses.replace(task.results[name], seed_losses=low)
        for name in ("learned", "rival:lean")
    }
    far = {name: {"valid_ratio": estimate(0.1, 0.1, 0.1)} for name in report.nobody_tuned()}
    found = told(report, far | {"rival:lean": {"valid_ratio": estimate(*interval)}})
    found = dataclasses.replace(found, tasks=[dataclasses.replace(found.tasks[0], results=results)])
    said = owner_sentences(found)
    assert said[0][0].startswith(first)
    assert advice(found, found.tasks[0]).use == use
    open_ = "small ends at 1.000 [0.998, 1.020] times the loss of lean (undecided)."
    assert (open_ in said[1]) is (interval[1] == 1.0)
    line = code(found, found.tasks[0], use)
    assert ("here/lean.safetensors" in line) is (use == "rival:lean")
    assert "Losses at the end" not in to_html(found)


def test_every_line_to_paste_runs_in_an_empty_namespace(report, tmp_path, monkeypatch):
    """With one update; those that need the loss are given it, as the line says."""
    (task,) = report.tasks
    learned_opt.load("lean").save(tmp_path / "lean.safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").symlink_to(tmp_path)
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    grads = jax.tree.map(jnp.cos, params)
    for name in ("learned", "rival:lean", "adamw", "muon", *report.nobody_tuned()):
        text, names = code(report, task, name), {}
        with jax.numpy_dtype_promotion("standard"):
            exec(text, names)
            state = names["tx"].init(params)
            extra = {"value": 1.0} if "value=loss" in text else {}
            update, _ = names["tx"].update(grads, state, params, **extra)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), params,
                             optax.apply_updates(params, update))  # fmt: skip
        assert max(jax.tree.leaves(moved)) > 0, name


def test_tasks_of_a_list_are_called_what_the_module_calls_them(project):
    assert [task.name for task in load_task("mine:both")] == ["line", "small"]


def test_a_card_says_what_it_was_trained_for():
    artifact = learned_opt.load("small")
    card = {
        **artifact.card, "name": "small-x", "results": [],
        "config": {"families": [{"task": "my:x"}], "valid": {"horizon": 300}},
        "trained_on": {"families": [{"weight": 1, "problem": {"name": "x"}, "data": "own:x",
                                     "batch_size": 64}]},
    }  # fmt: skip
    page = card_markdown(dataclasses.replace(artifact, card=card))
    assert 'learned("small-x.safetensors", num_steps=300)' in page
    assert "| x on own:x, batch 64 |" in page
    assert "learned-opt eval small-x.safetensors --task my:x --out DIR" in page


def test_what_was_timed_is_found_again(project, monkeypatch):
    calls, made = [], probes(name="line")["line"]
    monkeypatch.setattr(own, "probe", lambda task, runs: calls.append(task.name) or made)
    jobs = own.everyone(artifact_subject(learned_opt.load("small")))
    task, text = load_task("mine:line"), io.StringIO()
    console = rich.console.Console(file=text, width=500)
    old = project / "cache" / "probes" / "old.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    os.utime(old, (0, 0))
    with pytest.raises(ValueError, match="; try --budget "):
        own.plan_own(jobs, task, console, budget=1.0)
    assert not old.exists()
    plan = own.plan_own(jobs, task, console)
    assert (calls, dict(plan.probes)) == (["line"], {"line": made})
    assert text.getvalue().count("line: compiling AdamW and the learned one, then timing") == 1
    assert json.dumps(own.own_facts(plan))


def test_a_folder_that_is_anothers_names_whose_it_is(project, monkeypatch):
    """And one of which no plan was made is nobody's."""
    monkeypatch.setattr(own, "probe", lambda task, runs: probes(name="line")["line"])
    task = load_task("mine:line")
    small, lean = (artifact_subject(learned_opt.load(name)) for name in ("small", "lean"))
    with pytest.raises(ValueError, match=r"^--budget must be "):
        judge(small, project / "out", task, budget=1.0)
    monkeypatch.setattr(own, "run_jobs", lambda *args, **options: sys.exit(5))
    for subject in (small, small):
        with pytest.raises(SystemExit):
            judge(subject, project / "out", task)
    with pytest.raises(
        FolderError, match=r"\(subject was 'small, 0b2144d6b170ba70', is now 'lean, "
    ):
        judge(lean, project / "out", task)


@pytest.mark.parametrize("go_on", [GOES_ON, ANEW])
def test_a_stopped_plan_does_not_say_that_it_goes_on(go_on):
    words = (
        "import os, signal, time\n"
        "from learned_opt.eval._signals import end_on_signals\n"
        f"with end_on_signals({go_on!r}):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, f"stopped; the same command {go_on}\n")
