"""A run's theta is exported whatever its card would hold, and whatever else fails."""

import importlib.metadata
import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from processes import TABLE

import learned_opt
from learned_opt import Artifact
from learned_opt.checkpoints import Store, _origin, claim_folder, code_version
from learned_opt.meta_train import (
    PES,
    Config,
    ConfigError,
    DivergedError,
    Programs,
    WriteError,
    build,
    meta_train,
)
from learned_opt.meta_train.run import _export, _provenance

NAN = jnp.float32(jnp.nan)


@pytest.fixture(scope="module")
def config():
    return Config.from_dict(TABLE)


@pytest.fixture(scope="module")
def state(config):
    """After all 12 outer steps, as far as a run can tell."""
    start = Programs(*build(config), config.run.log_every).start
    done = {"best_score": jnp.float32(1.5), "first_score": jnp.float32(2.5)}
    return start._replace(step=jnp.int32(12), best_step=jnp.int32(8), **done)


def exported(folder, config, state, start=None):
    """The artifact as it is read back, and what was said."""
    said = io.StringIO()
    console = rich.console.Console(file=said, width=10_000)
    _export.export(config, start, folder, state, 7.0, console)
    return learned_opt.load(folder / f"{config.run.name}.safetensors"), said.getvalue().splitlines()


def same(found, want):
    jax.tree.map(np.testing.assert_array_equal, found, want)


def entry(card, where):
    for key in where.split("."):
        card = card[key]
    return card


def test_a_whole_card_needs_no_note(tmp_path, config, state):
    artifact, said = exported(tmp_path, config, state)
    path = tmp_path / "tiny.safetensors"
    assert said == ["Meta-trained for 7 s, 0 inner steps.", f"Exported {path}"]
    assert (artifact.card["meta_valid_loss"], artifact.card["best_step"]) == (1.5, 8)
    assert artifact.card["meta_valid_curve"] == {"outer_steps": [], "valid_loss": []}
    same(artifact.theta, state.best_theta)


@pytest.mark.parametrize(
    ("fields", "notes"),
    [
        ({"best_score": jnp.inf}, {"meta_valid_loss": "inf"}),
        ({"best_score": -jnp.inf}, {"meta_valid_loss": "-inf"}),
        (
            {"best_score": jnp.nan, "first_score": jnp.nan},
            {"meta_valid_loss": "nan", "meta_valid_loss_untrained": "nan"},
        ),
    ],
)
def test_a_score_that_is_not_finite_is_null(tmp_path, config, state, fields, notes):
    odd = state._replace(**{name: jnp.float32(value) for name, value in fields.items()})
    artifact, said = exported(tmp_path, config, odd)
    lacks = ", ".join(f"{name} ({why})" for name, why in notes.items())
    assert said[2:] == [f"note: the card lacks {lacks}"]
    assert [artifact.card[name] for name in notes] == [None] * len(notes)
    assert "unknown at outer step 8" in (tmp_path / "tiny.md").read_text()


def broken(*args):
    raise RuntimeError("no\ndevice")


@pytest.mark.parametrize(
    ("module", "name", "value", "note", "lost"),
    [
        (_provenance, "code_version", broken, "code (no device)", ["code"]),
        (_provenance, "describe_device", broken, "budget.device (no device)", ["budget.device"]),
        (
            _provenance, "describe_device", lambda: {"a": [1.0, math.nan]},
            "budget.device.a.1 (nan)", ["budget.device.a"],
        ),
        (
            _provenance, "describe_device", lambda: {3, 4},
            "budget.device (Object of type set is not JSON serializable)", ["budget.device"],
        ),
        (
            PES, "horizon_range", property(broken),
            "trained_on.horizon (no device)", ["trained_on.horizon"],
        ),
        (
            _provenance, "describe", broken,
            "trained_on.families (no device)", ["trained_on.families"],
        ),
        (_export, "validation_curve", broken, "meta_valid_curve (no device)", ["meta_valid_curve"]),
        (
            _export, "validation_curve", lambda _: {"valid_loss": [1.0, math.inf]},
            "meta_valid_curve.valid_loss.1 (inf)", [],
        ),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_fact_that_cannot_be_told_is_null(
    tmp_path, config, state, monkeypatch, module, name, value, note, lost
):
    monkeypatch.setattr(module, name, value)
    artifact, said = exported(tmp_path, config, state)
    assert said[2:] == [f"note: the card lacks {note}"]
    for where in lost:
        assert entry(artifact.card, where) in (None, [1.0, None])
    assert (tmp_path / "tiny.md").exists()


def test_side_files_that_are_damaged_cost_their_facts_alone(tmp_path, config, state, capsys):
    (tmp_path / "command.txt").write_bytes(b"\xff")
    artifact, said = exported(tmp_path, config, state)
    assert artifact.card["command"] == "\ufffd"
    note = f"note: {tmp_path / 'command.txt'} is damaged; the card says what can be read of it"
    assert note in capsys.readouterr().out
    assert len(said) == 2


ODD = [
    ({"budget": "lots"}, ["budget.outer_steps", "budget.inner_steps", "budget.seconds"]),
    ({"budget": {"seconds": "long"}}, ["budget.seconds"]),
    ({"budget": {"outer_steps": [1]}}, ["budget.outer_steps"]),
    ({"budget": {"seconds": 1e308, "inner_steps": True}}, []),
    ({"trained_on": 3}, ["trained_on.datasets", "trained_on.networks", "trained_on.horizon"]),
    ({"trained_on": {"datasets": [3]}}, ["trained_on.datasets"]),
    ({"trained_on": {"networks": "mlp"}}, ["trained_on.networks"]),
    ({"trained_on": {"horizon": ["1", 2]}}, ["trained_on.horizon"]),
    ({"trained_on": {}, "budget": {}, "config": None}, []),
]


@pytest.mark.parametrize(("card", "lost"), ODD, ids=range(len(ODD)))
def test_the_odd_card_of_what_it_started_from_is_kept_as_it_is(tmp_path, state, card, lost):
    optimizer = Config.from_dict(TABLE).optimizer
    parent = tmp_path / "parent.safetensors"
    Artifact(optimizer, optimizer.init(jax.random.key(0)), card).save(parent)
    config = Config.from_dict(TABLE | {"run": TABLE["run"] | {"start": str(parent)}})
    artifact, said = exported(tmp_path, config, state, learned_opt.load(parent))
    assert {k: v for k, v in artifact.card["start"].items() if k != "sha256"} == card
    assert [entry(artifact.card, where) for where in lost] == [None] * len(lost)
    assert len(said) == 2 + bool(lost)
    if lost:
        assert said[2].startswith(
            f"note: the card lacks {lost[0]} (in the card of what it started from: "
        )


def test_what_is_nested_too_deeply_is_null():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    lost = []
    _provenance._told({"a": deep}, "", lost)
    assert len(lost) == 1
    assert lost[0].endswith(" (nested too deeply)")


@pytest.mark.parametrize("why", ["Is a directory", "no device"])
def test_a_page_that_cannot_be_written_costs_nothing_else(
    tmp_path, config, state, monkeypatch, why
):
    page = tmp_path / "tiny.md"
    if why == "no device":
        page.write_text("of an export before")
        monkeypatch.setattr(_export, "card_markdown", broken)
    else:
        page.mkdir()
    artifact, said = exported(tmp_path, config, state)
    assert artifact.card["name"] == "tiny"
    assert said[2:] == [f"note: {page} is missing ({why}); the artifact holds the same card"]
    assert not page.is_file()


def test_a_path_is_no_markup(tmp_path, config, state):
    folder = tmp_path / "[bold]"
    folder.mkdir()
    assert exported(folder, config, state)[1][1] == f"Exported {folder / 'tiny.safetensors'}"


def test_only_a_finite_theta_is_the_best(config, state):
    trainer = build(config).trainer
    bad = jax.tree.map(jnp.copy, state.theta)
    first, *others = jax.tree.leaves(bad)
    theta = jax.tree.unflatten(jax.tree.structure(bad), [first.at[..., 0].set(jnp.inf), *others])
    after = trainer.select(state._replace(theta=theta), jnp.float32(0.5))
    assert float(after.best_score) == 1.5
    assert float(trainer.select(state, jnp.float32(0.5)).best_score) == 0.5
    odd = state._replace(best_theta=theta)
    with pytest.raises(DivergedError) as error:
        _export.export(config, None, None, odd, 1.0, None)
    assert str(error.value) == (
        "the best theta (outer step 8) is not finite, so that nothing is exported: start again in "
        "a new folder, with a lower outer.learning_rate"
    )


def test_a_meta_validation_that_is_not_finite_from_the_start_ends_the_run(
    tmp_path, config, monkeypatch
):
    def validate(self, state, untrained):
        return state._replace(first_score=NAN), [np.full((8, 1), np.nan)]

    monkeypatch.setattr(Programs, "compile", lambda self: None)
    monkeypatch.setattr(Programs, "steps", lambda self, state: (state, None))
    monkeypatch.setattr(Programs, "validate", validate)
    console = rich.console.Console(file=io.StringIO())
    with pytest.raises(DivergedError) as error:
        meta_train(config, tmp_path / "run", console=console)
    assert str(error.value) == (
        "diverged: the meta-validation loss is nan before the first outer step; the untrained "
        "theta was exported. A lower outer.learning_rate or estimator.sigma, or more pairs, may "
        "help"
    )
    found = learned_opt.load(tmp_path / "run" / "tiny.safetensors")
    assert found.card["meta_valid_loss"] is None
    same(found.theta, Programs(*build(config), 2).start.theta)


def test_an_export_that_could_not_be_written_is_made_by_resuming(tmp_path, config, state):
    facts, out = config.to_dict(), tmp_path / "run"
    claim_folder(out, "config.toml", facts, what="a run", resume=False)
    store = Store(out / "checkpoints")
    store.save(12, state, {"config": facts, "code": _provenance.code_identity(), "seconds": 7.0})
    store.close()
    path = out / "tiny.safetensors"
    path.mkdir()
    console = rich.console.Console(file=io.StringIO())
    with pytest.raises(WriteError) as error:
        meta_train(config, out, resume=True, console=console)
    assert str(error.value) == (
        f"cannot write {path} (Is a directory); the last checkpoint is of outer step 12: put that "
        "right, then continue with --resume"
    )
    path.rmdir()
    meta_train(config, out, resume=True, console=console)
    assert learned_opt.load(path).card["budget"]["seconds"] == 7.0


def test_an_optimizer_that_could_not_be_exported_is_refused_at_the_start():
    class Mine(learned_opt.GatedAdam):
        pass

    with pytest.raises(ConfigError, match=r"optimizer must be one of learned_opt\.OPTIMIZERS, or "):
        build(Config(optimizer=Mine()))


def test_the_code_is_told_without_git(tmp_path, monkeypatch):
    release = f"learned-opt {importlib.metadata.version('learned-opt')}"
    here = tmp_path / "gone"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    assert code_version()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == release
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 100\n")
    slow.chmod(0o755)
    monkeypatch.setattr(_origin, "PATIENCE", 0.2)
    assert code_version() == release
