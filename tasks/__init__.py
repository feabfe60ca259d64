"""Training problems, the families they are drawn from, their data, and frozen suites."""

from learned_opt._extras import needs_extra

with needs_extra(__name__):
    from learned_opt._fields import Count as Count
    from learned_opt._fields import Line as Line
    from learned_opt._fields import Natural as Natural
    from learned_opt._fields import NonNegative as NonNegative
    from learned_opt._fields import Positive as Positive
    from learned_opt._fields import Rate as Rate
    from learned_opt._fields import Share as Share
    from learned_opt._fields import Size as Size
    from learned_opt._fields import Steps as Steps
    from learned_opt._fields import Within as Within
    from learned_opt._fields import check_fields as check_fields
    from learned_opt._fields import shown as shown
    from learned_opt.devices._mesh import compiler_options as compiler_options
    from learned_opt.devices._mesh import core_count as core_count
    from learned_opt.devices._mesh import device_mesh as device_mesh
    from learned_opt.devices._mesh import map_blocks as map_blocks
    from learned_opt.devices._mesh import map_lanes as map_lanes
    from learned_opt.devices._mesh import row_spec as row_spec
    from learned_opt.devices._mesh import use_all_cores as use_all_cores

    from ._base import SPLITS as SPLITS
    from ._base import Batch as Batch
    from ._base import Params as Params
    from ._base import Spec as Spec
    from ._base import Split as Split
    from ._base import Task as Task
    from ._base import TaskFamily as TaskFamily
    from ._inner import InnerState as InnerState
    from ._inner import full_loss as full_loss
    from ._inner import inner_init as inner_init
    from ._inner import inner_step as inner_step
    from ._meta_loss import comparable_loss as comparable_loss
    from ._meta_loss import reference_loss as reference_loss
    from ._meta_loss import relative_loss as relative_loss
    from ._problem import Family as Family
    from ._problem import Member as Member
    from ._problem import Problem as Problem
    from ._spec import FamilySpec as FamilySpec
    from ._spec import describe as describe
    from .augmentations import AUGMENTATIONS as AUGMENTATIONS
    from .augmentations import augment as augment
    from .data import load_dataset as load_dataset
    from .problems import FAMILIES as FAMILIES
    from .problems import PROBLEMS as PROBLEMS
    from .suites import SUITES as SUITES
    from .suites import EvalTask as EvalTask
    from .suites import Suite as Suite
    from .suites import TrainFamily as TrainFamily
    from .suites import load_suite as load_suite
