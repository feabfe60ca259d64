"""Text that is not ours within Markdown, where it shows as it was given."""

import re
from typing import Any

_MARKS = re.compile(
    r"[\\`*|~<]"
    r"|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])"  # within a word it marks nothing
    r"|\](?=[(\[:]|$)"  # of a link, an image, or the target of one
    r"|&(?=#|\w)"  # of an entity
    r"|^>|^[-+](?= |$)|^#(?=#{0,5}(?: |$))"  # of a quotation, a list, a heading
    r"|(?<= )#(?=#*$)|^=(?==*$)|^[:-](?=-*:?$)"  # of its end, a line below it or within a table
)
_NUMBER = re.compile(r"^(\d{1,9})(?=[.)](?: |$))")
"""Of a list."""


def markdown_text(value: Any) -> str:
    r"""A value as literal text on one line: for a heading, a paragraph or a cell of a table.

    Neither HTML, links, images, code nor emphasis come of it, in CommonMark and GitHub's dialect;
    white space is a space each, and what cannot be printed "?".

    Example:
      >>> from learned_opt.checkpoints import markdown_text
      >>> print(markdown_text("few_examples [0.9, 1.1] of *all*\n| <b>"))
      few_examples [0.9, 1.1] of \*all\* \| \<b>
    """
    return _NUMBER.sub(r"\1\\", _MARKS.sub(r"\\\g<0>", _line(value)))


def markdown_code(value: Any, *, cell: bool = False) -> str:
    r"""A value as code on one line; `cell`: of a table, where "|" is escaped even in code.

    Example:
      >>> from learned_opt.checkpoints import markdown_code
      >>> print(markdown_code("a `b` | c", cell=True))
      ``a `b` \| c``
    """
    text = _line(value)
    if not text or (cell and "\\|" in text):  # there is no code of that
        return markdown_text(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text.replace('|', chr(92) + '|') if cell else text}{space}{fence}"


def _line(value: Any) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(value).split()))
