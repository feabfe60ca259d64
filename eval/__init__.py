"""Evaluation: baselines, tuning, runs, statistics, cost, report."""

from learned_opt._extras import needs_extra

with needs_extra(__name__):
    from ._evaluate import evaluate as evaluate
    from ._ship import pack_baselines as pack_baselines
    from .baselines._table import BASELINES as BASELINES
    from .baselines._table import Baseline as Baseline
    from .baselines._table import Hyper as Hyper
    from .report import Report as Report
    from .report import read_report as read_report
    from .report import write_report as write_report
    from .running._trials import Runner as Runner
    from .running._trials import Trial as Trial
    from .tuning._tune import Tuned as Tuned
    from .tuning._tune import choose_frozen as choose_frozen
    from .tuning._tune import tune as tune
    from .tuning._tune import tune_frozen as tune_frozen
