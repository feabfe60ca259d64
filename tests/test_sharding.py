"""Sharded parameters: the same step, and a state that is sharded like them."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import sharded
from jax.sharding import AbstractMesh, AxisType
from processes import environment
from rows import every, few
from steps import tree

from learned_opt import OPTIMIZERS


@pytest.fixture
def mesh():
    return jax.make_mesh((jax.device_count(),), ("x",), axis_types=(AxisType.Auto,))


@few
def test_the_first_state_is_sharded(cls, mesh):
    """Of every shape; the next test looks at that of three, for every optimizer."""
    shardings = sharded.place(mesh, sharded.SHAPES)
    with jax.set_mesh(mesh):
        params = jax.device_put(tree(0, shapes=sharded.SHAPES), shardings)
        state = sharded.transform(cls).init(params)
    assert sharded.misplaced(shardings, params, state) == []


@every
def test_on_two_devices(cls, mesh):
    assert mesh.size == 2
    ((error, misplaced),) = sharded.compare(cls, [mesh], ("w", "b", "c"))
    assert misplaced == []
    assert error < 1e-5


@every
@pytest.mark.parametrize("shape", [(8,), (4, 2)])
def test_types_on_a_mesh_with_explicit_axes(cls, shape):
    """All that JAX would refuse, it refuses when it traces; no device is needed."""
    names = ("x", "y")[: len(shape)]
    mesh = AbstractMesh(shape, names, axis_types=(AxisType.Explicit,) * len(shape))
    shardings, tx = sharded.place(mesh, sharded.SHAPES), sharded.transform(cls)
    params = {
        k: jax.ShapeDtypeStruct(sharded.SHAPES[k], jnp.float32, sharding=sharding)
        for k, sharding in shardings.items()
    }

    def first(p):
        state = tx.init(p)
        return tx.update(p, state, p, value=jnp.asarray(1.0)), state

    with jax.sharding.use_abstract_mesh(mesh):
        (steps, after), state = jax.eval_shape(first, params)
    assert sharded.misplaced(shardings, steps, (state, after)) == []


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["hyper_adam", "celo_adam"], id="two"),
        pytest.param([cls.name for cls in OPTIMIZERS], id="all", marks=pytest.mark.slow),
    ],
)
def test_on_eight_devices(names):
    """With axes of both types; matrices sharded by rows, by columns and by both."""
    script = Path(__file__).parent / "sharded.py"
    command = [sys.executable, script, *names]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["optimizer"] for row in rows] == [name for name in names for _ in range(3)]
    for row in rows:
        assert row["misplaced"] == [], row
        assert row["error"] < 1e-5, row
