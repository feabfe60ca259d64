"""What the key of a run depends on, and what it does not."""

import ast
import dataclasses
import functools
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from made_runs import RULE, SPEC, TASK, Recorder, trials, value

import learned_opt
import learned_opt.tasks._spec
from learned_opt import Artifact, GatedAdam, _rooms
from learned_opt._rooms import room_sources, source_hash
from learned_opt.eval import BASELINES, Hyper, Trial
from learned_opt.eval.running import Archive
from learned_opt.eval.running._keys import (
    Identity,
    artifact_identity,
    baseline_identity,
    factory_identity,
    rule_sources,
    run_key,
)
from learned_opt.tasks import load_dataset
from learned_opt.tasks._spec import fingerprint
from learned_opt.tasks.augmentations import LossScale
from learned_opt.tasks.problems import MLP

replace = dataclasses.replace
OPTIMIZERS = Path(learned_opt.__file__).resolve().parent / "optimizers"
OTHER = replace(TASK, name="other", spec=replace(SPEC, data="breast_cancer"))


def key(task=TASK, hyper=Hyper(0.1, 0.0), seed=0, identity=RULE, curves=False):  # noqa: B008
    return run_key(identity, Trial(task, hyper, seed), curves=curves)


CHANGES = {
    "batch size": {"task": replace(TASK, spec=replace(SPEC, batch_size=32))},
    "network": {"task": replace(TASK, spec=replace(SPEC, problem=MLP(max_width=64)))},
    "augmentation": {"task": replace(TASK, spec=replace(SPEC, augmentations=(LossScale(),)))},
    "data": {"task": replace(TASK, spec=replace(SPEC, data="wine"))},
    "a number": {"task": replace(TASK, numbers=(("width", 17), ("gain", 1.0)))},
    "fewer numbers": {"task": replace(TASK, numbers=TASK.numbers[:1])},
    "horizon": {"task": replace(TASK, horizon=101)},
    "rule": {"identity": Identity("rule", {"rule": "b"})},
    "learning rate": {"hyper": Hyper(0.2, 0.0)},
    "weight decay": {"hyper": Hyper(0.1, 0.1)},
    "seed": {"seed": 1},
    "curves": {"curves": True},
}


def test_a_key_depends_on_everything_that_makes_a_run(monkeypatch):
    keys = {name: key(**changed) for name, changed in CHANGES.items()}
    monkeypatch.setattr(learned_opt.eval.running._keys, "RUN_VERSION", -1)
    keys["version"] = key()
    monkeypatch.undo()
    assert len({key(), *keys.values()}) == len(keys) + 1


@pytest.mark.parametrize(
    "same",
    [
        {"task": replace(TASK, name="another name")},
        {"task": replace(TASK, tier="gpu", variant_of="x")},
        {"task": replace(TASK, numbers=TASK.numbers[::-1])},
        {"task": replace(TASK, numbers=(("width", 16.0), ("gain", 1)))},
        {"hyper": Hyper(np.float64(0.1), 0)},
        {"identity": RULE._replace(name="another name")},
    ],
)
def test_names_places_and_types_are_not_in_keys(same):
    assert key(**same) == key()


@dataclasses.dataclass(frozen=True)
class LaterTrial(Trial):
    halved: float = 1.0


class LaterHyper(NamedTuple):
    lr: float
    wd: float = 0.0
    more: float = 0.0


def test_new_fields_at_their_defaults_leave_keys_alone():
    def later(hyper, **more):
        return run_key(RULE, LaterTrial(TASK, hyper, 0, **more), curves=False)

    class HyperBefore(NamedTuple):
        lr: float
        wd: float = 0.0

    before = run_key(RULE, Trial(TASK, HyperBefore(0.1), 0), curves=False)
    assert later(HyperBefore(0.1)) == later(LaterHyper(0.1)) == before
    assert len({before, later(HyperBefore(0.1), halved=0.5), later(LaterHyper(0.1, 0, 2.0))}) == 3


def test_a_run_says_what_its_key_is_of(tmp_path):
    late = Trial(TASK, Hyper(0.1, 0.01, 1.0, 0.5), 3, told=0.5)
    (run,) = Archive(tmp_path / "runs.jsonl").run(RULE, Recorder(), [late], curves=False)
    assert run.to_json() == {
        "key": run_key(RULE, late, curves=False), "stage": "tune", "optimizer": "rule",
        "task": "task", "horizon": 100, "lr": 0.1, "weight_decay": 0.01, "cosine": 1.0,
        "extra": 0.5, "beyond": 1.0, "seed": 3, "told": 0.5, "device": "cpu",
        "jax": jax.__version__, "valid_loss": value(late), "valid_accuracy": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("leaf", range(10))
def test_the_fingerprint_of_data_sees_every_array(leaf):
    """One element more or less by one unit, in any split, in the mean, in the deviation."""
    data = load_dataset("digits")
    leaves, structure = jax.tree.flatten(data)
    assert len(leaves) == 10
    x = np.array(leaves[leaf])
    x[(-1,) * x.ndim] += 1
    changed = jax.tree.unflatten(structure, [*leaves[:leaf], jnp.asarray(x), *leaves[leaf + 1 :]])
    assert fingerprint(changed) != fingerprint(data)
    assert fingerprint(jax.tree.map(jnp.copy, data)) == fingerprint(data)


def test_the_fingerprint_of_data_sees_types_shapes_and_description():
    data = load_dataset("digits")
    train = data.splits["train"]
    flat = train._replace(x=train.x.reshape(-1, 64))
    wide = train._replace(y=train.y.astype(jnp.uint32))
    changed = [
        replace(data, name="x"),
        replace(data, spec=replace(data.spec, outputs=11)),
        *(replace(data, splits=data.splits | {"train": part}) for part in (flat, wide)),
    ]
    assert len({fingerprint(data), *map(fingerprint, changed)}) == 5


def test_a_task_under_another_name_is_the_same_run(tmp_path):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()
    archive.run(RULE, recorder, trials(2), curves=False)
    renamed = trials(2, replace(TASK, name="in another suite"))
    rows = archive.run(RULE._replace(name="by another name"), recorder, renamed, curves=False)
    assert len(recorder.asked) == 2
    assert [run.task for run in rows] == ["in another suite"] * 2
    assert [run.optimizer for run in rows] == ["by another name"] * 2
    twice = archive.run(RULE, recorder, [*trials(3), *trials(3)], curves=False)
    assert [t.seed for t in recorder.asked] == [0, 1, 2]
    assert twice[:3] == twice[3:]


@pytest.mark.parametrize("what", ["a task", "a horizon", "a baseline", "data"])
def test_a_change_runs_only_what_it_touches_again(tmp_path, monkeypatch, what):
    tasks, rules = [TASK, OTHER], [RULE, Identity("second", {"rule": "b"})]

    def run(recorder):
        archive = Archive(tmp_path / "runs.jsonl")
        for rule in rules:
            for task in tasks:
                archive.run(rule, recorder, trials(2, task), curves=False)
        return recorder.asked

    assert len(run(Recorder())) == 8
    assert run(Recorder()) == []
    if what == "a task":
        tasks[1] = replace(OTHER, spec=replace(OTHER.spec, batch_size=32))
    if what == "a horizon":
        tasks[1] = replace(OTHER, horizon=50)
    if what == "a baseline":
        rules[1] = Identity("second", {"rule": "b", "version": 2})
    if what == "data":
        changed = replace(load_dataset("breast_cancer"), name="changed")
        sets = {"digits": load_dataset("digits"), "breast_cancer": changed}
        monkeypatch.setattr(learned_opt.tasks._spec, "load_dataset", sets.get)
        learned_opt.tasks._spec.data_fingerprint.cache_clear()
    again = run(Recorder())
    assert len(again) == 4
    assert {t.task.name for t in again} == (
        {"task", "other"} if what == "a baseline" else {"other"}
    )
    assert run(Recorder()) == []
    learned_opt.tasks._spec.data_fingerprint.cache_clear()


def test_identities():
    one = baseline_identity(BASELINES[0])
    assert one.name == BASELINES[0].name
    assert one.facts == {"baseline": one.name, "version": one.facts["version"]}
    assert len({json.dumps(baseline_identity(row).facts) for row in BASELINES}) == len(BASELINES)
    optimizer = GatedAdam()
    thetas = [optimizer.init(jax.random.key(seed)) for seed in (0, 1)]
    first, second = (Artifact(optimizer, theta, {"name": "mine"}) for theta in thetas)
    source = source_hash(*rule_sources(OPTIMIZERS / "_gated_adam.py"))
    facts = {"artifact": first.sha256, "source": source}
    assert artifact_identity(first) == Identity("mine", facts)
    assert artifact_identity(second).facts != artifact_identity(first).facts


CODE = '''"""A module."""

import math

LIMIT = 3
"""Of something."""


class A:
    """What it is."""

    def f(self, x, *, y=None):
        # Why.
        return f"{x!r:>{LIMIT}} {y:.2f}" if x else (1.5, "a", math.pi)
'''
OTHER_TEXT = """import   math
LIMIT = 0b11  # of something
class A:
    def f(self, x, *, y = None):
        return (f'{x!r:>{LIMIT}} ' f"{y:.2f}"
                if x else (1.50, 'a', math.pi,))
"""
OTHER_CODE = [
    ("LIMIT = 3", "LIMIT = 3.0"), ("x else", "y else"), ("y=None", "y=0"), ("*, y", "y"),
    ("!r", "!s"), (".2f", ".3f"), ("1.5", "-1.5"), ('"a"', '"b"'), ("class A", "class B"),
    ("import math", "import math as math"), ("(1.5, ", "[1.5, "), ("math.pi)", "math.pi]"),
]  # fmt: skip


def hash_of(folder, text, name="rule.py"):
    (folder / name).write_bytes(text.encode())
    return source_hash(folder / name)


def test_the_hash_of_a_file_is_of_what_it_computes(tmp_path):
    """Comments, docstrings, quotes, line ends and spaces are not in it; all else is."""
    want = hash_of(tmp_path, CODE)
    assert hash_of(tmp_path, OTHER_TEXT) == want
    assert hash_of(tmp_path, CODE.replace("\n", "\r\n")) == want
    assert hash_of(tmp_path, CODE.replace("What it is", "What it was")) == want
    texts = [CODE.replace(old, new) for old, new in OTHER_CODE[:-2]]
    texts.append(CODE.replace("(1.5, ", "[1.5, ").replace("math.pi)", "math.pi]"))
    texts.append(CODE + "\nA\n")
    found = {hash_of(tmp_path, text) for text in texts}
    assert len(found | {want, hash_of(tmp_path, CODE, "other.py")}) == len(texts) + 2
    # Nothing imports what is half written or no Python: it is no reason to stop.
    assert len({hash_of(tmp_path, text) for text in ("def (", "def ((", "\0")} - {want}) == 3


def test_every_version_of_python_hashes_alike(tmp_path):
    """Fields that are empty, and empty parts of formatted strings, are in some versions alone."""
    want = hash_of(tmp_path, CODE)
    real, changed = ast.parse(CODE), []
    for node in ast.walk(real):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node._fields += ("type_params",)
            node.type_params = []
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(""))
            changed.append(node)
    assert len(changed) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rooms.ast, "parse", lambda text: real)
        assert _rooms._computed.__wrapped__(b"") == _rooms._computed(CODE.encode())
    assert hash_of(tmp_path, CODE) == want


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_versions_of_python_hash_the_package_alike(version):
    """Where they are on this machine."""
    code = "import sys, pathlib, importlib.util as u\n" \
        "spec = u.spec_from_file_location('rooms', sys.argv[1])\n" \
        "rooms = u.module_from_spec(spec)\n" \
        "spec.loader.exec_module(rooms)\n" \
        "print(rooms.source_hash(*map(pathlib.Path, sys.argv[2:])))\n"  # fmt: skip
    paths = [path for room in ("learned_opt", *_rooms.OTHERS) for path in room_sources(room)]
    done = subprocess.run(
        [f"python{version}", "-c", code, _rooms.__file__, *paths], capture_output=True, text=True,
        env={**os.environ, "PYENV_VERSION": version},
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no python{version} here")
    assert done.stdout.strip() == source_hash(*paths)


def test_changed_code_of_a_learned_optimizer_makes_its_runs_anew(tmp_path, monkeypatch):
    """Any of its files, or a file more; not where it is, nor what is no code."""
    room = tmp_path / "elsewhere"
    shutil.copytree(OPTIMIZERS.parent, room)
    before = source_hash(*room.rglob("*.py"))
    assert before == source_hash(*room_sources("learned_opt"))
    path = next((room / "optimizers").glob("_gated*.py"))
    path.write_bytes(path.read_bytes() + b"# more\n")
    (room / "notes.txt").write_text("no code")
    assert source_hash(*room.rglob("*.py")) == before
    path.write_bytes(path.read_bytes() + b"more = 1\n")
    changed = source_hash(*room.rglob("*.py"))
    (room / "parts" / "_new.py").write_text("")
    assert len({before, changed, source_hash(*room.rglob("*.py"))}) == 3
    optimizer = GatedAdam()
    artifact = Artifact(optimizer, optimizer.init(jax.random.key(0)), {})
    old = artifact_identity(artifact)
    monkeypatch.setattr(learned_opt.eval.running._keys, "source_hash", lambda *paths: "changed")
    assert key(identity=artifact_identity(artifact)) != key(identity=old)


def test_sources_of_a_rule_are_its_own_and_what_all_rules_share():
    """Its modules by import, those inside functions too; of other rules' modules none."""
    celo, celo2 = (rule_sources(OPTIMIZERS / name) for name in ("_celo.py", "_celo2.py"))
    names = lambda paths: {p.name for p in paths if p.parent == OPTIMIZERS}  # noqa: E731
    assert names(celo2) == {"_celo2.py", "_celo2_across.py"}
    assert names(celo) == {"_celo.py"}
    everywhere = set(OPTIMIZERS.parent.rglob("*.py")) - set(OPTIMIZERS.glob("*.py"))
    assert OPTIMIZERS.parent / "parts" / "_orthogonal.py" in everywhere
    assert everywhere < set(celo2)
    assert everywhere < set(celo)


def test_sources_of_a_rule_of_ones_own_are_found_beside_it(tmp_path):
    """Several names in one import, imports in functions and in circles; no words in strings."""
    sources = {
        "rule": "from . import one, two\nwords = '''\nfrom .six import x\n'''\n",
        "one": "def f():\n    from .three import (\n        x,\n    )\n",
        "two": "from .rule import y\nimport json\n",
        "three": "from ..parts import z\n",
        "six": "",
    }
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text)
    found = rule_sources(tmp_path / "rule.py")
    here = [p.stem for p in found if p.parent == tmp_path.resolve()]
    assert here == ["one", "rule", "three", "two"]


def test_a_factory_is_its_function_and_the_source_of_its_file(tmp_path):
    def load(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return factory_identity(module.make)

    one = load("def make(hyper, num_steps): return 1\n")
    assert one.name == one.facts["factory"] == "mine:make"
    assert load("def make(hyper, num_steps): return 1\n") == one
    two = load("def make(hyper, num_steps): return 2\n")
    assert two.facts["factory"] == "mine:make"
    assert two.facts["source"] != one.facts["source"]


@pytest.mark.parametrize("factory", [lambda hyper: 1, functools.partial(optax.adam, 1), print])
def test_a_factory_without_a_source_is_one_sentence(factory):
    with pytest.raises(ValueError, match=r"must be a function at the top of a file, got .*; def"):
        factory_identity(factory)
