"""What a training step costs, and what is measured beside the runs of an evaluation."""

from ._loads import ENDS as ENDS
from ._loads import KINDS as KINDS
from ._loads import LOADS as LOADS
from ._loads import about as about
from ._loads import load_name as load_name
from ._loads import mlp as mlp
from ._measurements import hand_designed as hand_designed
from ._measurements import measure as measure
from ._steps import Cost as Cost
from ._steps import CostRow as CostRow
from ._steps import device_label as device_label
from ._steps import measure_costs as measure_costs
from ._steps import measure_step as measure_step
from ._steps import measure_task as measure_task
