"""The reports in docs are what the code of today makes of the data inside them."""

import functools
import json
import re
from pathlib import Path

import matplotlib
import pytest

from learned_opt.eval.report import to_markdown
from learned_opt.eval.report._draw import STYLE, alone
from learned_opt.eval.report._forest import headline

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT / "docs" / "example", ROOT / "docs" / "reports" / "META_TEST_V1"]


@functools.cache
def report_of(folder):
    page = (folder / "report.html").read_text()
    (data,) = re.findall(r'id="report">(.*?)</script>', page, re.S)
    return json.loads(data)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_markdown_is_made_of_the_data_of_the_page(folder):
    # What it was called when some of them were made.
    kept = (folder / "report.md").read_text().replace("\npython -m eval ", "\nlearned-opt eval ")
    assert kept == to_markdown(report_of(folder))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_figure_is_made_of_the_data_of_the_page(folder):
    with matplotlib.rc_context(STYLE):
        drawn = alone(headline(report_of(folder))["loss"])
    assert (folder / "report.svg").read_bytes() == drawn.encode()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_sentence_is_made_of_the_data_of_the_page(folder):
    from learned_opt.eval._sentence import sentence

    assert report_of(folder)["sentence"] == sentence(report_of(folder))


def test_the_readme_quotes_the_sentence():
    report = report_of(FOLDERS[0])
    readme = (ROOT / "README.md").read_text()
    _, after = readme.split("[page](docs/example/report.html)")
    quote = re.search(r"(?:^> .*\n)+", after, re.M)[0]
    words = " ".join(line.removeprefix("> ") for line in quote.splitlines())
    assert len(words) > 100
    assert words in report["sentence"]
