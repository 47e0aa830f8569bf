"""Which layers belong together: importance densities and Ward linkage (Fan, Mu, Zhang, ECCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.stats import gaussian_kde

GRID = np.linspace(-15.0, 15.0, 1000)


def density(importance: ArrayLike) -> NDArray[np.float64]:
    """The distribution of one layer's channel importances, shifted by their median.

    Args:
        importance: ``(channels,)``.

    Returns:
        ``(1000,)``, the Gaussian kernel density (Scott's bandwidth) on [-15, 15]. Where all channels are
        equally important, or there is only one, the density is a point mass and no kernel estimate
        exists: then the narrowest density the grid can show, all mass in the point nearest to 0.
    """
    values = np.asarray(importance, dtype=np.float64)
    shifted = values - np.median(values)
    step = GRID[1] - GRID[0]
    if shifted.std() < 1e-9 * max(1.0, float(np.abs(values).max())):
        spike = np.zeros_like(GRID)
        spike[np.argmin(np.abs(GRID))] = 1 / step
        return spike
    return gaussian_kde(shifted)(GRID)


def ward(importance: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Ward linkage ``(D - 1, 4)`` of ``D`` layers by the Euclidean distance of their densities ("EU")."""
    if len(importance) == 1:
        return np.empty((0, 4))
    return linkage(np.stack([density(values) for values in importance]), method="ward", metric="euclidean")


def cut(tree: NDArray[np.float64], clusters: int) -> NDArray[np.int64]:
    """Cut a linkage into ``clusters`` clusters.

    Args:
        tree: ``(D - 1, 4)``.
        clusters: at least 1; more than D give D.

    Returns:
        ``(D,)``, each layer's cluster, numbered from 0 in the order of the clusters' first layers.
    """
    layers = len(tree) + 1
    if clusters >= layers:
        return np.arange(layers)
    raw = cut_tree(tree, n_clusters=[clusters])[:, 0]  # unlike fcluster exactly so many, ties included
    _, first, inverse = np.unique(raw, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
