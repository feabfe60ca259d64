"""Little effort for the compiler, and for the collector."""

import gc
import os

from quick import QUICK

# Read when the first test makes an array.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " " + QUICK

# Tracing makes many objects, nearly none of them garbage.
gc.set_threshold(100_000, 20, 50)
