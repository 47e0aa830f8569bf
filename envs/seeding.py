"""Seeds the generators that libraries draw from; agents have their own."""

from __future__ import annotations

import random
import sys

import numpy as np


def seed_everything(seed: int) -> None:
    """Seed the global generators; torch's only where somebody imported it. NumPy's takes no more than 32 bits."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
