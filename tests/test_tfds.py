"""The tensorflow-datasets path, on a small set that is made here, without TensorFlow."""

import sys

import numpy as np
import PIL.Image
import pytest

from tasks import SPLITS, load_dataset

tfds = pytest.importorskip("tensorflow_datasets")


class TinyColours(tfds.core.GeneratorBasedBuilder):
    """120 images of 16x20 in one grey each, darker for label 0."""

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
            grey = 10 + 80 * (i % 3) + i % 7
            yield (
                i,
                {
                    "image": PIL.Image.new("RGB", (20, 16), (grey, grey, grey)),
                    "label": i % 3,
                },
            )


@pytest.mark.filterwarnings("ignore")
def test_a_prepared_set_loads_without_tensorflow(tmp_path, monkeypatch):
    builder = TinyColours(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    monkeypatch.setattr(
        tfds, "builder", lambda name: TinyColours(data_dir=tmp_path, file_format="array_record")
    )
    data = load_dataset("tfds:tiny_colours")
    load_dataset.cache_clear()
    assert data.shape == (8, 8, 1)
    assert data.classes == 3
    assert sum(len(data.full(split).y) for split in SPLITS) == 120
    x, y = np.asarray(data.full("train").x), np.asarray(data.full("train").y)
    means = [x[y == label].mean() for label in range(3)]
    assert means == sorted(means)
    # Every image is flat: box averages keep it so.
    np.testing.assert_allclose(x.std((1, 2, 3)), 0, atol=1e-5)
    assert "tensorflow" not in sys.modules


@pytest.mark.filterwarnings("ignore")
def test_a_set_that_is_not_prepared_is_an_error_that_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"'mnist' is not prepared .*TFDS_DATA_DIR.*download_and_prepare"
    ):
        load_dataset("tfds:mnist")


@pytest.mark.filterwarnings("ignore")
def test_a_set_that_does_not_exist():
    with pytest.raises(ValueError, match="has no data set named 'nonsense'"):
        load_dataset("tfds:nonsense")
