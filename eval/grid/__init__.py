"""The generalisation grid: one task, each time with one thing changed."""

from ._cells import BASE as BASE
from ._cells import GRID as GRID
from ._cells import Cell as Cell
from ._cells import grid as grid
from ._outcomes import CellResult as CellResult
from ._outcomes import grid_results as grid_results
from ._run import run_grid as run_grid
