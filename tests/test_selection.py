"""What is learned from, and what selects theta, cannot read the test split."""

from pathlib import Path

import jax
import pytest

from learned_opt.meta_train import build, load_config

CONFIGS = Path(__file__).parent.parent / "meta_train" / "configs"
SEVERAL = {
    "its own families": [],
    "a suite that selects": ["valid.suite=quickstart"],
}


@pytest.mark.parametrize("overrides", SEVERAL.values(), ids=SEVERAL)
def test_neither_meta_training_nor_selection_can_read_the_test_split(overrides):
    _, problems, judges = build(load_config(CONFIGS / "quickstart.toml", overrides))
    assert problems
    assert judges
    families = [problem.family for problem in problems]
    families += [judge.problem.family for judge in judges]
    key = jax.random.key(0)
    for family in families:
        task = family.sample(key)
        for split in ("train", "inner_valid", "outer_valid"):
            assert family.batch(task, key, split).x.size > 0
        with pytest.raises(ValueError, match="withholds the test split"):
            family.batch(task, key, "test")
        with pytest.raises(ValueError, match="withholds the test split"):
            family.full(task, "test")
