"""How docstrings of the package become pages: an extension of griffe, and a hook of MkDocs."""

import re

import griffe


class Docstrings(griffe.Extension):
    """Sections and blocks as the project writes them, in the words of griffe and Markdown."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """`Example:` is a section of doctests; a block needs no colon besides its indentation."""
        if obj.docstring:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)


def on_page_content(html: str, **_) -> str:
    """Paths of sources as they are in an installed package."""
    return html.replace("build/typing/learned_opt/", "learned_opt/")
