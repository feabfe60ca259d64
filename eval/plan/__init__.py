"""Before an evaluation of one's own tasks: how much is run, how long it takes, what it fills."""

from ._extent import EVERYTHING as EVERYTHING
from ._extent import LEVELS as LEVELS
from ._extent import Extent as Extent
from ._extent import own_jobs as own_jobs
from ._extent import own_protocol as own_protocol
from ._extent import thinned as thinned
from ._kept import kept as kept
from ._plan import Plan as Plan
from ._plan import choose_plan as choose_plan
from ._plan import plan_from_json as plan_from_json
from ._plan import plan_to_json as plan_to_json
from ._probe import Probe as Probe
from ._probe import probe as probe
from ._start import LEAST_VALID as LEAST_VALID
from ._start import check_start as check_start
from ._text import plan_text as plan_text
