"""What a search maximises, of all that an evaluation says: the reward, or the same reward of a smoother signal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

Signal = Literal["reward", "loss"]
SIGNALS: tuple[str, ...] = get_args(Signal)


def check_signal(signal: str) -> None:
    """Raise ValueError unless there is such a signal."""
    if signal not in SIGNALS:
        raise ValueError(f"signal {signal!r}: expected one of {', '.join(SIGNALS)}")


def published(signal: Signal | None, exactly: bool) -> Signal:
    """The signal asked for; else the reward where an agent does ``exactly`` what was published, and the loss."""
    if signal is not None:
        return signal
    return "reward" if exactly else "loss"


def outcome(evaluation: Mapping[str, Any], signal: str) -> float:
    """What to maximise. It always is a finite number, and the worst there can be where the loss is none.

    Args:
        evaluation: see :class:`prunebench.envs.environment.channel_pruning.ChannelPruningEnv`.
        signal: ``reward``; or ``loss``: the reward with the likelihood ``exp(-loss)`` in the accuracy's place. That is
            the geometric mean of the probabilities of the right classes: also in [0, 1], but not in steps of an image.
    """
    loss = evaluation["loss"]
    if not math.isfinite(loss):
        share = 0.0
    elif signal == "reward":
        return float(evaluation["reward"])
    else:
        share = math.exp(-loss)
    guaranteed = evaluation["reward"] != evaluation["accuracy"]
    return -(1 - share) * math.log(evaluation["macs"]) if guaranteed else share
