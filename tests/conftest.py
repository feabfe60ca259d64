"""Little effort for the compiler, and for the collector; a run that many tests look at."""

import gc
import os

import pytest
from quick import QUICK

# Read when the first test makes an array.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " " + QUICK

# Tracing makes many objects, nearly none of them garbage.
gc.set_threshold(100_000, 20, 50)


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """A file with the configuration of the smallest run."""
    from processes import write_config

    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, config):
    """The folder of that run, which a process of its own has done; to be copied, not changed."""
    from processes import finish, launch

    out = tmp_path_factory.mktemp("whole") / "run"
    finish(launch(config, "--out", out))
    return out


@pytest.fixture
def said(capsys):
    """Runs an eval command: its status and what it said, which is one line without a trace."""
    from learned_opt.eval.__main__ import main

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert "Traceback" not in error
        return status, error[len("error: ") : -1]

    return run
