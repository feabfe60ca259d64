"""How the settings of baselines are chosen."""
