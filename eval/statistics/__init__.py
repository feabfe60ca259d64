"""From runs to intervals: ratios of losses, times to target, profiles, the verdict."""
