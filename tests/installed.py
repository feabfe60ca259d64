"""What is installed of this checkout, and folders in which others would be found instead."""

from pathlib import Path

from learned_opt._rooms import OTHERS

ROOT = Path(__file__).parent.parent
ROOMS = ("learned_opt", *OTHERS)
DECOY = 'raise SystemError("the decoy was imported")\n'
DECOYS = ("eval.py", "meta_train.py", "tasks/_base.py", "checkpoints/__init__.py")


def decoys(folder, *more):
    """A folder with names as ours, like many; only `tasks/theirs.py` may be imported."""
    for name in (*DECOYS, *more):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DECOY)
    (folder / "tasks" / "theirs.py").write_text("RATE = 0.125\n")
    (folder / "learned_opt.egg-info").mkdir()
    return folder


def room_files():
    """All files of all rooms, from the top of the checkout."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    return [path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts]


def installed(path):
    """What a path from the top of the checkout is called when it is installed."""
    return path if path.parts[0] == "learned_opt" else "learned_opt" / path
