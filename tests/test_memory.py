"""What cannot fit into memory is refused before anything is compiled; what fits never is."""

import dataclasses
import tomllib

import jax
import jax.numpy as jnp
import pytest

from learned_opt.devices import _memory as devices
from learned_opt.meta_train import ESTIMATORS, Config, ConfigError, Programs, build
from learned_opt.meta_train.__main__ import main
from learned_opt.meta_train.run import _memory
from learned_opt.meta_train.run._setup import assemble
from learned_opt.meta_train.settings import FOLDER
from learned_opt.tasks import SUITES

CURE = "choose smaller sizes in [optimizer] and [family], or fewer runs in [estimator] and [valid]"
SHORT = {"horizon": [20, 40], "name": "full_es"}


@pytest.fixture
def gigabyte(tmp_path, monkeypatch):
    """What a container may use."""
    monkeypatch.setattr(devices, "CGROUP", tmp_path / "memory.max")
    devices.CGROUP.write_text("1000000000\n")


def mlp(width, batch):
    sizes = {"max_width": width, "widths": [width, width]}
    return {"problem": "mlp", "data": "digits", "batch_size": batch, "options": sizes}


def refused(table):
    with pytest.raises(ConfigError) as error:
        build(Config.from_dict(table))
    said = str(error.value)
    assert said.endswith(f"this machine has 1 GB: {CURE}")
    assert "\n" not in said
    return said


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.name)
def test_every_estimator_that_is_too_large_is_refused(gigabyte, cls):
    lanes = {"name": cls.name, "horizon": [20, 40], cls.unit: 1_000_000}
    said = refused({"estimator": lanes})
    assert said.startswith(("[estimator]: the runs of an outer", "the state of meta-training"))
    few = lanes | {cls.unit: 4}
    said = refused({"estimator": few, "family": mlp(32, 1_000_000)})
    assert said.startswith("[estimator]: the runs of an outer step would take at least")
    assert "would take at least" in refused({"estimator": few, "family": mlp(100_000, 4)})
    build(Config.from_dict({"estimator": few, "family": mlp(32, 64)}))


@pytest.mark.parametrize(
    "estimator",
    [
        {"name": "backprop", "horizon": [20, 100_000_000]},
        {"name": "tbptt", "horizon": [20, 1_000_000], "truncation": 1_000_000},
        {"name": "evosax", "tasks": 100_000},
        {"name": "evosax", "strategy": "CMA_ES"},
    ],
    ids=["backprop", "tbptt", "tasks", "covariance"],
)
@jax.numpy_dtype_promotion("standard")  # evosax's own code adds integers and floats
def test_what_an_estimator_keeps_counts(gigabyte, estimator):
    optimizer = {"name": "gated_adam", "hidden": 4000} if "strategy" in estimator else {}
    refused({"estimator": estimator, "optimizer": optimizer})


def test_activations_count(gigabyte):
    """Of 8 pairs: batches of 100,000 images of 64 numbers are 0.2 GB, four layers of 32 more."""
    family = mlp(32, 100_000)
    family["options"] |= {"max_depth": 4, "depths": [4, 4]}
    assert "[estimator]: the runs of an" in refused(
        {"estimator": SHORT | {"pairs": 8}, "family": family}
    )
    family["batch_size"] = 1_000
    build(Config.from_dict({"estimator": SHORT | {"pairs": 8}, "family": family}))


QUICK_TO_BUILD = ("quickstart", "velo")
SHIPPED = [
    pytest.param(path, id=path.stem, marks=() if path.stem in QUICK_TO_BUILD else pytest.mark.slow)
    for path in sorted(FOLDER.glob("*.toml"))
]


@pytest.mark.parametrize("path", SHIPPED)
def test_what_ships_needs_a_fraction_of_a_gigabyte(path, monkeypatch):
    """With data that need not be fetched in place of MNIST, and judged on the families."""
    suite = SUITES["META_TRAIN_V2"]
    entries = tuple(
        dataclasses.replace(entry, spec=dataclasses.replace(entry.spec, data="digits"))
        if "mnist" in entry.spec.data
        else entry
        for entry in suite.entries
    )
    monkeypatch.setitem(SUITES, suite.name, dataclasses.replace(suite, entries=entries))
    table = tomllib.loads(path.read_text())
    table.get("valid", {}).pop("suite", None)
    assert _memory.check_memory(*assemble(Config.from_dict(table))).bytes < 0.3e9


def built(optimizer, estimator, runs):
    """A setup, what a device of it needs by what it is for, and its programs."""
    table = {
        "family": mlp(32, 256), "estimator": estimator, "optimizer": optimizer,
        "run": {"log_every": 1}, "valid": {"tasks": runs, "horizon": 10},
    }  # fmt: skip
    setup = build(Config.from_dict(table))
    found, size = _memory.memory_needs(*setup), setup.problems[0].mesh.size
    needs = {need.what.split(":")[0]: need.bytes / size for need in found}
    return setup, needs, Programs(*setup, 1)


def test_untrained_runs_of_a_meta_validation_count():
    """Beside each run one that starts from the same batch."""
    found = []
    for name in ("loss", "gain"):
        table = {"family": mlp(32, 1), "objective": {"name": name}, "valid": {"tasks": 10_000}}
        needs = _memory.memory_needs(*build(Config.from_dict(table)))
        found.append({need.what: need.bytes for need in needs}["[valid]: its runs"])
    assert found[1] == pytest.approx(2 * found[0], rel=0.02)


@pytest.mark.slow
def test_the_bound_is_below_what_a_meta_validation_takes():
    setup, needs, programs = built({"name": "hyper_adam"}, SHORT, 16)
    programs.compile(train=False)
    kept = _memory.tree_bytes(jax.eval_shape(setup.trainer.init, setup.problems))
    stats = programs._scores[0].memory_analysis()
    takes = stats.argument_size_in_bytes + stats.temp_size_in_bytes + kept
    assert 0.2 * takes < needs["[valid]"] < takes


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        {"name": "full_es", "pairs": 8},
        {"name": "pes", "pairs": 8},
        {"name": "backprop", "tasks": 8},
        {"name": "tbptt", "tasks": 8, "truncation": 20},
        {"name": "evosax", "population": 8, "tasks": 2},
    ],
    ids=lambda estimator: estimator["name"],
)
@jax.numpy_dtype_promotion("standard")  # optax's and evosax's own code
@jax.numpy_rank_promotion("allow")
def test_the_bound_is_below_what_an_outer_step_takes(estimator):
    _, needs, programs = built({"name": "gated_adam"}, {"horizon": [20, 100], **estimator}, 1)
    programs._steps = programs._steps.lower(programs.problems, programs.start).compile()
    assert 0.2 * programs.memory() < needs["[estimator]"] < programs.memory()


def exhausted(*_):
    jnp.zeros(1 << 46, jnp.int8).block_until_ready()


def raises(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("fail", "why"),
    [
        (exhausted, "Out of memory allocating 70368744177664 bytes"),
        (raises(MemoryError()), "no more"),
        (raises(MemoryError("Unable to allocate 1 GiB")), "Unable to allocate 1 GiB"),
    ],
    ids=range(3),
)
def test_memory_that_runs_out_is_one_sentence(tmp_path, monkeypatch, capsys, fail, why):
    monkeypatch.setattr(Programs, "compile", fail)
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--out", "run"]) == 2
    said = capsys.readouterr().err
    assert said == f"error: the run does not fit into memory ({why}): {CURE}\n"


def test_other_errors_stay_what_they_are():
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"^INTERNAL"), _memory.fits():
        raise jax.errors.JaxRuntimeError("INTERNAL: of another kind")
