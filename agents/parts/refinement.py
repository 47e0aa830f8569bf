"""Splits the clusters whose layers the model wants to move in different directions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prunebench.agents.parts.clustering import cut
from prunebench.envs.environment.budget import Budget, Ratios

_STEP = 0.05  # of the differences, in log ratio


def gains(mean: Callable[[Ratios], NDArray[np.float64]], budget: Budget, policy: Ratios) -> NDArray[np.float64]:
    """The gain of each layer of ``policy`` ``(D,)`` per cost spent on it ``(D,)``: a central difference of ``mean``.

    Where they are all equal, no exchange of cost between layers improves the policy.
    """
    moved = np.exp(_STEP * np.vstack([np.eye(len(policy)), -np.eye(len(policy))])) * policy
    value, cost = mean(moved), budget.cost(moved * budget.channels)
    up, down = slice(len(policy)), slice(len(policy), None)
    spent = np.maximum(cost[up] - cost[down], 1e-9)
    return (value[up] - value[down]) / spent * spent.mean()


def refined(
    labels: NDArray[np.int64], tree: NDArray[np.float64], gain: NDArray[np.float64], share: float
) -> NDArray[np.int64]:
    """``labels`` ``(D,)`` with some clusters split at their own node of the tree.

    Args:
        labels: each layer's cluster, 0 to k - 1; clusters are nodes of the tree.
        tree: ``(D - 1, 4)``, the linkage.
        gain: ``(D,)``, see :func:`gains`. The clusters where its squared distances from the cluster's mean sum to
            most are split.
        share: fraction of the clusters that is split, rounded up; those of one layer stay.
    """
    count = int(labels.max()) + 1
    members = [np.flatnonzero(labels == cluster) for cluster in range(count)]
    disagreement = np.array([((gain[m] - gain[m].mean()) ** 2).sum() if len(m) > 1 else -1.0 for m in members])
    labels = labels.copy()
    for cluster in np.argsort(-disagreement, kind="stable")[: int(np.ceil(share * count))]:
        if disagreement[cluster] >= 0:
            labels[_right(tree, members[cluster])] = labels.max() + 1
    return labels


def _right(tree: NDArray[np.float64], members: NDArray[np.intp]) -> NDArray[np.intp]:
    """The members of a node (two at least) that are in its other child than its first layer."""
    for clusters in range(2, len(tree) + 2):
        apart = cut(tree, clusters)[members]
        if (apart != apart[0]).any():
            return members[apart != apart[0]]
    raise ValueError("one layer alone cannot be split")
