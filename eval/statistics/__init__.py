"""From runs to intervals: ratios of losses, times to target, profiles, one against another."""

from ._bootstrap import Interval as Interval
from ._bootstrap import geometric_ratio as geometric_ratio
from ._comparison import RUNGS as RUNGS
from ._comparison import Comparison as Comparison
from ._comparison import Estimate as Estimate
from ._comparison import Score as Score
from ._comparison import Speedup as Speedup
from ._comparison import Targets as Targets
from ._comparison import compare as compare
from ._comparison import estimate as estimate
from ._comparison import speedup_of as speedup_of
from ._comparison import targets as targets
from ._comparison import times as times
from ._profiles import SLOWEST as SLOWEST
from ._profiles import area as area
from ._profiles import gated as gated
from ._profiles import oracle as oracle
from ._profiles import profile as profile
from ._profiles import time_ratios as time_ratios
from ._time_to_target import SHARES as SHARES
from ._time_to_target import ladder as ladder
from ._time_to_target import steps_to_target as steps_to_target
from ._time_to_target import target as target
from ._tuning_cost import break_even as break_even
from ._tuning_cost import expected_best as expected_best
