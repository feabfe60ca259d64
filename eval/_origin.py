"""What makes a report, and when."""

import datetime

import jax

from learned_opt.checkpoints import code_version, describe_device


def origin() -> dict[str, str]:
    """What makes a report, and when."""
    return {
        "device": describe_device(),
        "jax": jax.__version__,
        "code": code_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
