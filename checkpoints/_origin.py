"""Where a result comes from: the machine and the code."""

import platform
import subprocess
from pathlib import Path

import jax


def describe_device() -> str:
    """For example "2 x cpu (x86_64)"."""
    devices = jax.devices()
    kind = devices[0].device_kind if devices[0].platform != "cpu" else platform.machine()
    return f"{len(devices)} x {devices[0].platform} ({kind})"


def code_version() -> str:
    """The commit of this checkout, with "+changes" if it has any; "unknown" outside one."""
    root = Path(__file__).resolve().parent

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
