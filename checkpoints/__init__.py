"""Training states on disk (`Store`), output folders, the released artifacts (`zoo/`), origins."""

from learned_opt._extras import needs_extra
from learned_opt._files import write_atomic as write_atomic

with needs_extra(__name__):
    from ._card_page import card_markdown as card_markdown
    from ._console import plain_console as plain_console
    from ._markdown import markdown_code as markdown_code
    from ._markdown import markdown_text as markdown_text
    from ._origin import code_version as code_version
    from ._origin import describe_device as describe_device
    from .folders import FolderError as FolderError
    from .folders import Lines as Lines
    from .folders import WriteError as WriteError
    from .folders import claim_folder as claim_folder
    from .folders import disk_full as disk_full
    from .folders import hold_folder as hold_folder
    from .folders import is_number as is_number
    from .folders import make_folder as make_folder
    from .folders import own_folder as own_folder
    from .folders import read_lines as read_lines
    from .folders import set_aside as set_aside
    from .folders import unwritten as unwritten
    from .folders import writing as writing
    from .store import CheckpointError as CheckpointError
    from .store import CheckpointsLostError as CheckpointsLostError
    from .store import SaveError as SaveError
    from .store import Store as Store
    from .store import error_code as error_code
    from .store import quiet_saves as quiet_saves
    from .store import saved_steps as saved_steps
