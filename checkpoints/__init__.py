"""Training states on disk (`Store`), output folders, the released artifacts (`zoo/`), origins."""

from learned_opt._extras import needs_extra
from learned_opt._files import write_atomic as write_atomic

with needs_extra(__name__):
    from ._card import card_markdown as card_markdown
    from ._console import plain_console as plain_console
    from ._failed import SaveError as SaveError
    from ._failed import error_code as error_code
    from ._failed import quiet_saves as quiet_saves
    from ._folder import FolderError as FolderError
    from ._folder import claim_folder as claim_folder
    from ._lines import Lines as Lines
    from ._lines import is_number as is_number
    from ._lines import read_lines as read_lines
    from ._lines import set_aside as set_aside
    from ._lock import hold_folder as hold_folder
    from ._markdown import markdown_code as markdown_code
    from ._markdown import markdown_text as markdown_text
    from ._origin import code_version as code_version
    from ._origin import describe_device as describe_device
    from ._own import WriteError as WriteError
    from ._own import disk_full as disk_full
    from ._own import make_folder as make_folder
    from ._own import own_folder as own_folder
    from ._own import unwritten as unwritten
    from ._own import writing as writing
    from ._store import CheckpointError as CheckpointError
    from ._store import CheckpointsLostError as CheckpointsLostError
    from ._store import Store as Store
    from ._store import saved_steps as saved_steps
