"""Scores channels by a named criterion, and makes the order in which they are kept."""

from __future__ import annotations

from collections.abc import Iterable
from pkgutil import resolve_name

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunebench.envs.choices import CRITERIA
from prunebench.envs.errors import check_choice
from prunebench.envs.pruning.network import PrunableNetwork

Scores = NDArray[np.float64]
Labelled = Iterable[tuple[Tensor, Tensor]]


def channel_scores(network: PrunableNetwork, criterion: str, batches: Labelled, seed: int) -> list[Scores]:
    """Importance of every prunable layer's channels, ``(channels,)`` each.

    Args:
        network: the dense network.
        criterion: a name in :data:`prunebench.envs.choices.CRITERIA`.
        batches: normalised calibration images and labels, for criteria that look at them.
        seed: of criteria that draw.

    Raises:
        TaskError: the criterion is unknown, or a layer has nothing that it could be computed from.
    """
    check_choice("importance", criterion, CRITERIA)
    return resolve_name(CRITERIA[criterion].function)(network, batches, seed)


def ranks(scores: Scores) -> NDArray[np.int64]:
    """``(channels,)``: 0 for the most important channel; equal ones keep the network's order."""
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank
