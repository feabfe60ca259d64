"""The report: pure functions from its dictionary to HTML, Markdown and JSON."""

from ._colours import COLOURS as COLOURS
from ._colours import colour_of as colour_of
from ._page import to_html as to_html
