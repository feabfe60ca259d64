"""A meta-training run in a folder: build, plan, loop, log, save, resume, export."""

from ._export import export_now as export_now
from ._export import shell_command as shell_command
from ._loop import GO_ON as GO_ON
from ._loop import meta_train as meta_train
from ._loop import saved_so_far as saved_so_far
from ._plan import plan_run as plan_run
from ._plan import print_plan as print_plan
from ._probe import print_probe as print_probe
from ._probe import probe_run as probe_run
from ._programs import Programs as Programs
from ._provenance import code_identity as code_identity
from ._record import CHECKPOINTS as CHECKPOINTS
from ._record import RECORD as RECORD
from ._record import load_record as load_record
from ._setup import Setup as Setup
from ._setup import build as build
