"""Rewards of a finished episode, from its accuracy and cost (AMC, He et al. 2018, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable


def accuracy(accuracy: float, macs: float) -> float:
    """AMC's ``R_err`` as its code has it: ``acc * 0.01`` with acc in percent, that is the accuracy in [0, 1]."""
    return accuracy


def accuracy_guaranteed(accuracy: float, macs: float) -> float:
    """AMC's ``R_FLOPs = -error * log(FLOPs)``, with MACs for what AMC calls FLOPs and the error in [0, 1]."""
    return -(1 - accuracy) * math.log(macs)


REWARDS: dict[str, Callable[[float, float], float]] = {
    "accuracy": accuracy,
    "accuracy-guaranteed": accuracy_guaranteed,
}
