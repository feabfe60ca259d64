"""The tensorflow-datasets path, on small sets that are made here, without TensorFlow."""

import os
import re
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from learned_opt.tasks import SPLITS, load_dataset
from learned_opt.tasks.data import _load, _tfds

tfds = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.filterwarnings("ignore")

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "tfds"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="needs the prepared sets in ../shared/data/tfds"
)


class TinyColours(tfds.core.GeneratorBasedBuilder):
    """120 images of 16x20, red and green of one grey each, darker for label 0."""

    FIRST = 10
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(16, 20, 3)),
                    "label": tfds.features.ClassLabel(num_classes=3),
                }
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(120):
            grey = self.FIRST + 80 * (i % 3) + i % 7
            image = PIL.Image.new("RGB", (20, 16), (grey, grey, 0))
            yield i, {"image": image, "label": i % 3}


class TinyText(tfds.core.GeneratorBasedBuilder):
    """Two texts of letters."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(2):
            yield i, {"text": "".join(chr(97 + (7 * j + i) % 26) for j in range(50_000))}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """tfds.builder knows the two sets, prepared in a fresh folder; load_dataset starts anew."""
    known = {"tiny_colours": TinyColours, "tiny_text": TinyText}
    for cls in known.values():
        cls(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    monkeypatch.setattr(
        tfds,
        "builder",
        lambda name, data_dir=None: known[name](data_dir=data_dir, file_format="array_record"),
    )
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEARNED_OPT_CACHE", str(tmp_path / "cache"))
    _load._load.cache_clear()
    yield tmp_path
    _load._load.cache_clear()


def test_images_load_without_tensorflow(prepared):
    data = load_dataset("tfds:tiny_colours/4")
    assert data.spec.shape == (4, 4, 1)
    assert data.spec.outputs == 3
    assert sum(len(data.full(split).y) for split in SPLITS) == 120
    x, y = np.asarray(data.full("train").x), np.asarray(data.full("train").y)
    means = [x[y == label].mean() for label in range(3)]
    assert means == sorted(means)
    # Every image is flat: box averages keep it so.
    np.testing.assert_allclose(x.std((1, 2, 3)), 0, atol=1e-5)
    assert "tensorflow" not in sys.modules


def test_colour_is_kept_where_it_is_asked_for(prepared):
    data = load_dataset("tfds:tiny_colours/8c")
    assert data.spec.shape == (8, 8, 3)
    raw = np.asarray(data.splits["train"].x)
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw[..., 0], raw[..., 1])
    assert not raw[..., 2].any()
    greys = {10 + 80 * (i % 3) + i % 7 for i in range(120)}
    assert set(np.unique(raw[..., 0])) <= greys


def test_text_loads_as_windows(prepared):
    data = load_dataset("tfds:tiny_text/8")
    assert data.spec.kind == "text"
    assert data.spec.shape == (8,)
    assert data.spec.outputs == 28  # letters, the line break, and the number of all others
    # 100,002 bytes are 24 blocks of 4096.
    assert sum(part.shape[0] for part in data.splits.values()) == 24 * 4096


def test_decoding_is_done_once_and_survives_a_kill(prepared, monkeypatch):
    x, y = _tfds.decoded("tiny_colours")
    assert isinstance(x, np.memmap)
    assert (x.shape, x.dtype, y.shape) == ((120, 16, 20, 3), np.uint8, (120,))
    # In a fixed random order, pixels and labels alike.
    np.testing.assert_array_equal((x[:, 0, 0, 0].astype(int) - 10) // 80, y)
    assert (np.diff(y) != 1).sum() > 40
    monkeypatch.setattr(_tfds, "_decode", None)  # not called again
    np.testing.assert_array_equal(_tfds.decoded("tiny_colours")[0], x)
    (folder,) = (prepared / "cache").iterdir()
    assert re.fullmatch(r"tiny_colours-1\.0\.0-[0-9a-f]{16}", folder.name)


def test_decoded_images_are_those_of_the_folder(prepared, monkeypatch):
    """Of equal name and version; a copy elsewhere is not decoded again."""
    first = _tfds.decoded("tiny_colours")[0]
    brighter = prepared / "brighter"
    monkeypatch.setattr(TinyColours, "FIRST", 60)
    TinyColours(data_dir=brighter, file_format="array_record").download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(brighter))
    second = _tfds.decoded("tiny_colours")[0]
    np.testing.assert_array_equal(second[..., :2], first[..., :2] + 50)
    means = {float(np.mean(load_dataset("tfds:tiny_colours/4").splits["train"].x))}
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    means.add(float(np.mean(load_dataset("tfds:tiny_colours/4").splits["train"].x)))
    assert len(means) == 2
    assert load_dataset("tfds:tiny_colours/4") is load_dataset("tfds:tiny_colours/4")
    copy = prepared / "copy"
    shutil.copytree(prepared / "tiny_colours", copy / "tiny_colours")
    monkeypatch.setenv("TFDS_DATA_DIR", str(copy))
    monkeypatch.setattr(_tfds, "_decode", None)  # not called again
    np.testing.assert_array_equal(_tfds.decoded("tiny_colours")[0], first)


def test_one_other_bit_in_a_record_file_is_other_data(prepared):
    """With its name, its size and its time of change as they were."""
    before = _tfds._content(_tfds._prepared("tiny_colours"))
    (path,) = (prepared / "tiny_colours" / "1.0.0").glob("*train.array_record*")
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert _tfds._content(_tfds._prepared("tiny_colours")) != before


def test_a_folder_that_does_not_exist_serves_no_cached_images(prepared, monkeypatch):
    _tfds.decoded("tiny_colours")
    gone = str(prepared / "gone")
    monkeypatch.setenv("TFDS_DATA_DIR", gone)
    with pytest.raises(ValueError, match=f"TFDS_DATA_DIR is '{gone}', and there is no such folder"):
        load_dataset("tfds:tiny_colours/4")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o027, 0o750), (0o002, 0o775)])
def test_other_users_read_the_cache_as_the_umask_says(prepared, mask, mode):
    before = os.umask(mask)
    try:
        _tfds.decoded("tiny_colours")
    finally:
        os.umask(before)
    (folder,) = (prepared / "cache").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert {stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == {mode & 0o666}


def test_a_cache_that_cannot_be_used_is_one_sentence(prepared, monkeypatch):
    message = r"'tiny_colours' cannot be kept in .*: {}; set LEARNED_OPT_CACHE to a folder"
    _tfds.decoded("tiny_colours")

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied", "image.npy")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", denied)
        with pytest.raises(ValueError, match=message.format("Permission denied")):
            load_dataset("tfds:tiny_colours/4")
    (prepared / "a file").write_text("")
    monkeypatch.setenv("LEARNED_OPT_CACHE", str(prepared / "a file"))
    with pytest.raises(ValueError, match=message.format("(Not a directory|File exists)")):
        load_dataset("tfds:tiny_colours/4")


@pytest.mark.parametrize(("scheme", "library"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_a_folder_elsewhere_without_its_library_is_one_sentence(monkeypatch, scheme, library):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setenv("TFDS_DATA_DIR", f"{scheme}://bucket/tfds")
    with pytest.raises(
        ValueError, match=f"'mnist' cannot be read from {scheme}://.*{library}.*or set"
    ) as raised:
        load_dataset("tfds:mnist/8")
    assert "\n" not in str(raised.value)


def test_an_interrupted_decoding_leaves_nothing_behind(prepared):
    class Broken:
        def __len__(self):
            return 4000

        def __getitem__(self, index):
            return {"image": np.zeros((2, 2, 1), np.uint8), "label": 0}

        def __getitems__(self, index):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tfds._decode(Broken(), prepared / "cache" / "broken")
    assert list((prepared / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:tiny_colours/17", "the image size must be 1 to 16, got 17"),
        (
            "tfds:tiny_colours/c",
            "the size after / must be an integer from 1 to 1,024, got 'tfds:tiny_colours/c'",
        ),
    ],
)
def test_bad_sizes(prepared, name, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(name)


def test_a_set_that_is_not_prepared_is_an_error_that_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEARNED_OPT_CACHE", str(tmp_path / "cache"))
    for name in ("mnist", "tiny_shakespeare", "fashion_mnist", "svhn_cropped"):
        with pytest.raises(
            ValueError,
            match=rf"'{name}' is not prep.*learned-opt tasks prepare tfds:{name}.*TFDS_DATA_DIR",
        ):
            load_dataset(f"tfds:{name}")


def test_a_set_that_does_not_exist():
    with pytest.raises(ValueError, match="has no data set named 'nonsense'"):
        load_dataset("tfds:nonsense")


@needs_shared
@pytest.mark.parametrize(
    ("name", "shape", "outputs", "examples"),
    [("tfds:mnist/14", (14, 14, 1), 10, 60_000), ("tfds:cifar10/32c", (32, 32, 3), 10, 50_000)],
)
def test_real_images_load_through_the_same_code(name, shape, outputs, examples, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", os.fspath(SHARED))
    _load._load.cache_clear()
    data = load_dataset(name)
    assert (data.spec.shape, data.spec.outputs) == (shape, outputs)
    sizes = {split: len(part.y) for split, part in data.splits.items()}
    assert sum(sizes.values()) == examples
    # The limits, up to half an example of each label.
    for split, limit in (("inner_valid", 2048), ("outer_valid", 2048)):
        assert abs(sizes[split] - limit) <= 5
    shares = np.bincount(data.splits["train"].y, minlength=10) / sizes["train"]
    for split in SPLITS:
        part = np.bincount(data.splits[split].y, minlength=10) / sizes[split]
        np.testing.assert_allclose(part, shares, atol=2e-3)
    _load._load.cache_clear()


@needs_shared
def test_real_text_loads_through_the_same_code(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", os.fspath(SHARED))
    _load._load.cache_clear()
    data = load_dataset("tfds:tiny_shakespeare/64")
    assert (data.spec.kind, data.spec.shape) == ("text", (64,))
    assert 60 < data.spec.outputs < 70
    assert sum(part.shape[0] for part in data.splits.values()) == pytest.approx(1_003_854, abs=4096)
    _load._load.cache_clear()
