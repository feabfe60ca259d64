"""Figures of a report, each as inline SVG: equal numbers give equal bytes."""

from ._budgets import budgets as budgets
from ._canvas import STYLE as STYLE
from ._canvas import alone as alone
from ._colours import COLOURS as COLOURS
from ._colours import INK as INK
from ._colours import LEAKAGE_COLOURS as LEAKAGE_COLOURS
from ._colours import colour_of as colour_of
from ._colours import style_of as style_of
from ._curves import Run as Run
from ._curves import loss_panel as loss_panel
from ._curves import losses as losses
from ._curves import meta_training as meta_training
from ._curves import sensitivity as sensitivity
from ._curves import trace as trace
from ._curves import tuning as tuning
from ._forest_plot import Row as Row
from ._forest_plot import baselines as baselines
from ._forest_plot import final_losses as final_losses
from ._forest_plot import forest as forest
from ._forest_plot import misinformed as misinformed
from ._forest_plot import speed_ups as speed_ups
from ._heat_map import heat_map as heat_map
from ._profile import profile as profile
from ._step_cost import step_cost as step_cost
from ._step_cost import task_cost as task_cost
