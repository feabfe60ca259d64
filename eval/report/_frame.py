"""The frame of a page: one HTML file with its data inside, figures, parts that unfold."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._format import escape

CSS = Path(__file__).with_name("page.css")


def document(name: str, body: str, data: Any, optimizers: Sequence[str]) -> str:
    """A complete page around `body`, with `data` inside."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    hide = "".join(
        f"body:has(#show{i}:not(:checked)) svg .o{i}{{display:none}}"
        for i in range(len(optimizers))
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>{CSS.read_text()}{hide}</style>
</head>
<body><main>
{body}
</main>
<script type="application/json" id="report">{text}</script>
</body></html>
"""


def figure(caption: str, drawing: str | None) -> str:
    """A figure with its title above; nothing if there is no drawing."""
    if not drawing:
        return ""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def part(key: str, heading: str, body: str, note: str = "") -> str:
    """A part to be unfolded; nothing if it is empty."""
    if not body:
        return ""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<details id="{key}"><summary>{escape(heading)}</summary>{body}{below}</details>'


def pairs(*figures: str) -> str:
    return f'<div class="pair">{"".join(figures)}</div>' if any(figures) else ""
