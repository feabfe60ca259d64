"""Lets the tests import `problems`; little effort for the compiler, and for the collector."""

import gc
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from quick import QUICK

# Read when the first test makes an array.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " " + QUICK

# Tracing makes many objects, nearly none of them garbage.
gc.set_threshold(100_000, 20, 50)
