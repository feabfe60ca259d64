"""Tables of a report as HTML, and what they are made of."""

from ._budgets import budgets as budgets
from ._cost import cost as cost
from ._cost import task_steps as task_steps
from ._provenance import command as command
from ._provenance import provenance as provenance
from ._results import against as against
from ._results import comparisons as comparisons
from ._results import diverged as diverged
from ._results import every_loss as every_loss
from ._results import final_losses as final_losses
from ._results import lowest as lowest
from ._results import pooled as pooled
from ._results import told_apart as told_apart
from ._results import variants as variants
from ._settings import failures as failures
from ._settings import settings as settings
