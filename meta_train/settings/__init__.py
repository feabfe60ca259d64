"""What a configuration says: plain settings, read from TOML and the command line."""

from ._config import RIVALS as RIVALS
from ._config import Config as Config
from ._config import load_config as load_config
from ._files import FOLDER as FOLDER
from ._files import changed as changed
from ._files import config_path as config_path
from ._files import load_table as load_table
from ._parse import ConfigError as ConfigError
from ._parse import to_dict as to_dict
from ._renamed import renamed as renamed
