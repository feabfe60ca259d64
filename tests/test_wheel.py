"""The wheel, built, installed and used in a folder of files that bear the names of its rooms."""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from installed import ROOMS, ROOT, decoys, installed, room_files
from processes import environment, write_config

import learned_opt
from learned_opt.eval.running._keys import artifact_identity
from learned_opt.meta_train.run._provenance import code_identity

pytestmark = pytest.mark.slow
MINE = """import optax
from tasks.theirs import RATE


def rule(num_steps):
    return optax.sgd(RATE)
"""


def call(place, *words, status=0):
    env = environment() | {"PYTHONPATH": ""}
    done = subprocess.run(
        list(map(str, words)), cwd=place, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "decoy" not in done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A repository of someone else's, full of decoys, with the wheel installed in its `env`."""
    top = tmp_path_factory.mktemp("installed")
    source = top / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    place = decoys(top / "place", "learned_opt/__init__.py")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    steps = [
        [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", top, source],
        [sys.executable, "-m", "venv", "--without-pip", place / "env"],
        ["git", "init", "--quiet", place],
        ["git", "-C", place, "add", "eval.py"],
        ["git", "-C", place, "-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"],
    ]
    for step in steps:
        call(top, *step)
    (wheel,) = top.glob("*.whl")
    pip += ["--python", place / "env" / "bin" / "python"]
    call(top, *pip, "install", "--no-deps", "--no-index", wheel)
    # What it depends on is what this environment has; the editable install is not among it.
    site = sysconfig.get_path("purelib", vars={"base": str(place / "env")})
    (Path(site) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place, wheel


def test_the_wheel_holds_one_package_with_all_its_files(place):
    with zipfile.ZipFile(place[1]) as wheel:
        names = {Path(name) for name in wheel.namelist() if not name.endswith("/")}
    assert {name.parts[0] for name in names} == {"learned_opt", "learned_opt-0.2.0.dev0.dist-info"}
    found = {name for name in names if name.parts[0] == "learned_opt"}
    assert found == {installed(path) for path in room_files()}


def test_everything_runs_from_the_wheel_among_decoys(place):
    place, _ = place
    binary = place / "env" / "bin"
    command = binary / "learned-opt"
    assert "learned-opt meta-train quickstart" in call(place, command, "--help")
    assert "small" in call(place, command, "list")
    assert learned_opt.load("small").sha256 in call(place, command, "show", "small")
    assert "META_VALID_V1" in call(place, command, "tasks", "list")
    assert "learned-opt eval baselines" in call(place, command, "eval", "--help")
    wrong = ["meta-train", "quickstart", "--set", "run.sed=1"]
    assert "did you mean run.seed?" in call(place, command, *wrong, status=2)

    config = write_config(place)
    call(place, command, "meta-train", config.name, "--out", "out")
    artifact = learned_opt.load(place / "out" / "tiny.safetensors")
    assert artifact.card["command"] == f"learned-opt meta-train {config.name} --out out"
    assert artifact.card["code"] == "learned-opt 0.2.0.dev0"

    (place / "mine.py").write_text(MINE)
    words = ["--optimizer", "mine:rule", "--rival", "out/tiny.safetensors", "--smoke"]
    assert "Report: " in call(place, command, "eval", *words, "--out", "report")
    page = (place / "report" / "report.md").read_text()
    assert f"learned-opt eval {' '.join(words)} --out OUT" in page


def test_what_is_installed_is_the_same_code(place):
    """Its identity, by which runs are resumed and shipped runs are found, knows no place."""
    code = (
        "import json, learned_opt\nfrom pathlib import Path\n"
        "from learned_opt.meta_train.run._provenance import code_identity\n"
        "from learned_opt.eval.running._keys import artifact_identity\n"
        "rule = artifact_identity(learned_opt.load('small')).facts\n"
        "print(json.dumps([code_identity(), rule, learned_opt.__file__]))\n"
    )
    found = call(place[0], place[0] / "env" / "bin" / "python", "-P", "-c", code)
    identity, rule, file = json.loads(found)
    assert Path(file).is_relative_to(place[0] / "env")
    assert identity == code_identity()
    assert rule == artifact_identity(learned_opt.load("small")).facts
