"""How the settings of baselines are chosen: on each task, or one for all."""

from ._calibrated import CALIBRATED as CALIBRATED
from ._calibrated import Calibrated as Calibrated
from ._calibrated import calibrate as calibrate
from ._calibrated import calibrated_settings as calibrated_settings
from ._few import few_settings as few_settings
from ._tune import TUNE_SEEDS as TUNE_SEEDS
from ._tune import FinalLosses as FinalLosses
from ._tune import Tuned as Tuned
from ._tune import choose_calibrated as choose_calibrated
from ._tune import tune as tune
from ._tune import tune_among as tune_among
from ._tune import tune_calibrated as tune_calibrated
