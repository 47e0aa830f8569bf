"""The settings by which a dense network is trained."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.harness.errors import ConfigError, check_count, check_positive

TASK = (
    *("model", "dataset", "data", "image_size", "mean", "std", "classes", "flips"),
    *("split_seed", "reward_images", "confirm", "device", "tf32"),
)
"""The settings of a task that a training has: what decides which images there are, and what is done with them."""


@dataclass(frozen=True)
class TrainSettings:
    """What is the training's own.

    Attributes:
        epochs: passes over the training split, fractions allowed; None is the data set's own number.
        learning_rate: that of the peak; None is the recipe's.
        batch: images of a step.
        seed: fixes the random weights, the order of images, their augmentation and dropout.
        threads: of the process; None is as many as there are cores. They change the last bits.
    """

    epochs: float | None = None
    learning_rate: float | None = None
    batch: int = 128
    seed: int = 0
    threads: int | None = None

    def check(self) -> None:
        """Raise ConfigError where one is wrong."""
        for name, value in (("epochs", self.epochs), ("learning-rate", self.learning_rate)):
            if value is not None:
                check_positive(name, value)
        check_count("batch", self.batch)
        if self.threads is not None:
            check_count("threads", self.threads)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed {self.seed}: expected a number from 0 to {2**32 - 1}")
