"""The report: made from runs, written once and read back once; its pages, figures and tables."""

from ._artifact_card import add_results as add_results
from ._artifact_card import load_file as load_file
from ._artifact_card import save_with_card as save_with_card
from ._compare import PairedReports as PairedReports
from ._compare import compare_reports as compare_reports
from ._compare_page import comparison_html as comparison_html
from ._compare_page import comparison_markdown as comparison_markdown
from ._compare_page import write_comparison as write_comparison
from ._declared import with_declared as with_declared
from ._markdown import to_markdown as to_markdown
from ._page import to_html as to_html
from ._reader import ReportError as ReportError
from ._reader import read_report as read_report
from ._reader import report_from_json as report_from_json
from ._report import Report as Report
from ._summary import summarise as summarise
from ._writer import write_report as write_report
