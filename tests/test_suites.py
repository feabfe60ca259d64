"""Suites: frozen, disjoint, leakage facts, sizes; and the command that shows them."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_runs import Recorder

import learned_opt
import research.references
from learned_opt.eval import Runner
from learned_opt.meta_train import Config, FullES
from learned_opt.tasks import (
    AUGMENTATIONS,
    SUITES,
    Batch,
    EvalTask,
    Spec,
    content_hash,
    describe,
    load_suite,
    references,
)
from learned_opt.tasks.__main__ import main
from learned_opt.tasks._problem import Member
from learned_opt.tasks.suites import FROZEN
from learned_opt.tasks.suites._references import read_references, references_file

ROOT = Path(__file__).parent.parent


def entries(name):
    return SUITES[name].entries


@pytest.mark.parametrize("name", SUITES)
def test_suites_are_frozen(name):
    """A suite that changes needs a new name: add one, with its hash, and leave this alone."""
    assert SUITES[name].hash == FROZEN[name]
    assert set(FROZEN) == set(SUITES)


def test_any_change_changes_the_hash():
    suite = SUITES["META_TEST_V1"]
    task = suite.entries[0]
    spec = task.spec
    changed = [
        dataclasses.replace(task, horizon=task.horizon + 1),
        dataclasses.replace(task, numbers=(*task.numbers[:-1], (task.numbers[-1][0], 9.0))),
        dataclasses.replace(task, spec=dataclasses.replace(spec, batch_size=33)),
        dataclasses.replace(task, spec=dataclasses.replace(spec, data="letters/9")),
        dataclasses.replace(
            task,
            spec=dataclasses.replace(spec, problem=dataclasses.replace(spec.problem, max_depth=3)),
        ),
        dataclasses.replace(
            task, spec=dataclasses.replace(spec, augmentations=(AUGMENTATIONS[1](),))
        ),
    ]
    hashes = {dataclasses.replace(suite, entries=(new, *suite.entries[1:])).hash for new in changed}
    assert len(hashes | {suite.hash}) == len(changed) + 1


def test_names_are_unique_over_all_suites():
    names = [entry.name for suite in SUITES.values() for entry in suite.entries]
    assert len(set(names)) == len(names)


def test_suites_share_what_they_say_they_share():
    """Half of the test tasks or more share neither data nor architecture with meta-training.

    META_VALID_V9 is younger: its data are not theirs, but of its networks some are.
    """
    seen = {
        name: (
            {entry.spec.problem.name for entry in entries(name)},
            {data for entry in entries(name) for data in entry.spec.datasets},
        )
        for name in SUITES
        if name.startswith(("META_TRAIN", "META_VALID"))
    }
    for name, tier in (("META_TEST_V1", "cpu"), ("META_TEST_V1", "gpu"), ("META_TEST_V2", "cpu")):
        test = load_suite(name, tier)
        for _, data in seen.values():
            assert all(not set(task.datasets) & data for task in test)
        before = [problems for name, (problems, _) in seen.items() if name != "META_VALID_V9"]
        networks = set().union(*before)
        new = [task.name for task in test if task.network not in networks]
        assert 2 * len(new) >= len(test), (name, tier, new)


def test_meta_test_v2_is_as_new_as_it_says():
    """No data of any other CPU tier, and four problems that were in no other suite."""
    test = load_suite("META_TEST_V2")
    later = ("META_TEST_V2", "META_TEST_V3", "META_VALID_V9")
    others = [entry for name in SUITES if name not in later for entry in entries(name)]
    data = {d for entry in others if getattr(entry, "tier", "cpu") == "cpu"
            for d in entry.spec.datasets}  # fmt: skip
    assert all(not set(task.datasets) & data for task in test)
    new = {task.network for task in test} - {entry.spec.problem.name for entry in others}
    assert new == {"denoiser", "contrastive", "lru", "allen_cahn"}


def test_meta_test_v3_is_as_new_as_it_says():
    """No data of any other suite, and problems that people train; five are in no other suite."""
    test = load_suite("META_TEST_V3")
    others = [entry for name in SUITES if name != "META_TEST_V3" for entry in entries(name)]
    assert not {d for task in test for d in task.datasets} & {
        d for entry in others for d in entry.spec.datasets
    }
    new = {task.network for task in test} - {entry.spec.problem.name for entry in others}
    assert new == {"tied_transformer", "skip_init", "deep_sets", "vibration", "policy_gradient"}
    assert len(test) == 16
    assert (min(t.horizon for t in test), max(t.horizon for t in test)) == (300, 4000)


def data_of(name):
    return {data for entry in entries(name) for data in entry.spec.datasets}


def networks_of(name):
    """Class and fields of every problem."""
    return {content_hash(describe(entry.spec.problem)) for entry in entries(name)}


TESTS = ("META_TEST_V1", "META_TEST_V2", "META_TEST_V3", "FAR_V1", "VARIANTS_V1")


def test_meta_valid_v9_shares_no_data_and_no_network():
    """No data with any test suite nor with META_TRAIN_V3, and no problem of equal fields."""
    for other in (*TESTS, "META_TRAIN_V3"):
        assert not data_of("META_VALID_V9") & data_of(other), other
    for other in ("META_TEST_V3", "META_TRAIN_V3"):
        assert not networks_of("META_VALID_V9") & networks_of(other)
    ours, test, train = (
        {entry.spec.problem.name for entry in entries(name)}
        for name in ("META_VALID_V9", "META_TEST_V3", "META_TRAIN_V3")
    )
    assert ours & test == {"conv", "contrastive", "denoiser", "mlp", "resnet", "transformer"}
    assert ours & train == {"conv", "mlp", "norm_mlp", "transformer"}


def test_meta_valid_v9_is_cheap_and_wide():
    tasks = load_suite("META_VALID_V9")
    horizons = [task.horizon for task in tasks]
    assert (len(tasks), min(horizons), max(horizons)) == (16, 300, 2000)
    assert 10 * sum(horizons) <= 150_000
    assert not any(data.startswith("tfds:") for data in data_of("META_VALID_V9"))


def test_references_are_those_of_the_suite_that_is_frozen():
    made = read_references(references_file("META_VALID_V9"))
    assert (made["suite"], made["split"]) == ("META_VALID_V9", "outer_valid")
    assert made["hash"] == SUITES["META_VALID_V9"].hash
    losses = references("META_VALID_V9")
    assert list(losses) == [task.name for task in load_suite("META_VALID_V9")]
    for of_task in losses.values():
        assert list(of_task) == ["adamw", "muon"]
        assert all(0 < loss < 10 for loss in of_task.values())
    assert references("META_VALID_V1") is None


def test_meta_train_v3_shares_the_digits_of_far_v1_and_no_other_data_that_choose_or_judge():
    for other in (*TESTS, "META_VALID_V9"):
        shared = {"digits"} if other == "FAR_V1" else set()
        assert data_of("META_TRAIN_V3") & data_of(other) == shared, other
    assert not any(data.startswith("tfds:") for data in data_of("META_TRAIN_V3"))


def test_a_fifth_of_the_inner_steps_of_meta_train_v3_is_of_other_kinds():
    """By its weights, which add up to 1, and the mean horizon of each family."""
    families = entries("META_TRAIN_V3")
    assert sum(family.weight for family in families) == 1
    config = Config(suite="META_TRAIN_V3", estimator=FullES(pairs=16, horizon=(50, 5000)))
    assert [one.pairs for one in config.estimators] == [4, 3, 2, *[1] * 7]
    longest = [one.horizon[1] for one in config.estimators]
    assert longest == [5000] * 6 + [2000] + [1000] * 3
    assert {one.horizon[0] for one in config.estimators} == {50}
    steps = {f.name: e.steps_spent(1) for f, e in zip(families, config.estimators, strict=True)}
    kinds = (
        "table-values-mlp",
        "images-autoencoder",
        "images-conv",
        "code-transformer",
        "code-gru",
    )
    assert sum(steps[name] for name in kinds) / sum(steps.values()) == pytest.approx(0.2, abs=0.02)


def test_a_horizon_that_is_longer_than_the_longest_of_a_family_is_cut_for_it_alone():
    config = Config(suite="META_TRAIN_V3", estimator=FullES(horizon=(1500, 4000)))
    assert [one.horizon for one in config.estimators][5:8] == [
        (1500, 4000), (1500, 2000), (1000, 1000)
    ]  # fmt: skip


BEFORE = (
    "quickstart", "META_VALID_V1", "META_VALID_V2", "META_VALID_V3", "META_VALID_V4",
    "META_VALID_V5", "META_VALID_V6", "META_VALID_V7", "META_TEST_V1", "META_TEST_V2", "FAR_V1",
    "VARIANTS_V1",
)  # fmt: skip
"""Suites that were frozen before splits of 18 examples were found to choose by noise."""


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(entry, id=entry.name)
        for name, suite in SUITES.items()
        if name not in BEFORE and not name.startswith("META_TRAIN")
        for entry in suite.entries
    ],
)
def test_new_tasks_are_compared_on_500_examples_or_more(task):
    """Of texts, 500 predicted bytes; so many in each split that tunes, compares or reports."""
    family, member = task.family, task.member
    for split in ("inner_valid", "outer_valid", "test"):
        y = jax.eval_shape(lambda split=split: family.full(member, split)).y
        assert (y.size if member.spec.kind == "text" else len(y)) >= 500, split


def test_the_zoo_learned_from_the_families_of_meta_train_v2():
    want = [entry.spec.fingerprint for entry in entries("META_TRAIN_V2")]
    for name in ("small", "lean", "small-free", "rival-celo2", "rival-hypernet"):
        families = learned_opt.load(name).card["trained_on"]["families"]
        assert [family["hash"] for family in families] == want, name


def test_every_test_task_has_a_variant_that_differs_in_one_thing():
    base = {task.name: task for task in load_suite("META_TEST_V1")}
    variants = load_suite("VARIANTS_V1")
    assert {task.variant_of for task in variants} == set(base)
    for task in variants:
        of = base[task.variant_of]
        numbers = [k for k, v in task.numbers if dict(of.numbers)[k] != v]
        assert len(numbers) + (task.spec.augmentations != of.spec.augmentations) == 1
        assert (task.horizon, task.spec.problem) == (of.horizon, of.spec.problem)


def offline(suite):
    return [t for t in load_suite(suite) if not any(d.startswith("tfds:") for d in t.datasets)]


SLOW = (
    "kjv-tied-transformer", "cmudict-transformer-4", "textures-vit", "textures-resnet",
    "pictures-skip-init", "pictures-conv", "pictures-denoiser", "textures-contrastive",
    "pictures-autoencoder", "kjv-gru", "unicode-transformer-3", "unicode-transformer-wide",
    "unicode-lstm", "photos-resnet", "figures-norm-conv", "figures-denoiser", "figures-contrastive",
    "swing-up",
)  # fmt: skip
"""Seconds to compile."""


def frozen():
    """Slow are those of which problem, data and augmentations have all come before."""
    seen = set()
    for suite in SUITES:
        for task in offline(suite) if not suite.startswith("META_TRAIN") else ():
            what = {task.network, *task.datasets, *map(type, task.spec.augmentations)}
            slow = task.name in SLOW or what <= seen
            seen |= set() if slow else what
            yield pytest.param(task, id=task.name, marks=[pytest.mark.slow] if slow else [])


@jax.jit
def frozen_loss(member, batch, *keys):
    return member.loss(member.init(keys[0]), batch, keys[1])[0]


GOLDEN = json.loads((ROOT / "tests" / "golden_suites.json").read_text())


@pytest.mark.parametrize("task", list(frozen()))
def test_tasks_behave_as_on_the_day_they_were_frozen(task):
    """The hash holds names and numbers, this the mathematics: loss of fixed random parameters.

    Relative tolerance 1e-3: rounding, and fonts that render a grey level apart. Text is that of
    the interpreter's own library, which changes with its version: 10 %.
    """
    assert isinstance(task, EvalTask)
    batch = task.family.full(task.member, "outer_valid")
    loss = frozen_loss(task.member, batch, jax.random.key(1), jax.random.key(2))
    tolerance = 0.1 if task.spec.datasets in (("prose",), ("stdlib",)) else 1e-3
    assert float(loss) == pytest.approx(GOLDEN[task.name], rel=tolerance)


@pytest.mark.slow
def test_gpu_tasks_have_a_million_to_a_hundred_million_parameters_and_trace():
    """Shapes of initialisation and gradient, without the data: it is fetched where it is used."""
    shapes = {"cifar10": Spec("label", (32, 32, 3), 10)}
    texts = {"tiny_shakespeare": 128, "lm1b": 256}
    for task in load_suite("META_TEST_V1", "gpu"):
        name = task.spec.datasets[0].removeprefix("tfds:")
        spec = shapes.get(name) or Spec("text", (texts[name],), 100)
        problem, key = task.spec.problem, jax.random.key(0)
        numbers = problem.sample(key)
        for what, value in task.numbers:
            numbers[what] = jnp.asarray(value, numbers[what].dtype)
        member = Member(numbers, jnp.asarray(0), problem, spec)
        params = jax.eval_shape(member.init, key)
        size = sum(np.prod(p.shape) for p in jax.tree.leaves(params))
        assert 5e5 <= size <= 1.2e8, (task.name, size)
        dtype = jnp.int32 if spec.kind == "text" else jnp.float32
        x = jax.ShapeDtypeStruct((2, *spec.shape), dtype)
        y = jax.ShapeDtypeStruct((2, *spec.shape) if spec.kind == "text" else (2,), jnp.int32)
        grads, _ = jax.eval_shape(jax.grad(member.loss, has_aux=True), params, Batch(x, y), key)
        assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)


@pytest.mark.parametrize(
    ("name", "tier", "message"),
    [
        ("nope", "cpu", "suite must be one of quickstart, META_VALID_V1, META_VALID_V2, META_V"),
        ("META_TRAIN_V2", "cpu", "suite must be one of quickstart"),
        ("quickstart", "gpu", "the suite quickstart has no tasks of the tier 'gpu'"),
    ],
)
def test_unknown_suites_are_one_sentence(name, tier, message):
    with pytest.raises(ValueError, match=message):
        load_suite(name, tier)


def test_list_shows_every_suite_with_its_hash_and_every_entry(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for suite in SUITES.values():
        assert f"{suite.name}  {suite.hash}\n" in text
        assert all(f"\n  {entry.name} " in text for entry in suite.entries)


def test_show_prints_a_task_a_family_and_a_suite(capsys):
    assert main(["show", "breast-cancer-mlp~width"]) == 0
    text = capsys.readouterr().out
    assert "(task of VARIANTS_V1)" in text
    assert "parameters   2,114" in text
    assert "dense_1/w (32, 32)" in text
    assert "width = 8" in text
    assert "0.6931 for zeros" in text
    assert main(["show", "rosenbrock"]) == 0
    assert "p (4,)" in capsys.readouterr().out
    assert main(["show", "META_VALID_V1"]) == 0
    assert SUITES["META_VALID_V1"].hash in capsys.readouterr().out


def test_prepare_says_what_is_ready_and_what_is_missing(capsys, monkeypatch, tmp_path):
    assert main(["prepare", "cancer-mlp"]) == 0
    assert "[1/1] breast_cancer is ready" in capsys.readouterr().out
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["prepare", "cifar10-vit"]) == 2
    assert "needs TensorFlow: pip install tensorflow" in capsys.readouterr().err


def test_wrong_names_suggest_the_right_ones(capsys):
    assert main(["show", "letters-resnt"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: there is no suite, task, family or problem named 'letters-r")
    assert "letters-resnet" in error
    assert error.count("\n") == 1


def test_references_are_geometric_means_over_fresh_seeds(monkeypatch, tmp_path):
    """Of made-up runs: two settings on one seed, two fresh seeds, of AdamW and Muon on a task."""
    recorder, file = Recorder(), tmp_path / "made.json"
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    monkeypatch.setattr(research.references, "references_file", lambda suite: file)
    task = load_suite("quickstart")[0]
    monkeypatch.setattr(research.references, "load_suite", lambda suite: [task])
    research.references.main(["quickstart", "--out", str(tmp_path / "runs"), "--few", "2"])
    made = read_references(file)
    assert (made["suite"], made["hash"]) == ("quickstart", SUITES["quickstart"].hash)
    assert made["made_by"].startswith("the best of 2 settings on one seed, then 2 fresh seeds; ")
    assert [len(set(recorder.asked[i : i + 2])) for i in range(0, 8, 2)] == [2] * 4
    for i, name in enumerate(("adamw", "muon")):
        tuned, fresh = recorder.asked[4 * i : 4 * i + 2], recorder.asked[4 * i + 2 : 4 * i + 4]
        assert [trial.seed for trial in fresh] == [100, 101]
        assert {trial.hyper for trial in fresh} < {trial.hyper for trial in tuned}
        losses = [run.final["valid_loss"] for run in Recorder()(fresh)]
        assert made["tasks"][task.name][name] == pytest.approx(np.prod(losses) ** 0.5, rel=1e-5)
