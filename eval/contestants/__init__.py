"""Who runs in an evaluation, on what, and what became of it."""

from ._factory import factory_subject as factory_subject
from ._jobs import MULTIPLIED as MULTIPLIED
from ._jobs import MULTIPLIERS as MULTIPLIERS
from ._jobs import Choose as Choose
from ._jobs import Job as Job
from ._jobs import baseline_jobs as baseline_jobs
from ._jobs import calibrated_name as calibrated_name
from ._jobs import check_rivals as check_rivals
from ._jobs import learned_job as learned_job
from ._jobs import multiplied_job as multiplied_job
from ._jobs import rival_jobs as rival_jobs
from ._jobs import rival_names as rival_names
from ._jobs import run_jobs as run_jobs
from ._protocol import REPORT_SEEDS as REPORT_SEEDS
from ._protocol import UNTUNED as UNTUNED
from ._protocol import WRONG_HORIZONS as WRONG_HORIZONS
from ._protocol import Protocol as Protocol
from ._results import Contestant as Contestant
from ._results import Results as Results
from ._results import Role as Role
from ._subject import Subject as Subject
from ._subject import artifact_subject as artifact_subject
