"""Training problems, the families they are drawn from, their data, and frozen suites."""

from ._base import SPLITS as SPLITS
from ._base import Batch as Batch
from ._base import Params as Params
from ._base import Split as Split
from ._base import Task as Task
from ._base import TaskFamily as TaskFamily
from ._conv import ConvFamily as ConvFamily
from ._conv import ConvTask as ConvTask
from ._data import Dataset as Dataset
from ._data import load_dataset as load_dataset
from ._data import split_dataset as split_dataset
from ._inner import InnerState as InnerState
from ._inner import full_loss as full_loss
from ._inner import inner_init as inner_init
from ._inner import inner_step as inner_step
from ._mesh import compiler_options as compiler_options
from ._mesh import core_count as core_count
from ._mesh import device_mesh as device_mesh
from ._mesh import map_lanes as map_lanes
from ._mesh import use_all_cores as use_all_cores
from ._mlp import MLPFamily as MLPFamily
from ._mlp import MLPTask as MLPTask
from ._suites import SUITES as SUITES
from ._suites import EvalTask as EvalTask
from ._suites import load_suite as load_suite
