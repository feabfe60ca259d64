"""`--plan` says what would be run, and writes nothing but programs."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from processes import TABLE, write_config

import learned_opt.meta_train.run
from learned_opt.checkpoints import Store, claim_folder
from learned_opt.meta_train import Backprop, Config, Evosax, FullES, Programs, build, load_config
from learned_opt.meta_train.__main__ import main
from learned_opt.meta_train.run import _plan, _probe, _provenance


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


PROBE = _probe.Probe(
    ("mlp-digits", "conv-digits"), (1234.4, 100.0), (0.75, 0.25), 5, 3, 61.2, 3.0, 20.0, 950.0,
    1_500_000, 2.5, 0.125,
)  # fmt: skip
PROBED = [
    "family       inner steps/s  time\n"
    "mlp-digits           1,234   75%\n"
    "conv-digits            100   25%",
    "compiled          5 programs in 61 s, of which 3 were found on disk\n"
    "speed             950 inner steps/s, 3 s an outer step, 20 s a meta-validation\n"
    "memory, compiled  1.5 MB on each device\n"
    "to the end        2.5 hours, 12% of it meta-validation",
]


@pytest.fixture(autouse=True)
def probed(monkeypatch):
    """Nothing is compiled here: a probe is tested with the programs that are kept."""
    monkeypatch.setattr(learned_opt.meta_train.run, "probe_run", lambda plan: PROBE)


def planned(capsys, *words):
    """The facts of a plan, by name, and its table."""
    status = main([*map(str, words), "--plan"])
    said = capsys.readouterr()
    assert said.err == ""
    assert status == (2 if "refused: " in said.out else 0)
    head, table, facts, *probed = said.out.strip("\n").split("\n\n")
    assert head.endswith(": nothing is trained.")
    over = "refused: " in facts or "all of it done" in facts
    assert probed == ([] if over else PROBED)
    rows = [re.split(r"\s{2,}", line) for line in table.splitlines()]
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in facts.splitlines()), rows


def contents(folder):
    return sorted((p, p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))


def test_a_plan_says_what_would_be_run(tmp_path, config, capsys):
    before = contents(tmp_path)
    facts, rows = planned(capsys, config, "--out", tmp_path / "run", "--set", "run.outer_steps=20")
    assert rows == [
        ["family", "weight", "pairs", "batch"],
        ["quadratic-points/20", "100%", "8", "4"],
    ]
    theta = jax.eval_shape(Config.from_dict(TABLE).optimizer.init, jax.random.key(0))
    count = sum(x.size for x in jax.tree.leaves(theta))
    saves = facts.pop("checkpoints")
    memory = facts.pop("memory")
    devices = jax.device_count()
    used = math.gcd(8, devices)
    assert facts == {
        "optimizer": f"gated_adam, theta of {count} numbers",
        "estimator": "pes, runs of 20 to 60 steps, 10 at a time",
        "outer steps": "20, a log line every 2",
        "inner steps": "about 160 an outer step, 3,200 in all",
        "meta-validation": "11 times 8 runs, 1,760 inner steps in all",
        "programs": "1 to compile for training, 1 for meta-validation",
        "devices": f"{used} of {devices} x cpu, {8 // used} pairs on each",
        "folder": f"{tmp_path / 'run'}: a new run begins there",
    }
    assert saves == "17.4 kB each; the newest 2 and the best 1 are kept"
    assert re.fullmatch(
        r"at least [\d.]+ kB of the [\d.]+ [GT]B that this machine has \(.*\)", memory
    )
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("hours", "said"), [(0.014, "0.014"), (9.66, "9.7"), (130.4, "130")])
def test_hours_are_told_as_people_say_them(hours, said):
    *_, last = _probe._lines(dataclasses.replace(PROBE, hours=hours))
    assert f"  {said} hours, " in last


def test_a_plan_of_several_families(capsys, tmp_path):
    family = TABLE["family"]
    others = [family, family | {"batch_size": 8, "weight": 2.0}]
    table = {key: value for key, value in TABLE.items() if key != "family"}
    path = tmp_path / "several.toml"
    path.write_text(tomli_w.dumps(table | {"families": others}))
    facts, rows = planned(capsys, path, "--set", "valid.every=4")
    assert [row[1:] for row in rows[1:]] == [["33%", "8", "4"], ["67%", "16", "8"]]
    assert facts["programs"] == "2 to compile for training, 2 for meta-validation"
    assert facts["inner steps"] == "about 480 an outer step, 5,760 in all"
    # At outer steps 0, 8 and 12; four runs of each family.
    assert facts["meta-validation"] == "3 times 8 runs, 480 inner steps in all"


def test_a_shipped_configuration_is_planned_by_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts, rows = planned(capsys, "quickstart")
    assert rows[1] == ["mlp-digits", "100%", "16", "64"]
    assert facts["folder"] == "runs/quickstart: a new run begins there"
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_as_large_as_it_says(config):
    plan = _plan.plan_run(load_config(config), "nowhere")
    state = Programs(*plan.setup, 2).start
    assert plan.checkpoint == sum(x.nbytes for x in jax.tree.leaves(state))
    assert plan.meta_parameters == sum(x.size for x in jax.tree.leaves(state.theta))


def old(config):
    """A configuration as it was written before its keys were renamed."""
    run = {"chunk" if key == "log_every" else key: value for key, value in config["run"].items()}
    estimator = {key: value for key, value in config["estimator"].items() if key != "scale"}
    return config | {"run": run, "estimator": {**estimator, "sign": False}}


def saved_run(out, steps, renew=lambda config: config, **other):
    """A folder as a run leaves it that was killed after so many outer steps."""
    config = Config.from_dict(TABLE)
    facts = renew(config.to_dict())
    claim_folder(out, "config.toml", facts, what="a run", resume=False)
    if steps:
        state = Programs(*build(config), 2).start._replace(step=jnp.int32(steps))
        store = Store(out / "checkpoints")
        identity = _provenance.run_identity(config, None) | {"config": facts}
        store.save(steps, state, {**identity, "seconds": 7.0, **other})
        store.close()


CODE = {"code": {"jax": "0.0"}}
FOLDERS = [
    (None, [], "a new run begins there"),
    (None, ["--resume"], "a new run begins there"),
    (0, ["--resume"], "holds this run without a checkpoint; it begins anew"),
    (0, [], "refused: {out} already holds this run; continue it with --resume, or choose another"),
    (8, ["--resume"], "this run goes on after 8 of 12 outer steps"),
    (12, ["--resume"], "holds this run, all of it done; it is exported again"),
    (8, [], "refused: {out} already holds this run; continue it with --resume"),
    (
        8,
        ["--resume", "--set", "run.seed=3"],
        "another run (run.seed was 0, is now 3)",
    ),
    (
        8,
        ["--resume"],
        "refused: the checkpoint {out}/checkpoints/8 was made by other settings or code (code.j",
    ),
    (8, ["--resume", "--accept-new-code"], "this run goes on after 8 of 12 outer steps"),
]


@pytest.mark.parametrize(("steps", "words", "want"), FOLDERS, ids=range(len(FOLDERS)))
def test_a_plan_says_what_is_in_the_folder(tmp_path, config, capsys, steps, words, want):
    out = tmp_path / "run"
    if steps is not None:
        saved_run(out, steps, **(CODE if "code" in want or "--accept-new-code" in words else {}))
    before = contents(tmp_path)
    facts, _ = planned(capsys, config, "--out", out, *words)
    assert want.format(out=out) in facts["folder"]
    assert contents(tmp_path) == before


def test_a_run_whose_checkpoints_are_lost_is_refused_or_starts_over(tmp_path, config, capsys):
    out = tmp_path / "run"
    saved_run(out, 0)
    (out / "metrics.jsonl").write_text('{"step": 4}\n')
    before = contents(tmp_path)
    words = [config, "--out", out, "--resume"]
    assert planned(capsys, *words)[0]["folder"] == (
        f"refused: {out / 'checkpoints'} has no checkpoint, but metrics.jsonl tells of 4 outer "
        "steps: put the checkpoints back, or start over with --resume --start-over"
    )
    assert planned(capsys, *words, "--start-over")[0]["folder"] == (
        f"{out}: holds this run and no checkpoint that can be read; it starts over"
    )
    assert contents(tmp_path) == before


def test_a_plan_of_a_folder_alone(tmp_path, capsys):
    saved_run(tmp_path / "run", 8)
    facts, _ = planned(capsys, "--out", tmp_path / "run", "--resume")
    assert facts["folder"] == f"{tmp_path / 'run'}: this run goes on after 8 of 12 outer steps"


def test_a_run_of_before_its_keys_were_renamed_goes_on(tmp_path, config, capsys):
    saved_run(tmp_path / "run", 8, renew=old)
    assert "\nchunk = 2\n" in (tmp_path / "run" / "config.toml").read_text()
    for words in ([], [config]):
        facts, _ = planned(capsys, *words, "--out", tmp_path / "run", "--resume")
        assert facts["folder"].endswith("this run goes on after 8 of 12 outer steps")


def test_files_in_the_way(tmp_path, config, capsys):
    assert (
        "already holds files that are not"
        in planned(capsys, config, "--out", tmp_path)[0]["folder"]
    )
    assert "must be a folder, got the file" in planned(capsys, config, "--out", config)[0]["folder"]


def test_what_is_wrong_is_said_as_of_a_run(config, capsys, tmp_path):
    for words, message in (
        (
            [config, "--set", "run.chunk=7"],
            "run.outer_steps must be a multiple of run.log_every (7)",
        ),
        ([config, "--set", "family.data=nothing"], "family.data: data set must be one of"),
        ([config, "--set", "valid.horizon=0"], "valid.horizon must be from 1 to"),
        (["--export"], "--export reads the run in --out and trains nothing, got --plan too"),
    ):
        assert main([*map(str, words), "--plan"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("estimator", "outer_steps"),
    [
        (FullES(pairs=4, horizon=(50, 400)), 1),
        (FullES(pairs=4, horizon=(50, 50), shortest=1.0), 5),
        (FullES(pairs=4, horizon=(50, 400), curriculum=60), 100),
        (FullES(pairs=4, horizon=(50, 400), curriculum=6000), 10_000),
        (Backprop(tasks=3, horizon=(20, 90)), 1),
        (Evosax(population=6, tasks=2, horizon=(20, 90)), 1),
    ],
    ids=range(6),
)
def test_expected_steps_are_those_that_are_drawn(estimator, outer_steps):
    """Mean of 20,000 draws of the horizon, and of each pair's share of it."""
    rng = jax.random.split(jax.random.key(0), 20_000)
    steps = jnp.arange(20_000) % outer_steps
    drawn = jax.vmap(lambda key, step: estimator.horizons.draw(key, step))(rng, steps)
    share = (1 + getattr(estimator, "shortest", 1.0)) / 2
    want = estimator.runs * share * np.mean(np.asarray(drawn, np.float64))
    assert estimator.steps_spent(outer_steps) == pytest.approx(want, rel=0.02)
