"""Tasks of one's own, without a change of this package: from functions, and by their names."""

from ._functions import from_functions as from_functions
from ._load import load_task as load_task
from ._spec import OwnSpec as OwnSpec
