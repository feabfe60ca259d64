"""The arrows between rooms form a DAG, and using an optimizer loads nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import learned_opt

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "learned_opt": set(),
    "tasks": set(),
    "checkpoints": {"learned_opt"},
    "meta_train": {"learned_opt", "tasks", "checkpoints"},
    "eval": {"learned_opt", "tasks", "checkpoints"},
}


FLOOR = {"_checks", "_extras", "_fields", "_files", "_modules", "_rooms", "devices"}
"""Modules of learned_opt that import only each other of ours: all rooms stand on them."""


def rooms_imported(text: str) -> set[str]:
    """Rooms by their folders; `learned_opt` where a module of no other room is named."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.split(".")[0] == "learned_opt"]
    parts = [p for p in parts if p[1:2] == [] or p[1] not in FLOOR]
    return {p[1] if len(p) > 1 and p[1] in ALLOWED else p[0] for p in parts}


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_only_what_they_may(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        extra = rooms_imported(file.read_text()) - ALLOWED[room] - {room}
        assert not extra, f"{file.relative_to(ROOT)} imports {', '.join(extra)}"


def test_the_parser_sees_every_form_of_import():
    text = (
        "import learned_opt.tasks._mlp\ndef f():\n    from learned_opt.eval.x import Runner\n"
        "from learned_opt import checkpoints, load\nfrom . import x\n"
    )
    assert rooms_imported(text) == {"tasks", "eval", "checkpoints", "learned_opt"}


def test_learned_opt_loads_no_other_room_and_no_heavy_package():
    code = (
        "import sys, learned_opt; learned_opt.available();"
        "print([m for m in ('learned_opt.tasks', 'learned_opt.eval', 'learned_opt.meta_train',"
        " 'learned_opt.checkpoints', 'orbax', 'haiku',"
        " 'sklearn', 'matplotlib', 'tensorflow_datasets', 'evosax') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


LAZY = """
import importlib.metadata, sys, learned_opt
assert learned_opt.__version__ == importlib.metadata.version("learned-opt")
assert "jax" not in sys.modules
names = {}
exec("from learned_opt import *", names)
assert names["load"] is learned_opt.load
assert {"learned", "OPTIMIZERS", "Hypernet"} < set(learned_opt.__all__) < set(dir(learned_opt))
assert learned_opt.artifacts._artifact.load is learned_opt.load
"""


def test_names_are_loaded_when_they_are_asked_for():
    subprocess.run([sys.executable, "-c", LAZY], cwd=ROOT, check=True)
    with pytest.raises(AttributeError, match="module 'learned_opt' has no attribute 'learnd'"):
        learned_opt.learnd  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'learnd' from 'learned_opt'"):
        from learned_opt import learnd  # noqa: F401


def test_threads_that_ask_first_at_once_all_get_it():
    code = (
        "from concurrent.futures import ThreadPoolExecutor as Pool; import learned_opt;"
        "names = ['load', 'learned', 'Hypernet', 'transformation'] * 3;"
        "found = list(Pool(12).map(lambda name: getattr(learned_opt, name), names));"
        "assert found == [getattr(learned_opt, name) for name in names]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_no_module_is_over_400_lines():
    for room in (*ALLOWED, "tests", "benchmarks", "research"):
        for file in (ROOT / room).rglob("*.py"):
            assert len(file.read_text().splitlines()) <= 400, file


FLOORS = (
    "baselines", "running", "tuning", "contestants", "plan", "statistics", "grid", "cost", "report",
)  # fmt: skip
"""Folders of eval, each of which stands on those before it."""


@pytest.mark.parametrize("folder", FLOORS)
def test_folders_of_eval_stand_on_those_before_them(folder):
    below = set(FLOORS[: FLOORS.index(folder)])
    for file in (ROOT / "eval" / folder).rglob("*.py"):
        level = len(file.relative_to(ROOT / "eval").parts)
        nodes = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)]
        used = {node.module.split(".")[0] for node in nodes if node.level == level}
        assert used <= below, file


def test_every_folder_of_eval_has_its_floor():
    assert {path.parent.name for path in (ROOT / "eval").glob("*/__init__.py")} == set(FLOORS)
