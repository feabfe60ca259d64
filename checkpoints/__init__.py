"""Training states on disk (`Store`), output folders, and the released artifacts (`zoo/`)."""

from learned_opt._files import write_atomic as write_atomic

from ._folder import FolderError as FolderError
from ._folder import claim_folder as claim_folder
from ._lock import hold_folder as hold_folder
from ._store import CheckpointError as CheckpointError
from ._store import Store as Store
