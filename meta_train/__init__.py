"""Meta-training: meta-gradient estimators, the outer loop, configurations."""

from learned_opt._extras import needs_extra

with needs_extra(__name__):
    from learned_opt.checkpoints import WriteError as WriteError

    from ._errors import DivergedError as DivergedError
    from ._errors import StoppedError as StoppedError
    from ._horizons import Horizons as Horizons
    from ._objective import OBJECTIVES as OBJECTIVES
    from ._objective import Gain as Gain
    from ._objective import MetaLoss as MetaLoss
    from ._objective import Objective as Objective
    from ._outer import Outer as Outer
    from ._teacher import Teacher as Teacher
    from ._trainer import Judge as Judge
    from ._trainer import MetaTrainState as MetaTrainState
    from ._trainer import Metrics as Metrics
    from ._trainer import Trainer as Trainer
    from ._unroll import MetaProblem as MetaProblem
    from ._unroll import unroll as unroll
    from .estimators import ESTIMATORS as ESTIMATORS
    from .estimators import NRES as NRES
    from .estimators import PES as PES
    from .estimators import TBPTT as TBPTT
    from .estimators import Backprop as Backprop
    from .estimators import Blend as Blend
    from .estimators import Continuation as Continuation
    from .estimators import ESSingle as ESSingle
    from .estimators import Evosax as Evosax
    from .estimators import FullES as FullES
    from .estimators import GradientEstimator as GradientEstimator
    from .estimators import MetaGrad as MetaGrad
    from .estimators import TruncatedES as TruncatedES
    from .run import Programs as Programs
    from .run import build as build
    from .run import meta_train as meta_train
    from .settings import Config as Config
    from .settings import ConfigError as ConfigError
    from .settings import load_config as load_config
