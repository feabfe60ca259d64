"""Hand-designed optimizers: what a baseline is, and the tables of them."""

from ._baseline import CONSTANT as CONSTANT
from ._baseline import COSINE as COSINE
from ._baseline import Baseline as Baseline
from ._baseline import Hyper as Hyper
from ._baseline import ToldBaseline as ToldBaseline
from ._baseline import at_params as at_params
from ._baseline import half_decade as half_decade
from ._baseline import neighbour as neighbour
from ._baseline import warmup_cosine as warmup_cosine
from ._masks import muon_axes as muon_axes
from ._masks import weights as weights
from ._table import ADAMW as ADAMW
from ._table import BASELINES as BASELINES
