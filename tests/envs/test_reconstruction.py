"""Factorised least squares against direct ridge least squares."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.evaluation import reconstruction
from prunebench.envs.evaluation.reconstruction import (
    POSITIONS,
    ChoiceProblem,
    PrefixProblem,
    factorise,
    problem,
    sampled_inputs,
)
from prunebench.envs.pruning.layers import Dimension, Unit

Ranks = Sequence[NDArray[np.int64]]


def unit_of(module: nn.Conv2d | nn.Linear, owner: NDArray[np.int64], channel: NDArray[np.int64]) -> Unit:
    fixed = np.full(len(module.weight), -1)
    return Unit("u", module, None, None, Dimension(owner, channel), Dimension(fixed, np.zeros_like(fixed)), (1, 1))


def compare(unit: Unit, x: Tensor, ranks: Ranks, counts: Sequence[int], outputs: NDArray[np.int64]) -> None:
    """A problem's weights and direct ones: the outputs they give, and themselves where the rows determine them."""
    solver = problem(unit, factorise(unit, (x.T @ x).tril(), ranks), ranks)
    kept, area = unit.inputs.kept(counts, ranks), unit.kernel_area
    columns = torch.from_numpy((kept[:, None] * area + np.arange(area)).ravel())
    y = x @ unit.module.weight.detach().double().flatten(1).T[:, outputs]  # what the layer gives before its bias
    direct = reference.ridge_regression(x[:, columns], y, reconstruction.ridge((x**2).sum(0))[columns])
    ours = solver.weight(kept, outputs)
    assert ours.shape == (len(outputs), len(kept), area)
    ours = ours.double().flatten(1).T
    size = max(float(y.abs().max()), 1e-30)
    torch.testing.assert_close(x[:, columns] @ ours / size, x[:, columns] @ direct / size, rtol=0, atol=1e-5)
    if len(x) > 2 * len(columns):
        torch.testing.assert_close(ours, direct, rtol=1e-4, atol=1e-5)


@st.composite
def problems(draw: st.DrawFn, layers: int) -> tuple[Unit, Tensor, Ranks, list[int], NDArray[np.int64]]:
    """A layer whose inputs are mixed: channels of ``layers`` prunable layers, and some that are never pruned."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = [draw(st.integers(1, 7)) for _ in range(layers)]
    kernel = draw(st.integers(0, 3))  # 0: a linear layer
    positions = draw(st.integers(1, 3)) if kernel == 0 else 1
    owner = np.repeat([*range(layers), -1], [*(c * positions for c in channels), draw(st.integers(0, 3))])
    channel = np.concatenate([*(np.repeat(np.arange(c), positions) for c in channels), np.zeros(sum(owner < 0), int)])
    mixed = rng.permutation(len(owner))
    owner, channel = owner[mixed], channel[mixed]
    torch.manual_seed(int(rng.integers(2**31)))
    size = draw(st.integers(1, 5))
    unit = unit_of(nn.Conv2d(len(owner), size, kernel) if kernel else nn.Linear(len(owner), size), owner, channel)
    x = torch.randn(draw(st.sampled_from([20, 300])), len(owner) * unit.kernel_area, dtype=torch.float64)
    x = x + torch.randn(1, 1, dtype=torch.float64)  # inputs after a ReLU are no zero-mean noise
    if draw(st.booleans()):  # a channel that is always zero makes the Gram matrix singular
        dead = np.flatnonzero((owner == 0) & (channel == 0))
        x.view(len(x), len(owner), -1)[:, dead] = 0
    ranks = [rng.permutation(c) for c in channels]
    counts = [draw(st.integers(1, c)) for c in channels]
    outputs = np.flatnonzero(rng.random(size) < 0.7)
    return unit, x, ranks, counts, outputs if len(outputs) else np.arange(size)


@given(problems(1), st.sampled_from([1, 4, 10, 24, 512]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_prefixes_equal_direct_ridge_least_squares(
    case: tuple[Unit, Tensor, Ranks, list[int], NDArray[np.int64]], block: int
) -> None:
    with patch.object(reconstruction, "_BLOCK", block):  # small blocks, so that a choice crosses several boundaries
        compare(*case)


@given(problems(2))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_choices_of_two_layers_equal_direct_ridge_least_squares(
    case: tuple[Unit, Tensor, Ranks, list[int], NDArray[np.int64]],
) -> None:
    compare(*case)


@pytest.mark.parametrize("kept", range(1, 13))
def test_every_prefix_of_several_blocks_is_exact(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "_BLOCK", 27)  # three inputs of nine columns
    torch.manual_seed(0)
    unit = unit_of(nn.Conv2d(12, 4, 3), np.zeros(12, dtype=int), np.arange(12))
    x = torch.randn(400, 108, dtype=torch.float64)
    compare(unit, x, [np.random.default_rng(0).permutation(12)], [kept], np.array([0, 2, 3]))


def test_small_features_beside_large_ones_are_not_shrunk() -> None:
    """Ten thousand times smaller: with one ridge for all columns their weights would be a tenth of what they should."""
    torch.manual_seed(0)
    unit = unit_of(nn.Linear(6, 3), np.zeros(6, dtype=int), np.arange(6))
    x = torch.randn(500, 6, dtype=torch.float64) * torch.tensor([1e4, 1e4, 1e4, 1.0, 1.0, 1.0])
    unit.module.weight.data /= torch.tensor([1e4, 1e4, 1e4, 1.0, 1.0, 1.0])
    rank = [np.arange(6)[::-1].copy()]  # the large ones go first
    found = problem(unit, factorise(unit, (x.T @ x).tril(), rank), rank).weight(np.arange(1, 6), np.arange(3))
    y = x @ unit.module.weight.detach().double().T
    exact = torch.linalg.lstsq(x[:, 1:], y).solution.T
    torch.testing.assert_close(found[:, :, 0].double(), exact, rtol=1e-4, atol=1e-9)


def test_one_layer_is_solved_by_prefixes_and_two_by_choice() -> None:
    for owner, kind in ((np.array([0, 0, -1]), PrefixProblem), (np.array([0, 1, -1]), ChoiceProblem)):
        unit = unit_of(nn.Linear(3, 2), owner, np.array([0, 0, 0]))
        ranks = [np.array([0]), np.array([0])]
        assert isinstance(problem(unit, factorise(unit, torch.eye(3, dtype=torch.float64), ranks), ranks), kind)


def test_inputs_that_are_all_dead_leave_weights_of_zero() -> None:
    unit = unit_of(nn.Linear(4, 2), np.zeros(4, dtype=int), np.arange(4))
    rank = [np.arange(4)]
    solver = problem(unit, factorise(unit, torch.zeros(4, 4, dtype=torch.float64), rank), rank)
    assert not solver.weight(np.arange(2), np.arange(2)).any()


def test_gram_matrices_are_those_of_the_sampled_inputs() -> None:
    network = reference.network("oddnets:concatenated", "all")
    batches = [pixels for pixels, _ in reference.calibration_batches("oddnets:concatenated")]
    grams = reconstruction.gram_matrices(network, batches, reference.SEED)
    rows = reference.features("oddnets:concatenated", "all")
    assert grams.keys() == rows.keys()
    assert len(grams) >= 3
    for name, gram in grams.items():
        x = rows[name].double()
        torch.testing.assert_close(gram, (x.T @ x).tril(), rtol=1e-6, atol=1e-6)


def test_layers_that_are_too_wide_keep_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    network = reference.network("resnet20", "inner")
    everything = {unit.name for unit in reconstruction.reconstructed_units(network)}
    monkeypatch.setattr(reconstruction, "WIDEST", 9 * 32)
    narrow = {unit.name for unit in reconstruction.reconstructed_units(network)}
    assert everything - narrow == {f"layer3.{block}.conv2" for block in range(3)}


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (2, 0, 1), (1, 2, 2)])
@pytest.mark.parametrize("kernel", [3, (1, 3)])
def test_sampled_inputs_are_rows_of_unfold(
    kernel: int | tuple[int, int], stride: int, padding: int, dilation: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, kernel, stride, padding, dilation)
    x = torch.randn(5, 3, 9, 9)
    sampled = sampled_inputs(conv, x, torch.Generator().manual_seed(0)).view(5, POSITIONS, -1)
    everything = nn.functional.unfold(x, conv.kernel_size, dilation, padding, stride).transpose(1, 2)
    for image in range(5):
        matches = (sampled[image][:, None] == everything[image][None]).all(2)
        assert matches.any(1).all()
        if kernel == 3 and dilation == 1:  # else some patches are nothing but padding
            assert len(matches.nonzero()[:, 1].unique()) == POSITIONS  # no position twice


def test_small_maps_are_taken_whole() -> None:
    conv = nn.Conv2d(2, 4, 3, padding=1)
    x = torch.randn(3, 2, 3, 3)
    sampled = sampled_inputs(conv, x, torch.Generator())
    unfolded = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(sampled, unfolded)


def test_a_linear_layers_inputs_are_taken_as_they_are() -> None:
    x = torch.randn(7, 5)
    torch.testing.assert_close(sampled_inputs(nn.Linear(5, 2), x, torch.Generator()), x)


def test_a_linear_layer_on_a_map_is_sampled_at_some_of_its_places() -> None:
    x = torch.arange(2 * 4 * 4 * 3.0).view(2, 4, 4, 3)
    sampled = sampled_inputs(nn.Linear(3, 2), x, torch.Generator().manual_seed(0)).view(2, POSITIONS, 3)
    for image in range(2):
        rows = {tuple(row) for row in sampled[image].tolist()}
        assert len(rows) == POSITIONS
        assert rows <= {tuple(row) for row in x[image].flatten(0, 1).tolist()}


@pytest.mark.parametrize("conv", [nn.Conv2d(3, 4, 4, padding="same"), nn.Conv2d(3, 4, 3, 1, 1, padding_mode="reflect")])
def test_every_kind_of_padding_is_that_of_the_layer(conv: nn.Conv2d) -> None:
    x = torch.randn(2, 3, 3, 3)
    rows = sampled_inputs(conv, x, torch.Generator())  # nine positions: all of them
    outputs = rows @ conv.weight.detach().flatten(1).T + conv.bias.detach()
    torch.testing.assert_close(outputs, conv(x).detach().permute(0, 2, 3, 1).flatten(0, 2))
