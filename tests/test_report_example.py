"""The example in docs is what the code of today makes of the data inside it."""

import json
import re
from pathlib import Path

import matplotlib
import pytest

from eval.report import to_markdown
from eval.report._draw import STYLE, alone
from eval.report._forest import headline

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "example"


@pytest.fixture(scope="module")
def report():
    page = (EXAMPLE / "report.html").read_text()
    (data,) = re.findall(r'id="report">(.*?)</script>', page, re.S)
    return json.loads(data)


def test_the_markdown_is_made_of_the_data_of_the_page(report):
    assert (EXAMPLE / "report.md").read_bytes() == to_markdown(report).encode()


def test_the_figure_is_made_of_the_data_of_the_page(report):
    with matplotlib.rc_context(STYLE):
        drawn = alone(headline(report)["loss"])
    assert (EXAMPLE / "report.svg").read_bytes() == drawn.encode()


def test_the_sentence_is_made_of_the_data_of_the_page(report):
    from eval._sentence import sentence

    assert report["sentence"] == sentence(report)


def test_the_readme_quotes_the_sentence(report):
    readme = (ROOT / "README.md").read_text()
    _, after = readme.split("[page](docs/example/report.html)")
    quote = re.search(r"(?:^> .*\n)+", after, re.M)[0]
    words = " ".join(line.removeprefix("> ") for line in quote.splitlines())
    assert len(words) > 100
    assert words in report["sentence"]
