"""Several processes as one run: they meet, agree, watch one another, and end together."""

from ._agree import agree as agree
from ._agree import idle_devices as idle_devices
from ._agree import leader_does as leader_does
from ._agree import leads as leads
from ._agree import stop_on_signals as stop_on_signals
from ._failed_saves import failed_saves as failed_saves
from ._meeting import BEAT as BEAT
from ._meeting import enter as enter
from ._meeting import gather as gather
from ._relay import relay as relay
from ._watch import LOST as LOST
from ._watch import Watch as Watch
