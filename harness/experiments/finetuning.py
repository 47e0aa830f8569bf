"""The settings by which pruned networks are trained on after the search."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prunebench.harness.errors import ConfigError


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings by which networks are trained on.

    Attributes:
        epochs: passes over the training split, fractions allowed; None is a quarter of the dense network's.
        learning_rate: that of the first step.
    """

    epochs: float | None = None
    learning_rate: float = 0.003

    def check(self) -> None:
        """Raise ConfigError unless both are positive numbers."""
        for name, value in (("epochs", self.epochs), ("learning-rate", self.learning_rate)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} {value:g}: expected a positive number")


DEFAULT = FinetuneSettings()
