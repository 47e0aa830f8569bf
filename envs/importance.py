"""Which channels of a prunable layer are kept first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.network import PrunableLayer


def importance(layer: PrunableLayer) -> NDArray[np.float64]:
    """Importance of a prunable layer's channels ``(channels,)``, the papers' criterion.

    The sum of ``|W|`` over the outputs and the kernel of the consuming layer (AMC's public code; BOCR clusters on the
    same numbers). The sums of several consuming layers are added.
    """
    scores = np.zeros(layer.channels)
    for unit in layer.consumers:
        absolute = unit.module.weight.detach().double().abs()
        per_input = absolute.transpose(0, 1).flatten(1).sum(1).cpu().numpy()
        mine = unit.inputs.owner == layer.index
        np.add.at(scores, unit.inputs.channel[mine], per_input[mine])
    return scores


def ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """``(channels,)``: 0 for the most important channel; equal ones keep the network's order."""
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank
