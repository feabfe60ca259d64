"""The report: pure functions from its dictionary to HTML, Markdown and JSON."""

from ._colours import COLOURS as COLOURS
from ._colours import colour_of as colour_of
from ._compare import compare_reports as compare_reports
from ._compare import comparison_html as comparison_html
from ._compare import comparison_markdown as comparison_markdown
from ._compare import write_comparison as write_comparison
from ._markdown import to_markdown as to_markdown
from ._page import to_html as to_html
from ._write import to_json as to_json
from ._write import write_report as write_report
