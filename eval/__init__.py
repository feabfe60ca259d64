"""Evaluation: an optimizer, untuned, against baselines that are tuned for each task."""

from learned_opt._extras import needs_extra

with needs_extra(__name__):
    from learned_opt.checkpoints import FolderError as FolderError
    from learned_opt.checkpoints import WriteError as WriteError

    from ._evaluate import evaluate as evaluate
    from ._pack_baselines import pack_baselines as pack_baselines
    from .baselines import BASELINES as BASELINES
    from .baselines import Baseline as Baseline
    from .baselines import Hyper as Hyper
    from .contestants import artifact_subject as artifact_subject
    from .contestants import factory_subject as factory_subject
    from .report import Report as Report
    from .report import ReportError as ReportError
    from .report import read_report as read_report
    from .report import write_report as write_report
    from .running import ArchiveError as ArchiveError
    from .running import Runner as Runner
    from .running import Trial as Trial
    from .tuning import Tuned as Tuned
    from .tuning import choose_calibrated as choose_calibrated
    from .tuning import tune as tune
    from .tuning import tune_calibrated as tune_calibrated
