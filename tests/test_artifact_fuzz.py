"""Files whose checksum is right and whose content is nonsense: refused in one line, or usable."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sharded import SMALL
from signed import read, write
from steps import moved_theta

import learned_opt
from learned_opt import OPTIMIZERS, Artifact, ArtifactError

COUNT = 660
PARAMS = {"matrix": (4, 3), "scalar": (), "vector": (3,)}
JUNK = (
    *(-1, 0, 1, 2, 3, 10**9, 10**30, True, False, None, 0.5, -0.5, 1e-30, 1e30, 1e308),
    *(float("inf"), float("nan"), "", "x", "float32", "float64", "(", "a" * 5000, "\n\0\ud800"),
    *([], [1], {}, {"a": None}, functools.reduce(lambda x, _: [x], range(400), [])),
)
NUMBERS = (
    *(np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, -1e30, 1e10, 1e4, -1e4, 300.0, -300.0),
    *(30.0, -30.0, 11.0, 9.0, -9.0, 1.0, 0.0, 1e-40),
)
DTYPES = (np.float64, np.float16, np.int32, np.int64, np.bool_, np.uint8, jnp.bfloat16)


def change_configuration(rng, header, tensors):
    config = header["config"]
    name = rng.choice([*config, "depth", "self", "name", ""])
    if rng.random() < 0.1:
        config.pop(name, None)
    else:
        config[str(name)] = JUNK[rng.integers(len(JUNK))]
    return header, tensors


def change_header(rng, header, tensors):
    name = str(rng.choice([*header, "more"]))
    if rng.random() < 0.3:
        header.pop(name, None)
    elif rng.random() < 0.2:
        header = JUNK[rng.integers(len(JUNK))]
    elif rng.random() < 0.3:
        header["optimizer"] = OPTIMIZERS[rng.integers(len(OPTIMIZERS))].name
    else:
        header[name] = JUNK[rng.integers(len(JUNK))]
    return header, tensors


def change_leaves(rng, header, tensors):
    name = str(rng.choice(list(tensors)))
    x = tensors.pop(name)
    changes = [
        {},
        {name: x, f"{name}.more": x},
        {name: x, name.partition(".")[0]: x[..., None]},
        {f"{name}.": x},
        {"": x, name: x},
        {name.upper(): x},
        {name: x, "log_lr.a.b": x},
        {name: x[None]},
        {name: x.reshape(-1)},
        {name: np.concatenate([np.atleast_1d(x)] * 2)},
        {name: np.atleast_1d(x)[:0]},
        {name: np.swapaxes(x[None], 0, -1)},
        {name: x.astype(DTYPES[rng.integers(len(DTYPES))])},
    ]
    return header, tensors | changes[rng.integers(len(changes))]


def change_numbers(rng, header, tensors):
    """One number, a whole leaf or all of them; or a bit."""
    names = list(tensors)
    chosen = names if rng.random() < 0.1 else [str(rng.choice(names))]
    number = np.float32(NUMBERS[rng.integers(len(NUMBERS))])
    for name in chosen:
        x = tensors[name] = tensors[name].copy()
        where = rng.integers(x.size)
        kind = rng.integers(4)
        if kind == 0:
            x.reshape(-1)[where] = number
        elif kind == 1:
            x[...] = number
        elif kind == 2:
            x *= np.float32(10.0 ** rng.integers(1, 4))
        else:
            x.reshape(-1)[where : where + 1].view(np.uint32)[:] ^= np.uint32(1 << rng.integers(32))
    return header, tensors


CHANGES = (change_configuration, change_header, change_leaves, change_numbers)


@functools.partial(jax.jit, static_argnums=0)
def three_updates(optimizer, theta):
    params = {name: jnp.full(shape, 0.7, jnp.float32) for name, shape in PARAMS.items()}
    tx = optimizer.transform(theta, num_steps=50)

    def step(carry, seed):
        params, state = carry
        grads = jax.tree.map(
            lambda p: jnp.sin(seed + jnp.arange(float(p.size))).reshape(p.shape), params
        )
        steps, state = tx.update(grads, state, params, value=jnp.float32(0.5))
        return (jax.tree.map(jnp.subtract, params, steps), state), steps

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(1.0, 4.0))[1]


def outcome(path):
    """ "refused", "usable", or what is wrong."""
    try:
        artifact = learned_opt.load(path)
    except ArtifactError as error:
        text = str(error)
        return "refused" if text.isprintable() and len(text) < 1000 else f"message: {text}"
    except Exception as error:
        return f"load: {error!r}"
    try:
        steps = three_updates(artifact.optimizer, artifact.theta)
    except Exception as error:
        return f"update: {error!r}"
    finite = all(np.isfinite(x).all() for x in jax.tree.leaves(steps))
    return "usable" if finite else f"not finite: {artifact}"


@pytest.mark.slow
def test_refused_in_one_line_or_updates_are_finite(tmp_path):
    rng, path, found = np.random.default_rng(28), tmp_path / "made.safetensors", []
    originals = []
    for cls in OPTIMIZERS:
        optimizer = cls(**SMALL.get(cls, {}))
        Artifact(optimizer, moved_theta(optimizer, 0.1), {"name": "made"}).save(path)
        originals.append(read(path))
    for i in range(COUNT):
        header, tensors = copy.deepcopy(originals[i % len(originals)])
        change = CHANGES[(i // len(originals)) % len(CHANGES)]
        write(path, *change(rng, header, tensors))
        found.append((change.__name__, outcome(path)))
    assert [x for x in found if x[1] not in ("refused", "usable")] == []
    for change in CHANGES:
        assert found.count((change.__name__, "refused")) > 30, change
    for change in (change_configuration, change_numbers):
        assert found.count((change.__name__, "usable")) > 20, change
