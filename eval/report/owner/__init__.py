"""The report of a task of one's own, for its owner: what to use, and what it buys."""

from ._advice import owner_sentences as owner_sentences
from ._code import code as code
from ._markdown import owner_markdown as owner_markdown
from ._page import owner_top as owner_top
