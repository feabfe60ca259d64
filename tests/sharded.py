"""Updates of sharded parameters beside those of whole ones.

`python tests/sharded.py NAME ...` prints a table over 8 simulated devices, a JSON line a row.
"""

import json
import os
import sys
from pathlib import Path

from quick import QUICK

if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {QUICK}"
    sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from steps import moved_theta, tree

from learned_opt import OPTIMIZERS, Hypernet
from learned_opt.transformation._stacks import SMALL as STACKED_BELOW

SMALL = {Hypernet: {"lstm": 12, "bank": 4}}
# No size twice, so that an axis of a state tells whose it is. Two are too large to be stacked by
# cheap rules, "u" is narrow, "t" a stack of matrices. "b" and "c" are twins, which may be stacked.
SHAPES = {
    "w": (192, 160), "v": (128, 176), "u": (48, 14), "t": (2, 24, 40), "b": (96,), "c": (96,),
    "s": (),
}  # fmt: skip
SPECS = {
    1: {
        "w": P("x"), "v": P(None, "x"), "u": P("x"), "t": P(None, None, "x"), "b": P("x"),
        "c": P("x"),
    },
    2: {
        "w": P("x", "y"), "v": P(None, ("x", "y")), "u": P("x"), "t": P(None, "x", "y"),
        "b": P(("x", "y")), "c": P(("x", "y")),
    },
}  # fmt: skip
STEPS = 2


def transform(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    return optimizer.transform(moved_theta(optimizer, 0.1), num_steps=10)


def place(mesh, names):
    specs = SPECS[len(mesh.shape)]
    return {name: NamedSharding(mesh, specs.get(name, P())) for name in names}


def misplaced(shardings, params, state):
    """What is not sharded like the parameter it belongs to, or else not whole everywhere."""
    axes, (mesh,) = {}, {sharding.mesh for sharding in shardings.values()}
    for name, sharding in shardings.items():
        axes |= dict(zip(SHAPES[name], sharding.spec, strict=False))
    wanted = [(f"parameter {name}", x, shardings[name].spec) for name, x in params.items()]
    for x in jax.tree.leaves(state):
        wanted.append((f"state {x.shape}", x, P(*(axes.get(size) for size in x.shape))))
    whole = NamedSharding(mesh, P())
    return [
        f"{name}: {x.sharding}, not {spec}"
        for name, x, spec in wanted
        if not (x.sharding or whole).is_equivalent_to(NamedSharding(mesh, spec), x.ndim)
    ]


def run(tx, params, grads):
    """Steps and parameters after each update, the first state and the last."""

    @jax.jit
    def update(g, state, p):
        steps, state = tx.update(g, state, p, value=jnp.asarray(1.0))
        return steps, state, jax.tree.map(jnp.subtract, p, steps)

    path, states = [], [tx.init(params)]
    for _ in range(STEPS):
        steps, state, after = update(grads, states[-1], params)
        path.append((steps, after))
        states.append(state)
    return path, (states[0], states[-1])


def compare(cls, meshes, names=tuple(SHAPES)):
    """For every mesh: error of the updates in units of the largest step, and what is misplaced."""
    tx, shapes = transform(cls), {name: SHAPES[name] for name in names}
    params, grads = tree(0, shapes=shapes), tree(1, shapes=shapes)
    plain, _ = run(tx, params, grads)
    for mesh in meshes:
        shardings = place(mesh, names)
        with jax.set_mesh(mesh):
            path, states = run(tx, *(jax.device_put(x, shardings) for x in (params, grads)))
        errors, wrong = [], []
        for (steps, after), (want, _) in zip(path, plain, strict=True):
            largest = max(np.abs(x).max() for x in want.values())
            errors += [np.abs(np.asarray(steps[k]) - want[k]).max() / largest for k in names]
            if mesh.axis_types[0] == AxisType.Auto:
                # Where it chooses, the compiler may move what is stacked.
                after = {k: x for k, x in after.items() if x.size >= STACKED_BELOW}
            wrong += misplaced(shardings, after, states)
        yield float(max(errors)), wrong


if __name__ == "__main__":
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    kinds = [((8,), AxisType.Auto), ((4, 2), AxisType.Auto), ((4, 2), AxisType.Explicit)]
    meshes = [
        jax.make_mesh(shape, ("x", "y")[: len(shape)], axis_types=(kind,) * len(shape))
        for shape, kind in kinds
    ]
    for cls in OPTIMIZERS:
        if cls.name in sys.argv[1:]:
            for (shape, kind), (error, wrong) in zip(kinds, compare(cls, meshes), strict=True):
                row = {"optimizer": cls.name, "mesh": shape, "axes": kind.name}
                print(json.dumps(row | {"error": error, "misplaced": wrong}), flush=True)
            jax.clear_caches()
