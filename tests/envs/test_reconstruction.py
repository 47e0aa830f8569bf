from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from envs.importance import importance, ranks
from envs.network import Dimension, PrunableLayer, Unit
from envs.reconstruction import POSITIONS, RIDGE, Reconstruction, sampled_inputs


def unit_of(module: nn.Conv2d | nn.Linear, owner: np.ndarray, channel: np.ndarray) -> Unit:
    fixed = np.full(module.weight.shape[0], -1)
    return Unit("u", module, None, None, Dimension(owner, channel), Dimension(fixed, np.zeros_like(fixed)), (1, 1))


def ridge_least_squares(x: torch.Tensor, y: torch.Tensor, ridge: float) -> torch.Tensor:
    width = x.shape[1]
    rows = torch.cat([x, ridge**0.5 * torch.eye(width, dtype=x.dtype)])
    return torch.linalg.lstsq(rows, torch.cat([y, torch.zeros(width, y.shape[1], dtype=y.dtype)])).solution


@given(st.integers(2, 7), st.integers(1, 3), st.integers(1, 4), st.booleans(), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_factorised_equals_direct_ridge_least_squares(
    channels: int, kernel: int, outputs: int, dead: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(channels, outputs, kernel)
    x = torch.randn(200, channels * kernel**2, dtype=torch.float64)
    if dead:
        x[:, : kernel**2] = 0  # a channel that is always zero makes the Gram matrix singular
    unit = unit_of(conv, np.zeros(channels, dtype=int), np.arange(channels))
    rank = ranks(importance(PrunableLayer(0, "p", channels, [unit])))
    problem = Reconstruction(unit, x.T @ x, [rank])
    y = x @ conv.weight.detach().double().flatten(1).T  # what the layer gives before its bias
    ridge = RIDGE * float((x**2).sum(0).mean())
    for kept in range(1, channels + 1):
        columns = [c * kernel**2 + i for c in np.flatnonzero(rank < kept) for i in range(kernel**2)]
        direct = ridge_least_squares(x[:, columns], y, ridge).T.reshape(outputs, kept, kernel**2)
        ours = problem.weight(kept, np.arange(outputs))
        torch.testing.assert_close(ours, direct, rtol=1e-6, atol=1e-8)


def test_several_positions_per_channel_go_together() -> None:
    """A flattened feature map: four inputs of the linear layer belong to each channel."""
    torch.manual_seed(0)
    linear = nn.Linear(12, 5)
    channel = np.repeat(np.arange(3), 4)
    unit = unit_of(linear, np.zeros(12, dtype=int), channel)
    rank = ranks(importance(PrunableLayer(0, "p", 3, [unit])))
    x = torch.randn(100, 12, dtype=torch.float64)
    problem = Reconstruction(unit, x.T @ x, [rank])
    y = x @ linear.weight.detach().double().T
    columns = np.flatnonzero((rank < 2)[channel])
    direct = ridge_least_squares(x[:, columns], y, RIDGE * float((x**2).sum(0).mean())).T
    torch.testing.assert_close(problem.weight(8, np.arange(5))[:, :, 0], direct, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (2, 0, 1), (1, 2, 2)])
def test_sampled_inputs_are_rows_of_unfold(stride: int, padding: int, dilation: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, stride, padding, dilation)
    x = torch.randn(5, 3, 9, 9)
    sampled = sampled_inputs(conv, x, torch.Generator().manual_seed(0)).view(5, POSITIONS, -1)
    everything = nn.functional.unfold(x, 3, dilation, padding, stride).transpose(1, 2)
    for image in range(5):
        matches = (sampled[image][:, None] == everything[image][None]).all(2)
        assert matches.any(1).all()
        assert len(matches.nonzero()[:, 1].unique()) == POSITIONS  # no position twice


def test_small_maps_are_taken_whole() -> None:
    conv = nn.Conv2d(2, 4, 3, padding=1)
    x = torch.randn(3, 2, 3, 3)
    sampled = sampled_inputs(conv, x, torch.Generator())
    unfolded = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(sampled, unfolded)


def test_importance_is_the_sum_of_absolute_weights_over_the_consumer() -> None:
    conv = nn.Conv2d(4, 6, 3)
    unit = unit_of(conv, np.zeros(4, dtype=int), np.array([2, 0, 1, 3]))
    scores = importance(PrunableLayer(0, "p", 4, [unit]))
    by_hand = [sum(abs(float(w)) for w in conv.weight[:, i].flatten()) for i in range(4)]
    np.testing.assert_allclose(scores[[2, 0, 1, 3]], by_hand, rtol=1e-6)


def test_ranks_are_stable() -> None:
    assert list(ranks(np.array([1.0, 3.0, 1.0, 2.0]))) == [2, 0, 3, 1]
