"""Little effort for the compiler, and for the collector; a run that many tests look at."""

import gc
import os
import sys

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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder with a module of one's own in it."""
    from own_runs import MODULE

    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEARNED_OPT_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.fixture
def standard():
    """optax's own code mixes dtypes, and it runs in threads."""
    import jax

    jax.config.update("jax_numpy_dtype_promotion", "standard")
    yield
    jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def few_resamples(monkeypatch):
    """What is resampled here does not vary."""
    import learned_opt.eval.statistics._bootstrap

    monkeypatch.setattr(learned_opt.eval.statistics._bootstrap, "RESAMPLES", 100)
