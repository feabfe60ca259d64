"""Training states on disk: saved whole, checked when they are read."""

from ._errors import SaveError as SaveError
from ._errors import error_code as error_code
from ._errors import quiet_saves as quiet_saves
from ._store import CheckpointError as CheckpointError
from ._store import CheckpointsLostError as CheckpointsLostError
from ._store import Store as Store
from ._store import saved_steps as saved_steps
