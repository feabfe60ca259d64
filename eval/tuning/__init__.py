"""How the settings of baselines are chosen: on each task, or one for all."""

from ._few import few_settings as few_settings
from ._frozen import choose_setting as choose_setting
from ._frozen import frozen_setting as frozen_setting
from ._frozen import frozen_trials as frozen_trials
from ._tune import TUNE_SEEDS as TUNE_SEEDS
from ._tune import FinalLosses as FinalLosses
from ._tune import Tuned as Tuned
from ._tune import choose_frozen as choose_frozen
from ._tune import tune as tune
from ._tune import tune_among as tune_among
from ._tune import tune_frozen as tune_frozen
