"""Training problems, the families they are drawn from, their data, and frozen suites."""

from learned_opt._extras import needs_extra

with needs_extra(__name__):
    from ._base import SPLITS as SPLITS
    from ._base import Batch as Batch
    from ._base import Params as Params
    from ._base import Spec as Spec
    from ._base import Split as Split
    from ._base import Supply as Supply
    from ._base import Task as Task
    from ._base import TaskFamily as TaskFamily
    from ._identity import Facts as Facts
    from ._inner import InnerState as InnerState
    from ._inner import begin_run as begin_run
    from ._inner import full_loss as full_loss
    from ._inner import inner_init as inner_init
    from ._inner import inner_step as inner_step
    from ._inner import parameter_count as parameter_count
    from ._inner import run_step as run_step
    from ._meta_loss import comparable_loss as comparable_loss
    from ._meta_loss import reference_loss as reference_loss
    from ._meta_loss import relative_loss as relative_loss
    from ._problem import Family as Family
    from ._problem import Member as Member
    from ._problem import Problem as Problem
    from ._problem import Supervised as Supervised
    from ._problem import check_problem as check_problem
    from ._spec import AnySpec as AnySpec
    from ._spec import FamilySpec as FamilySpec
    from ._spec import content_hash as content_hash
    from ._spec import describe as describe
    from ._timed import Timed as Timed
    from ._timed import TimedRuns as TimedRuns
    from .augmentations import AUGMENTATIONS as AUGMENTATIONS
    from .augmentations import augment as augment
    from .data import load_dataset as load_dataset
    from .own import OwnSpec as OwnSpec
    from .own import from_functions as from_functions
    from .own import load_task as load_task
    from .problems import EXAMPLES as EXAMPLES
    from .problems import PROBLEMS as PROBLEMS
    from .suites import SUITES as SUITES
    from .suites import EvalTask as EvalTask
    from .suites import Suite as Suite
    from .suites import TrainFamily as TrainFamily
    from .suites import load_suite as load_suite
    from .suites import references as references
