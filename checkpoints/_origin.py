"""Where a result comes from: the machine and the code."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import jax

PATIENCE = 20.0
"""Seconds that git may take."""

TREE = (":/", ":(top,exclude)*.readings.jsonl")
"""What counts as a change, for git."""


def describe_device() -> str:
    """For example "2 x cpu (x86_64)"."""
    devices = jax.devices()
    kind = devices[0].device_kind if devices[0].platform != "cpu" else platform.machine()
    return f"{len(devices)} x {devices[0].platform} ({kind})"


def code_version() -> str:
    """The commit of this checkout, with "+changes" if it has any; outside one the release."""
    file = Path(__file__).resolve()

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=file.parent, capture_output=True, text=True, check=True,
            timeout=PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", file.name
        )  # installed within a checkout of something else
        # Readings of test suites are no code.
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", *TREE)
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if dirty else "")
    except (OSError, ValueError, subprocess.SubprocessError):
        return f"learned-opt {importlib.metadata.version('learned-opt')}"
