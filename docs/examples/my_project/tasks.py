"""The tasks of this project, by the names that `--task my_project.tasks:NAME` takes."""

from .images import digits
from .table import circuits
from .text import manual

suite = [manual, digits, circuits]
