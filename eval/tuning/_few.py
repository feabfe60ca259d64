"""The settings that tuning tries where a budget allows few."""

from ..baselines import Baseline, Hyper


def few_settings(baseline: Baseline, settings: int) -> list[Hyper]:
    """At most so many settings, in the order in which they matter.

    The row's learning rates from the middle of its grid outwards, with warm-up and cosine where it
    has them and without weight decay; then the same with its middle weight decay.
    """
    schedule, extra = max(baseline.schedules), baseline.extras[0]
    middle = (len(baseline.grid) - 1) / 2
    places = sorted(range(len(baseline.grid)), key=lambda i: (abs(i - middle), i))
    decays = [0.0, *baseline.wds[len(baseline.wds) // 2 :][:1]]
    found = [Hyper(baseline.grid[i], wd, schedule, extra) for wd in decays for i in places]
    return found[:settings]
