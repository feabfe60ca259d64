"""What the axes of parameters are: by name, by type of layer, or as told."""

from ._layout import Axes as Axes
from ._layout import Layout as Layout
from ._layouts import AxesLike as AxesLike
from ._layouts import describe_layouts as describe_layouts
from ._layouts import layouts as layouts
