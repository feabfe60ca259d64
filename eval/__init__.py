"""Evaluation: baselines, tuning, runs, statistics, cost, report."""

from learned_opt._extras import needs_extra

with needs_extra(__name__):
    from ._baselines import BASELINES as BASELINES
    from ._baselines import Baseline as Baseline
    from ._baselines import Hyper as Hyper
    from ._evaluate import evaluate as evaluate
    from ._run import Runner as Runner
    from ._run import Trial as Trial
    from ._ship import pack_baselines as pack_baselines
    from ._tune import Tuned as Tuned
    from ._tune import choose_frozen as choose_frozen
    from ._tune import tune as tune
    from ._tune import tune_frozen as tune_frozen
    from .report import write_report as write_report
