"""Every criterion against a few lines of NumPy."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import oddnets
import pytest
import reference
import torch
from numpy.typing import NDArray
from torch import nn

from prunebench.envs.choices import CRITERIA, Criterion
from prunebench.envs.data.batches import Batches
from prunebench.envs.errors import TaskError
from prunebench.envs.pruning.criteria import channel_scores, ranks
from prunebench.envs.pruning.network import PrunableNetwork

Array = NDArray[np.float64]
# after some layer of theirs
NO_BATCH_NORM = [f"oddnets:{name}" for name in ("gated", "viewed", "instance_normed", "over_places")]
PIXELS = reference.noise("small", 20, 1)


@cache
def small() -> PrunableNetwork:
    """conv - batch norm - ReLU - conv - batch norm - ReLU - linear."""
    torch.manual_seed(0)
    model = oddnets.headed([oddnets.block(3, 7, 3), oddnets.block(7, 5, 3)], 5, 10).eval()
    with torch.no_grad():
        for norm in (model[0][1], model[1][1]):
            norm.weight.uniform_(-1.5, 1.5)
            norm.running_var.uniform_(0.5, 1.5)
    return PrunableNetwork(model, PIXELS[:1])


def batches(size: int) -> Batches:
    return reference.batches(PIXELS, size)


def scores(criterion: str, network: PrunableNetwork | None = None, seed: int = 0) -> list[Array]:
    return channel_scores(network or small(), criterion, batches(8), seed)


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().numpy()


def parts() -> tuple[Array, Array, Array]:
    """What belongs to the first layer's channels, channel by channel: own filters, gamma, weights that read them."""
    first, norm, second = small().model[0][0], small().model[0][1], small().model[1][0]
    return array(first.weight).reshape(7, -1), array(norm.weight), array(second.weight).swapaxes(0, 1).reshape(7, -1)


def test_consumer_l1_is_the_sum_of_absolute_weights_that_read_the_channel() -> None:
    _, _, consumers = parts()
    np.testing.assert_allclose(scores("consumer-l1")[0], np.abs(consumers).sum(1))
    head = array(small().model[4].weight)
    np.testing.assert_allclose(scores("consumer-l1")[1], np.abs(head).sum(0))


def test_l2_is_the_mean_over_the_group_of_squared_norms() -> None:
    filters, gamma, consumers = parts()
    expected = ((filters**2).sum(1) + gamma**2 + (consumers**2).sum(1)) / 3
    np.testing.assert_allclose(scores("l2")[0], expected, rtol=1e-5)


def test_bn_scale_is_the_size_of_gamma() -> None:
    _, gamma, _ = parts()
    assert (gamma < 0).any()
    np.testing.assert_allclose(scores("bn-scale")[0], np.abs(gamma), rtol=1e-6)


def test_fpgm_is_the_distance_to_the_other_filters() -> None:
    filters, _, _ = parts()
    expected = [sum(np.linalg.norm(one - other) for other in filters) for one in filters]
    np.testing.assert_allclose(scores("fpgm")[0], expected, rtol=1e-6)


def test_taylor_is_the_size_of_the_sum_of_weight_times_gradient() -> None:
    model = oddnets.headed([oddnets.block(3, 7, 3), oddnets.block(7, 5, 3)], 5, 10).eval()
    model.load_state_dict(small().model.state_dict())
    ((images, labels),) = batches(20)
    nn.functional.cross_entropy(model(images), labels, reduction="sum").backward()
    first, second = model[0][0].weight, model[1][0].weight
    own = array(first * first.grad).sum((1, 2, 3))
    read = array(second * second.grad).sum((0, 2, 3))
    norm = model[0][1]
    scaled = array(norm.weight * norm.weight.grad) + array(norm.bias * norm.bias.grad)
    np.testing.assert_allclose(scores("taylor")[0], (np.abs(own) + np.abs(read) + np.abs(scaled)) / 3, rtol=1e-4)


def test_depthwise_weights_and_norms_count_for_every_criterion_of_the_group() -> None:
    """torch-pruning's own leave them out."""
    torch.manual_seed(1)
    network = PrunableNetwork(
        oddnets.headed([oddnets.block(3, 6), oddnets.block(6, 6, 3, groups=6)], 6, 10), PIXELS[:1]
    )
    parts = [array(p).reshape(6, -1) for p in (network.model[0][0].weight, network.model[1][0].weight)]
    parts += [array(network.model[k][1].weight).reshape(6, 1) for k in (0, 1)] + [array(network.model[4].weight).T]
    np.testing.assert_allclose(scores("l2", network)[0], sum((p**2).sum(1) for p in parts) / 5, rtol=1e-6)


def test_random_depends_on_the_seed_alone() -> None:
    same, again, other = (scores("random", seed=seed) for seed in (1, 1, 2))
    assert all((mine == theirs).all() for mine, theirs in zip(same, again, strict=True))
    assert not any((mine == theirs).any() for mine, theirs in zip(same, other, strict=True))


def test_channels_that_go_together_are_scored_together() -> None:
    """A depthwise convolution with two outputs per input: its weights count at its outputs."""
    network = reference.network("oddnets:multiplier", "inner")
    (first, norm, _), (deep, deep_norm, _), *_, head = network.model
    assert [unit.outputs.channel.tolist() for unit in network.units[:2]] == [
        [0, 1, 2, 3, 4, 5],
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
    ]
    front = ((array(first.weight) ** 2).sum((1, 2, 3)) + array(norm.weight) ** 2) / 2
    back = (
        (array(deep.weight) ** 2).sum((1, 2, 3)) + array(deep_norm.weight) ** 2 + (array(head.weight) ** 2).sum(0)
    ) / 3
    np.testing.assert_allclose(scores("l2", network)[0], front + back.reshape(6, 2).sum(1), rtol=1e-5)
    gammas = np.abs(array(norm.weight)) + np.abs(array(deep_norm.weight)).reshape(6, 2).sum(1)
    np.testing.assert_allclose(scores("bn-scale", network)[0], gammas, rtol=1e-5)


def test_several_layers_that_read_a_channel_are_added() -> None:
    network = reference.network("oddnets:gated", "inner")
    squeeze, after = network.model[1].branches[1][1], network.model[2][0]
    expected = sum(np.abs(array(layer.weight)).sum((0, 2, 3)) for layer in (squeeze, after))
    np.testing.assert_allclose(scores("consumer-l1", network)[0], expected)


def test_every_position_of_a_flattened_channel_counts() -> None:
    network = reference.network("oddnets:flattened", "inner")
    head = array(network.model[3].weight)
    np.testing.assert_allclose(scores("consumer-l1", network)[0], np.abs(head).reshape(12, 8, 4).sum((0, 2)))


@pytest.mark.parametrize(
    ("name", "criterion"),
    [case for case in product(oddnets.PRUNABLE, CRITERIA) if case[1] != "bn-scale" or case[0] not in NO_BATCH_NORM],
)
def test_every_criterion_gives_one_finite_number_per_channel(name: str, criterion: str) -> None:
    network = reference.network(name, "all")
    found = channel_scores(network, criterion, reference.calibration_batches(name), 0)
    assert [len(score) for score in found] == network.channels
    assert all(np.isfinite(score).all() for score in found)


@pytest.mark.parametrize("criterion", [criterion for criterion in CRITERIA if criterion != "taylor"])
def test_only_taylor_looks_at_images(criterion: str) -> None:
    def forbidden() -> object:
        raise AssertionError("images were asked for")
        yield

    found = channel_scores(small(), criterion, forbidden(), 0)  # type: ignore[arg-type]
    assert [len(score) for score in found] == small().channels


def test_taylor_does_not_depend_on_the_batch_size_and_leaves_no_gradients() -> None:
    for one, other in zip(*(channel_scores(small(), "taylor", batches(size), 0) for size in (3, 20)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    assert all(parameter.grad is None for parameter in small().model.parameters())


def test_bn_scale_is_refused_for_layers_without_batch_norm() -> None:
    network = reference.network("oddnets:gated", "inner")
    with pytest.raises(TaskError, match=r"^importance 'bn-scale': layer 1\.branches\.1\.1 has nothing to compute it"):
        scores("bn-scale", network)


def test_an_unknown_criterion_is_refused_with_the_nearest() -> None:
    with pytest.raises(TaskError, match=r"^importance 'tailor' is unknown: .*did you mean 'taylor'\?$"):
        scores("tailor")


def test_ranks_are_stable() -> None:
    assert list(ranks(np.array([1.0, 3.0, 1.0, 2.0]))) == [2, 0, 3, 1]


def test_a_criterion_may_stand_in_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_criterion.py").write_text(
        "import numpy as np\n\ndef first(network, batches, seed):\n"
        "    return [-np.arange(channels, dtype=float) for channels in network.channels]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(CRITERIA, "first", Criterion("channels in their order", "own_criterion:first"))
    assert [list(ranks(score)) for score in scores("first")] == [list(range(7)), list(range(5))]
