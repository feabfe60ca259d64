"""Where examples come from: arrays on the device, text, points, tensorflow-datasets."""

from ._dataset import Dataset as Dataset
from ._dataset import Mixture as Mixture
from ._dataset import mixture as mixture
from ._dataset import split_dataset as split_dataset
from ._load import EMBEDDED as EMBEDDED
from ._load import load_dataset as load_dataset
from ._points import Points as Points
from ._text import Text as Text
from ._text import split_text as split_text
from ._tfds import decoded as decoded
from ._tfds import prepare_tfds as prepare_tfds
