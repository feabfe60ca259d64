"""Output folders: one command's own, locked, watched; and files of JSON lines in them."""

from ._claim import FolderError as FolderError
from ._claim import claim_folder as claim_folder
from ._claim import differences as differences
from ._lines import Lines as Lines
from ._lines import is_number as is_number
from ._lines import read_lines as read_lines
from ._lines import set_aside as set_aside
from ._lock import hold_folder as hold_folder
from ._owned import WriteError as WriteError
from ._owned import disk_full as disk_full
from ._owned import make_folder as make_folder
from ._owned import own_folder as own_folder
from ._owned import unwritten as unwritten
from ._owned import writing as writing
