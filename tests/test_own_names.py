"""Tasks of one's own by name: in Python, in configurations, and what their runs are known by."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import learned_opt
from learned_opt import tasks
from learned_opt.eval import BASELINES
from learned_opt.eval.baselines import Hyper
from learned_opt.eval.report._summary import leakage
from learned_opt.eval.running import Trial, baseline_identity, run_key
from learned_opt.meta_train import Config, ConfigError
from learned_opt.meta_train.run._provenance import run_identity
from learned_opt.meta_train.run._setup import assemble
from learned_opt.tasks import load_task

MODEL = """
import jax, jax.numpy as jnp
WIDTH, GAIN = 4, 0.5

def init(key):
    "Weights."
    return {"w": GAIN * jax.random.normal(key, (8, WIDTH))}
"""
TASKS = """
import dataclasses
from typing import ClassVar
import jax.numpy as jnp, numpy as np
from learned_opt import tasks
from learned_opt.tasks.problems import MLP
from .model import init

def loss(params, batch):
    return jnp.mean((batch["x"] @ params["w"]) ** 2) + 1

x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
letters = tasks.from_functions(init, loss, {"x": x}, batch_size=8, valid=0.5)

def several():
    return [letters, tasks.FamilySpec(Letters(), "wine", 8)]

def broken():
    raise RuntimeError("no\\nsuch thing")

@dataclasses.dataclass(frozen=True)
class Letters(MLP):
    name: ClassVar[str] = "mine"
    source: ClassVar[str] = "me"

class Bare(tasks.Problem):
    pass

class Kindless(tasks.Supervised):
    name, kinds = "kindless", None

class Short(tasks.Supervised):
    name = "short"
    def init(self, key):
        return {}

def load():
    return x, (x[:, 0] > 0).astype(int)

suite = tasks.Suite("mine", "Mine.", (tasks.EvalTask("a", tasks.FamilySpec(Letters(), "digits")),))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes a project, or changes of it, and forgets the one before."""

    def write(**changes):
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        texts = {"model": MODEL, "tasks": TASKS, "__init__": "", "unused": "x = 1"} | changes
        for name, text in texts.items():
            (folder / f"{name}.py").write_text(text)
        forget()

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
            del sys.modules[name]
        learned_opt.tasks.data._load._load.cache_clear()
        learned_opt.tasks._spec.data_fingerprint.cache_clear()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write()
    yield write
    forget()


def key_of(where="mine.tasks:letters"):
    task = load_task(where)[0]
    trial = Trial(task, Hyper(0.1), seed=0)
    return run_key(baseline_identity(BASELINES[0]), trial, curves=True)


CHANGES = {
    "a comment": ({"model": MODEL.replace("Weights.", "The weights.") + "# end\n"}, True),
    "an unused module": ({"unused": "x = 2"}, True),
    "a constant": ({"model": MODEL.replace("0.5", "0.6")}, False),
    "a line": ({"model": MODEL.replace("GAIN *", "GAIN / 2 *")}, False),
    "the loss": ({"tasks": TASKS.replace("+ 1\n", "+ 2\n")}, False),
    "the package": ({"__init__": "y = 3"}, False),
    "a row": ({"tasks": TASKS.replace("letters =", "x[59] = 7\nletters =")}, False),
    "the batch size": ({"tasks": TASKS.replace("batch_size=8", "batch_size=9")}, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_runs_are_known_by_all_that_they_depend_on(project, change):
    texts, same = CHANGES[change]
    before = key_of()
    project(**texts)
    assert (key_of() == before) is same


def test_a_changed_row_of_data_alone_is_another_run(project):
    one = load_task("mine.tasks:letters")[0]
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    functions = one.spec.problem.init, one.spec.problem.loss
    same = tasks.from_functions(*functions, {"x": x}, batch_size=8, valid=0.5)
    x[17, 3] += 1e-6
    other = tasks.from_functions(*functions, {"x": x}, batch_size=8, valid=0.5)
    assert same.spec.fingerprint == one.spec.fingerprint == other.spec.fingerprint
    assert same.spec.data_fingerprint == one.spec.data_fingerprint != other.spec.data_fingerprint


def test_the_problem_of_ones_own_in_a_family_is_its_module_too(project):
    before = key_of("mine.tasks:several"), key_of("mine.tasks:suite")
    project(tasks=TASKS.replace('"me"', '"me"\n    depth = 3'))
    assert key_of("mine.tasks:suite") != before[1]
    ours = tasks.FamilySpec(learned_opt.tasks.problems.MLP(), "digits")
    assert ours.fingerprint == tasks.content_hash(tasks.describe(ours))
    assert not ours.own


def test_what_functions_hold_counts_where_no_file_says_it():
    """Closures, defaults and partials; a function that was typed is known by its text."""

    def made(scale, how):
        init = lambda key, scale=scale: {"w": jnp.ones(3) * scale}  # noqa: E731
        loss = functools.partial(lambda s, params, batch: s * params["w"].sum(), scale)
        if how == "text":
            names = {}
            exec(f"def loss(params, batch):\n    return {scale} * params['w'].sum()", names)
            loss = names["loss"]
        return tasks.from_functions(init, loss, np.ones((9, 1)), batch_size=2, valid=0.5).spec

    for how in ("partial", "text"):
        prints = [made(scale, how).fingerprint for scale in (2.0, 2.0, 3.0)]
        assert prints[0] == prints[1] != prints[2]


def test_functions_of_one_name_in_one_file_are_told_apart(project, tmp_path):
    """By their code; docstrings, lines and the order of sets in a process do not count."""
    first = "losses = [lambda x: x + 1.5, lambda x: x - 1.5, lambda x: x + 2.5, lambda y, x: x]\n"
    text = f"{first}if {{}}:\n    def scale(x):\n        return x in {{{{'a', 'b', 'c', 'd'}}}}\n"
    text += "else:\n    def scale(x):\n        {}return x in {{'a', 'b', 'c', 'e'}}\n"

    def told(chosen, doc=""):
        (tmp_path / "held.py").write_text(text.format(chosen, doc))
        code = "import held; from learned_opt.tasks import Facts\n"
        code += "print(*[str(Facts().of(f)).replace(' ', '') for f in [*held.losses, held.scale]])"
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    one, other, said = told(1), told(0), told(0, "'Said.'\n\n        ")
    assert len({*one[:4]}) == 4
    assert one[:4] == other[:4]
    assert one[4] != other[4] == said[4]


READ = {
    "a number of a helper": "def scale():\n    return SET",
    "a dict": "SETTINGS = {'scale': SET}\ndef scale():\n    return SETTINGS['scale']",
    "an object": "import types\nnames = types.SimpleNamespace(scale=SET)\n"
    "def scale():\n    return names.scale",
    "a method": "class Scale:\n    def __call__(self):\n        return SET\nscale = Scale()",
    "a range": "def times(steps):\n    return lambda: sum(1.0 for _ in steps)\n"
    "scale = times(range(SET))",
    "a function of a package": "import jax\nkind = [jax.nn.relu, jax.nn.gelu][SET - 1]\n"
    "def scale():\n    return kind(1.0)",
}  # fmt: skip


@pytest.mark.parametrize("through", ["from .model import init, scale", "from . import model"])
@pytest.mark.parametrize("how", READ)
def test_what_functions_read_of_modules_counts_where_the_source_does_not_say_it(
    project, monkeypatch, how, through
):
    """Such as a number of the environment, however the loss comes to it."""
    name = "scale" if "scale" in through else "model.scale"
    texts = {
        "model": f"{MODEL}\nimport os\nSET = int(os.environ['SET'])\n{READ[how]}\n",
        "tasks": TASKS.replace("from .model import init", f"{through}\nfrom .model import init")
        .replace("+ 1\n", f"+ {name}()\n"),
    }  # fmt: skip
    keys = []
    for setting in "112":
        monkeypatch.setenv("SET", setting)
        project(**texts)
        keys.append(key_of())
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_another_process(project, tmp_path):
    expected = load_task("mine.tasks:letters")[0].spec.fingerprint
    code = "print(load_task('mine/tasks.py:letters')[0].spec.fingerprint)"
    code = f"from learned_opt.tasks import load_task\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [expected]


def test_a_name_gives_tasks(project):
    (one,) = load_task("mine.tasks:letters", num_steps=70)
    assert (one.name, one.network, one.horizon, one.own) == ("letters", "letters", 70, True)
    assert load_task("mine.tasks:letters")[0].spec is one.spec
    several = load_task("mine/tasks.py:several", num_steps=5)
    assert [(t.name, t.horizon, t.own) for t in several] == [
        ("letters", 5, True), ("several-2", 5, True)
    ]  # fmt: skip
    assert several[1].spec is load_task("mine.tasks:several")[1].spec
    assert load_task("mine.tasks:suite")[0].name == "a"
    seen = {"trained_on": {"networks": ["letters", "mine"], "datasets": ["own:letters", "digits"]}}
    assert {leakage(seen, task) for task in several} == {"yours"}


WRONG = {
    "letters": "--task must be MODULE:NAME, for example my_project.tasks:letters, got 'letters'",
    "mine.task:letters": "cannot be imported: No module named 'mine.task'",
    "mine.tasks:digits": "cannot be imported: module 'mine.tasks' has no attribute 'digits'",
    "mine/other.py:letters": "there is no file mine/other.py",
    "mine.tasks:broken": "--task mine.tasks:broken raised RuntimeError: no",
    "mine.tasks:x": "must be a task, a FamilySpec, a list of them, a suite, or a function that",
    "mine.tasks:Letters": "must be a task, a FamilySpec",
    "json.py:loads": "there is no file json.py",
}


@pytest.mark.parametrize("where", WRONG)
def test_a_name_that_is_wrong_is_one_sentence(project, where):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_task(where)
    assert WRONG[where] in str(caught.value)
    assert "\n" not in str(caught.value)


TABLE = {
    "families": [
        {"task": "mine.tasks:several", "weight": 0.5},
        {
            "problem": "mine.tasks:Letters", "data": "mine.tasks:load", "batch_size": 4,
            "options": {"max_width": 8, "widths": [2, 8]},
        },
    ],
    "valid": {"suite": "mine.tasks:suite+quickstart", "horizon": 9},
}  # fmt: skip


def test_a_configuration_learns_from_them_and_is_judged_by_them(project):
    config = Config.from_dict(TABLE)
    assert [source.name for source in config.sources] == [
        "letters", "several-2", "mine-mine.tasks:load"
    ]  # fmt: skip
    assert [config.where(i) for i in range(3)] == ["families[0]", "families[0]", "families[1]"]
    assert config.judge_names[0] == "a"
    assert len(config.judged) == 1 + len(tasks.load_suite("quickstart"))
    assert Config.from_dict(config.to_dict()) == config
    _, problems, _ = assemble(config)
    assert problems[2].family.data.spec.shape == (8,)
    identity = run_identity(config, None)
    assert len(identity["own"]) == 4
    project(tasks=TASKS.replace("+ 1\n", "+ 2\n"))
    assert run_identity(Config.from_dict(TABLE), None)["own"][0] != identity["own"][0]
    plain = Config()
    assert "own" not in run_identity(plain, None)
    assert "task" not in plain.to_dict()["family"]


WRONG_TABLES = {
    "family.task mine.tasks:nothing cannot be imported": {"task": "mine.tasks:nothing"},
    "family.task says all but the weight": {"task": "mine.tasks:letters", "batch_size": 3},
    "family.problem mine.tasks:loss must be a class": {"problem": "mine.tasks:loss"},
    "unknown key family.options.size": {"problem": "mine.tasks:Letters", "options": {"size": 1}},
    "family.problem mine.tasks:Bare must have a name, a string in its": {
        "problem": "mine.tasks:Bare"
    },
    "family.problem mine.tasks:Kindless must say on which kinds of data it is trained, such as "
    "kinds = ('value',), a tuple of some of label, value, text, points, got None": {
        "problem": "mine.tasks:Kindless"
    },
    "family.problem mine.tasks:Short must have init(self, n, spec, key), got init(self, key)": {
        "problem": "mine.tasks:Short"
    },
}


@pytest.mark.parametrize("message", WRONG_TABLES)
def test_a_wrong_configuration_is_one_sentence(project, message):
    with pytest.raises(ConfigError) as caught:
        Config.from_dict({"family": WRONG_TABLES[message]})
    assert message in str(caught.value)


def test_the_class_of_the_page_is_a_family(project, tmp_path):
    """Its inputs are scaled by a number of each run, and its loss is Supervised's."""
    page = (Path(__file__).parent.parent / "docs" / "meta-training.md").read_text()
    (text,) = re.findall(r'^```python title="curves.py"\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    (tmp_path / "curves.py").write_text(text)
    config = Config.from_dict({"family": {"problem": "curves:Curve", "data": "curves:load"}})
    with jax.numpy_dtype_promotion("standard"):
        family = config.sources[0].spec.build()
        runs = [family.sample(jax.random.key(i)) for i in range(2)]
        scales = [float(run.numbers["scale"]) for run in runs]
        batch = family.batch(runs[0], jax.random.key(2), "train")
        params = runs[0].init(jax.random.key(0))
        zeros = jax.tree.map(jnp.zeros_like, params)
        loss, _ = runs[0].loss(zeros, batch, jax.random.key(3))
    assert len({*scales}) == 2
    assert all(0.3 <= scale <= 3 for scale in scales)
    np.testing.assert_allclose(loss, np.mean(np.square(batch.y)) / 2, rtol=1e-5)
    sys.modules.pop("curves")
