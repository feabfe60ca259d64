"""Meta-training: meta-gradient estimators, the outer loop, configurations."""

from ._base import GradientEstimator as GradientEstimator
from ._base import MetaGrad as MetaGrad
from ._config import Config as Config
from ._config import ConfigError as ConfigError
from ._config import load_config as load_config
from ._full_es import FullES as FullES
from ._loop import meta_train as meta_train
from ._trainer import MetaTrainState as MetaTrainState
from ._trainer import Metrics as Metrics
from ._trainer import Trainer as Trainer
from ._unroll import Objective as Objective
from ._unroll import unroll as unroll
