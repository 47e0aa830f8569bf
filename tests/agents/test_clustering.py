"""Densities and clusters against independent computations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prunebench.agents.parts.clustering import DISTANCES, GRID, cut, density, structure, ward
from prunebench.envs.environment.toy import ToyEvaluator


def slow_density(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian kernel density with Scott's bandwidth, written out."""
    shifted = values - np.median(values)
    width = shifted.std(ddof=1) * len(shifted) ** (-1 / 5)
    kernels = np.exp(-0.5 * ((GRID[:, None] - shifted) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return kernels.mean(axis=1)


def slow_ward(points: NDArray[np.float64], clusters: int) -> set[frozenset[int]]:
    """Merge the two clusters whose union adds least to the sum of squares, until ``clusters`` are left."""

    def spread(members: list[int]) -> float:
        return float(((points[members] - points[members].mean(axis=0)) ** 2).sum())

    groups = [[i] for i in range(len(points))]
    while len(groups) > clusters:
        a, b = min(
            itertools.combinations(groups, 2),
            key=lambda pair: spread(pair[0] + pair[1]) - spread(pair[0]) - spread(pair[1]),
        )
        groups = [g for g in groups if g is not a and g is not b] + [a + b]
    return {frozenset(group) for group in groups}


def as_sets(labels: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def test_density_equals_the_formula() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=40)
    np.testing.assert_allclose(density(values), slow_density(values), rtol=1e-9, atol=1e-12)
    assert GRID[0] == -15
    assert GRID[-1] == 15
    assert len(GRID) == 1000


def test_density_ignores_where_the_importances_lie() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    np.testing.assert_allclose(density(values + 3.0), density(values), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("values", [[2.0], [3.0] * 8, [0.0] * 4, [0.1 + 0.2, 0.3]])
def test_equal_importances_are_a_spike_of_mass_one(values: list[float]) -> None:
    result = density(values)
    assert np.count_nonzero(result) == 1
    assert abs(GRID[result.argmax()]) < 0.02
    assert result.sum() * (GRID[1] - GRID[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("clusters", [1, 2, 3, 5, 8])
def test_clusters_equal_naive_ward(clusters: int) -> None:
    layers = ToyEvaluator(9).layers
    points = np.stack([slow_density(values) for values in layers["importance"]])
    assert as_sets(cut(ward(layers), clusters)) == slow_ward(points, clusters)


def test_layers_of_one_kind_share_a_cluster() -> None:
    rng = np.random.default_rng(0)
    importance = [rng.normal(0, scale, 64) for scale in (0.3, 3.0, 0.3, 3.0, 0.3)]
    assert cut(ward({"importance": importance}), 2).tolist() == [0, 1, 0, 1, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 15), st.booleans())
def test_exactly_so_many_clusters_numbered_from_the_first_layer(layers: int, clusters: int, ties: bool) -> None:
    rng = np.random.default_rng(layers)
    importance = [np.ones(4) if ties else rng.gamma(2.0, size=6) for _ in range(layers)]
    labels = cut(ward({"importance": importance}), clusters)
    seen = list(dict.fromkeys(labels.tolist()))
    assert seen == list(range(min(layers, clusters)))


def test_coarser_cuts_contain_finer_ones() -> None:
    """The roll-back splits clusters; it never moves a layer between them."""
    tree = ward(ToyEvaluator(12).layers)
    for fine in as_sets(cut(tree, 6)):
        assert any(fine <= coarse for coarse in as_sets(cut(tree, 3)))


def test_jensen_shannon_distances_equal_the_definition() -> None:
    layers = ToyEvaluator(5).layers
    p, q = (slow_density(layers["importance"][i]) for i in (0, 3))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        halves = [np.nansum(np.where(one > 0, one * np.log(one / middle), 0.0)) for one in (p, q)]
    distances = DISTANCES["JS"](layers)
    assert distances[2] == pytest.approx(np.sqrt(sum(halves) / 2), rel=1e-6)  # the pair (0, 3)
    assert np.isfinite(DISTANCES["JS"]({"importance": [np.ones(4)] * 6})).all()


def test_structural_features_and_their_clusters() -> None:
    layers = ToyEvaluator(4).layers | {
        "c_in": [16, 16, 64, 64],
        "c_out": [16, 16, 32, 32],
        "kernel": [3, 3, 1, 1],
        "parameters": [100, 100, 400, 400],
        "macs": [4000, 4000, 1000, 1000],
        "height": [32, 32, 8, 8],
    }
    np.testing.assert_allclose(structure(layers)[0], [0.25, 0.5, 1, 0.25, 1, 1, 0.5])
    np.testing.assert_allclose(structure(layers)[3], [1, 1, 1 / 3, 1, 0.25, 0.25, 1])
    assert cut(ward(layers, "ST"), 2).tolist() == [0, 0, 1, 1]
