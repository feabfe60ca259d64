"""What ships in checkpoints/zoo: each artifact with what made it, and its updates as released.

`python tests/test_zoo.py` writes golden_zoo.json anew, for an artifact that is added.
"""

import json
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import learned_opt
from learned_opt.checkpoints import card_markdown

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden_zoo.json"
SHAPES = {"bias": (3,), "conv": (3, 3, 2, 4), "matrix": (5, 3), "scalar": ()}
STEPS, HORIZON = 8, 20


def updates_of(name):
    """Sum and norm of the update of each tensor, at each of STEPS steps: (STEPS, tensors, 2)."""
    rng = np.random.default_rng(7)
    draw = lambda: {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in SHAPES.items()}  # noqa: E731
    params = draw()
    tx = learned_opt.learned(name, num_steps=HORIZON)
    state, update, found = tx.init(params), jax.jit(tx.update), []
    for _ in range(STEPS):
        updates, state = update(draw(), state, params)
        params = jax.tree.map(jnp.add, params, updates)
        leaves = [np.asarray(u, np.float64) for u in jax.tree.leaves(updates)]
        found.append([[float(u.sum()), float(np.linalg.norm(u))] for u in leaves])
    return found


@pytest.mark.parametrize("name", learned_opt.available())
def test_updates_are_those_of_the_day_it_was_released(name):
    """To 1e-4 of each tensor's step: what jax and machines may round otherwise."""
    golden = json.loads(GOLDEN.read_text())[name]
    assert golden["sha256"] == learned_opt.load(name).sha256
    found, want = np.array(updates_of(name)), np.array(golden["updates"])
    assert (want[..., 1] > 0).all()
    assert (np.abs(found - want) < 1e-4 * want[..., 1:]).all()


@pytest.mark.parametrize("name", learned_opt.available())
def test_the_page_beside_it_is_its_card(name):
    artifact = learned_opt.load(name)
    assert (ROOT / "checkpoints" / "zoo" / f"{name}.md").read_text() == card_markdown(artifact)


@pytest.mark.parametrize("name", learned_opt.available())
def test_its_configuration_ships(name):
    """What its command names, with the settings beside it: what it was trained by."""
    from learned_opt.meta_train import load_config

    card = learned_opt.load(name).card
    words = shlex.split(card["command"])
    # "python -m meta_train CONFIG" was what it was called when the first ones were made.
    given = words[words.index("meta-train" if "meta-train" in words else "meta_train") + 1]
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    config = load_config(ROOT / given if given.endswith(".toml") else given, settings)
    assert config.optimizer == learned_opt.load(name).optimizer
    assert config.run.name == name
    assert config.run.outer_steps == card["config"]["run"]["outer_steps"]


if __name__ == "__main__":
    golden = {
        name: {"sha256": learned_opt.load(name).sha256, "updates": updates_of(name)}
        for name in learned_opt.available()
    }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
