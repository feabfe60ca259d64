"""What others have written shows in a card as it was given, and does nothing."""

import dataclasses
import html.parser

import markdown_it
import numpy as np
import pytest

import learned_opt
from learned_opt.checkpoints import card_markdown, markdown_code, markdown_text

RENDERER = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
QUICKSTART = learned_opt.load("quickstart")
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</details><details><summary>x</summary>",
    "<https://evil.example>",
    "<!-- a comment",
    "[a link](javascript:alert(1))",
    "![an image](https://evil.example/x.png)",
    "[a]: https://evil.example 'title'",
    "[a][b] and [c]",
    "a | b || c \\| d \\\\| e",
    "``` `one` ``two`` ```",
    "`",
    "*a* **b** _c_ __d__ ~~e~~ few_examples",
    "&lt;b&gt; &#60; &copy; R&D",
    "back\\slash\\",
    *("# heading", "## a ##", "#", "a #", "> quote", "- item", "+ item", "* item", "1. item"),
    *("12) x", "---", "===", "- - -", "***", ":--", "|---|", "~~~", "-1.5", "1.5", ">"),
    "https://example.org/a_b_(c)",
]  # fmt: skip


class Page(html.parser.HTMLParser):
    """Elements of a page and its text."""

    def __init__(self, markdown):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(RENDERER.render(markdown))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def strings(count):
    """Random ones, mostly of marks."""
    rng = np.random.default_rng(0)
    letters = [
        *"\\`*_|~<>[]()!#&:;-+=.1a \"'",
        "  ",
        "&lt;",
        "<b>",
        "](",
        "a_b",
        "1. ",
        "\\|",
        "``",
    ]
    for size in rng.integers(1, 9, count):
        yield "".join(rng.choice(letters, size))


def cell(text):
    return f"| | |\n|---|---|\n| end | {text} |\n"


PLACES = [
    ("heading", lambda x: f"# {markdown_text(x)}\n\nend", ["h1", "p"]),
    ("paragraph", lambda x: f"{markdown_text(x)}\n\nend", ["p", "p"]),
    ("line", lambda x: f"end\n{markdown_text(x)}", ["p"]),
    ("within a line", lambda x: f"end {markdown_text(x)}, end", ["p"]),
    ("cell", lambda x: cell(markdown_text(x)), None),
    ("code", lambda x: f"end\n{markdown_code(x)}, end", ["p", "code"]),
    ("code in a cell", lambda x: cell(markdown_code(x, cell=True)), None),
]  # fmt: skip
CELL = ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]


@pytest.mark.parametrize(("place", "write", "tags"), PLACES, ids=[row[0] for row in PLACES])
def test_text_reads_as_given(place, write, tags):
    for given in [*HOSTILE, *strings(300)]:
        page = Page(write(given))
        words = " ".join(given.split())
        if not words:
            continue
        found = [tag for tag in page.tags if place != "code in a cell" or tag != "code"]
        assert found == (tags or CELL), (given, write(given))
        text = " ".join(page.text.split()).removeprefix("end").removesuffix("end").strip()
        want = words if "within" not in place and place != "code" else f"{words},"
        assert text == want, (given, write(given))


def test_white_space_is_a_space_and_what_cannot_be_printed_a_question_mark():
    assert markdown_text(" a\n\tb\u2028c\x00\ud800\u202e ") == "a b c???"
    assert markdown_code("a\n\n# b") == "`a # b`"
    assert (markdown_text(1.5), markdown_text(True), markdown_code("")) == ("1.5", "True", "")


def hostile(value, text):
    """Every string within, and every name of an entry that is not ours, begins with the text."""
    if isinstance(value, str):
        return text + value
    if isinstance(value, list):
        return [hostile(x, text) for x in value]
    return {k: hostile(x, text) for k, x in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_card_is_text_whatever_it_holds(text):
    row = {"suite": "S", "sentence": "It is.", "command": "c", "suite_hash": "h", "code": "c",
           "device": "d", "date": "t"}  # fmt: skip
    start = {"name": "parent", "command": "made", "sha256": "", "budget": {"inner_steps": 7}}
    base = QUICKSTART.card
    config = {**base["config"], "run": {**base["config"]["run"], "note": "a note"}}
    config["estimator"] = {**config["estimator"], f"{text}odd": 2.0}
    full = {**base, "config": config, "results": [row], "limits": "Limits.", "start": start}
    page = Page(card_markdown(dataclasses.replace(QUICKSTART, card=hostile(full, text))))
    assert not {"script", "img", "a", "details", "em", "strong", "s", "blockquote", "li"} & {
        *page.tags
    }
    clean = Page(card_markdown(dataclasses.replace(QUICKSTART, card=full)))
    differ = [tag for tag in page.tags if tag != "code"]
    assert differ == [tag for tag in clean.tags if tag != "code"]
    shown, words = " ".join(page.text.split()), " ".join(text.split())
    for what in ("a note", "Limits.", "It is.", "S", "made", "parent", "mlp", "digits"):
        assert f"{words}{' ' if text != text.rstrip() else ''}{what}" in shown


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"name": None, "budget": None, "trained_on": None, "config": None, "start": None},
        {"budget": {"seconds": None, "inner_steps": "7"}, "trained_on": {"families": 3}},
        {"trained_on": {"families": [3, {}], "horizon": [1]}, "config": {"run": []}, "results": {}},
        {"trained_on": {"families": [{"problem": [], "augmentations": None, "weight": True}]}},
        {"start": {"budget": 3, "sha256": 5}, "results": [{}], "limits": None},
    ],
    ids=range(6),
)
def test_what_a_card_lacks_is_unknown(card):
    page = Page(card_markdown(dataclasses.replace(QUICKSTART, card=card)))
    assert "made by\nunknown" in page.text
    assert "None" not in page.text
