"""Clusters of layers that belong together: distances between layers and Ward linkage (Fan, Mu, Zhang, ECCV 2022)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist
from scipy.stats import gaussian_kde

GRID = np.linspace(-15.0, 15.0, 1000)
Similarity = Literal["EU", "JS", "ST"]


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


def structure(layers: Mapping[str, Any]) -> NDArray[np.float64]:
    """``(D, 7)``: c_in, c_out, kernel, parameters, MACs, output height, c_in / c_out, each over its largest value."""
    names = ("c_in", "c_out", "kernel", "parameters", "macs", "height")
    columns = [np.asarray(layers[name], dtype=np.float64) for name in names]
    features = np.stack([*columns, columns[0] / columns[1]], axis=1)
    return features / features.max(axis=0)


def _densities(layers: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.stack([density(values) for values in layers["importance"]])


def _jensen_shannon(layers: Mapping[str, Any]) -> NDArray[np.float64]:
    """The square root of the divergence; equal densities may differ by rounding, below 0 under the root."""
    return np.nan_to_num(pdist(_densities(layers), "jensenshannon"))


DISTANCES: dict[str, Callable[[Mapping[str, Any]], NDArray[np.float64]]] = {
    "EU": lambda layers: pdist(_densities(layers)),
    "JS": _jensen_shannon,
    "ST": lambda layers: pdist(structure(layers)),
}
"""Distances between layers, ``(D (D - 1) / 2,)`` as SciPy's ``pdist`` orders them, from a layer table."""


def ward(layers: Mapping[str, Any], similarity: Similarity = "EU") -> NDArray[np.float64]:
    """Ward linkage ``(D - 1, 4)`` of the ``D`` layers of a layer table (``info["layers"]``).

    Args:
        layers: the table.
        similarity: ``EU`` (Euclidean distance between importance densities), ``JS`` (their Jensen-Shannon
            distance) or ``ST`` (Euclidean distance between structural features).
    """
    if len(layers["importance"]) == 1:
        return np.empty((0, 4))
    return linkage(DISTANCES[similarity](layers), method="ward")


def cut(tree: NDArray[np.float64], clusters: int) -> NDArray[np.int64]:
    """Cut a linkage into ``clusters`` clusters.

    Args:
        tree: ``(D - 1, 4)``.
        clusters: number of clusters, at least 1; more than D give D.

    Returns:
        ``(D,)``, each layer's cluster, numbered from 0 in the order of the clusters' first layers.
    """
    layers = len(tree) + 1
    if clusters >= layers:
        return np.arange(layers)
    raw = cut_tree(tree, n_clusters=[clusters])[:, 0]  # unlike fcluster exactly so many, ties included
    _, first, inverse = np.unique(raw, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
