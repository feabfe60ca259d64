"""What is installed is one package, and it works among files that bear the names of its rooms."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from _pytest.pathlib import import_path
from installed import ROOMS, ROOT, decoys, installed, room_files

import learned_opt
from learned_opt._extras import MissingExtraError, needs_extra
from learned_opt._rooms import OTHERS, room_folder

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CURE = "which is not installed: pip install 'learned-opt[train]'"


def test_one_name_is_installed_and_no_folder_is_forgotten():
    setup = PROJECT["tool"]["setuptools"]
    files = [installed(path) for path in room_files()]
    folders_of_data = {"learned_opt.eval.archive", "learned_opt.tasks.suites.references"}
    found = {".".join(path.parent.parts) for path in files} - folders_of_data
    assert found == set(setup["packages"])
    assert setup["package-dir"] == {f"learned_opt.{room}": room for room in OTHERS}
    data = [
        str(Path(*package.split("."), name))
        for package, names in setup["package-data"].items()
        for name in names
    ]
    others = [path for path in files if path.suffix != ".py"]
    assert len(others) > 20
    assert [path for path in others if not any(path.match(name) for name in data)] == []


def test_every_folder_is_checked_by_pyright():
    """It follows no link to a folder that is not named."""
    inner = {p.parent for p in (ROOT / "learned_opt").glob("*/*.py")}
    wanted = {"benchmarks", "research", "learned_opt", *(f"learned_opt/{room}" for room in OTHERS)}
    wanted |= {f"learned_opt/{folder.name}" for folder in inner}
    named = PROJECT["tool"]["pyright"]["include"]
    assert {name.removeprefix("build/typing/") for name in named} == wanted


def test_nothing_imports_a_room_by_the_name_of_its_folder():
    old = re.compile(rf"^\s*(>>> |\.\.\. )?(from|import) ({'|'.join(OTHERS)})\b(?!.theirs)", re.M)
    assert old.search("x\n    >>> from tasks import x")
    for folder in (*ROOMS, "benchmarks", "research", "tests", "docs"):
        for path in (p for end in ("py", "md") for p in (ROOT / folder).rglob(f"*.{end}")):
            assert not old.search(path.read_text()), path


def test_rooms_are_found_without_their_import():
    for room in ROOMS:
        assert room_folder(room) == ROOT / room
    assert learned_opt.artifacts._artifact.ZOO == ROOT / "checkpoints" / "zoo"


@pytest.mark.parametrize("name", ["tasks/_base.py", "eval/report/__init__.py"])
def test_doctests_run_in_the_module_that_is_installed(name, request):
    path = ROOT / name
    plugin = request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    plugin.pytest_collect_file(path)
    found = import_path(path, mode="importlib", root=ROOT, consider_namespace_packages=False)
    parts = [part for part in Path(name).with_suffix("").parts if part != "__init__"]
    assert found is importlib.import_module(".".join(["learned_opt", *parts]))


def test_a_missing_package_is_one_sentence():
    with pytest.raises(MissingExtraError) as error, needs_extra("outer"), needs_extra("inner"):
        import no_such.package  # noqa: F401
    assert str(error.value) == f"inner needs the package no_such, {CURE}"
    assert error.value.name == "no_such"
    with pytest.raises(ModuleNotFoundError) as error, needs_extra("a fault of ours"):
        import learned_opt.lost  # noqa: F401
    assert str(error.value) == "No module named 'learned_opt.lost'"


def test_a_package_that_only_a_data_set_needs(monkeypatch):
    from learned_opt.tasks import load_dataset
    from learned_opt.tasks.data import _load

    _load._load.cache_clear()
    for name in ("sklearn", "sklearn.datasets", "tensorflow_datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"tasks.load_dataset needs the package sklearn, "):
        load_dataset("digits")
    with pytest.raises(MissingExtraError, match="tfds:mnist needs the package tensorflow_datasets"):
        load_dataset("tfds:mnist/8")


WITHOUT_EXTRAS = """
import importlib, sys, numpy
for name in sys.argv[1:]:
    sys.modules[name] = None
import learned_opt
from learned_opt.__main__ import main
learned_opt.learned("small", num_steps=3).init({"w": numpy.zeros(3)})
assert main(["show", "small"]) == 0
for room in ("tasks", "checkpoints", "meta_train", "eval"):
    try:
        importlib.import_module(f"learned_opt.{room}")
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
for words in ("tasks list", "meta-train quickstart", "eval small --out x"):
    assert main(words.split()) == 2
"""


def test_without_the_extra_an_optimizer_works_and_the_rest_says_what_to_install(tmp_path):
    plain = lambda name: re.split("[<>=]", name.lower().replace("_", "-"))[0]  # noqa: E731
    extra = {plain(name) for name in PROJECT["project"]["optional-dependencies"]["train"]}
    modules = importlib.metadata.packages_distributions().items()
    blocked = [m for m, dists in modules if extra & {plain(d) for d in dists}]
    assert {"haiku", "orbax", "PIL", "sklearn", "rich"} <= set(blocked)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *blocked],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *imports, tasks, meta_train, evaluate = done.stderr.splitlines()
    assert len(imports) == len(OTHERS)
    for line in imports:
        assert re.fullmatch(
            rf"learned_opt\.[a-z_]+ needs the package [A-Za-z_]+, {re.escape(CURE)}", line
        )
    assert tasks == f"error: {imports[0]}"
    assert meta_train.startswith("error: learned_opt.")
    assert evaluate == f"error: {imports[3]}"
    assert list(tmp_path.iterdir()) == []


def test_among_files_of_the_same_names_ours_are_imported(tmp_path):
    code = (
        "import learned_opt.tasks, learned_opt.eval, learned_opt.meta_train, sys;"
        "import tasks.theirs;"
        "print(*{m.__file__ for n, m in sys.modules.items() if n.startswith('learned_opt.')})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=decoys(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    found = [Path(name).relative_to(ROOT) for name in done.stdout.split()]
    assert {path.parts[0] for path in found} == set(ROOMS)
