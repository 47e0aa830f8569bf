"""Networks whose layers are not what they seem: weights computed anew, wrappers, lazy shapes, strange operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oddnets
import pytest
import reference
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.calibration import calibrate
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.scored import check_scored
from prunebench.envs.networks.baked import baked, materialised, unwrapped
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.verification import verify

IMAGES = reference.noise("small", 6, 0)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return oddnets.headed([oddnets.block(3, 8, 3), oddnets.block(8, 6)], 6, 10)


def evaluator(model: nn.Module, scope: str = "inner") -> Evaluator:
    network = PrunableNetwork(model, IMAGES[:1], scope)
    verify(network)
    pixels = reference.batches(IMAGES, 3, network.layout)
    found = Evaluator(
        network, calibrate(network, pixels, importance="l2", least_squares=True, seed=0), pixels, lambda: pixels
    )
    check_scored(found, next(iter(pixels))[0])
    return found


def same(one: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        return reference.difference(one(IMAGES), other(IMAGES)) <= 1e-5


def on_first(change: Callable[[nn.Module], object]) -> Callable[[nn.Module], nn.Module]:
    def changed(model: Any) -> nn.Module:
        change(model[0][0])
        return model

    return changed


def synchronised(model: nn.Module) -> nn.Module:
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


@pytest.mark.parametrize(
    "change",
    [
        on_first(parametrizations.weight_norm),
        on_first(parametrizations.spectral_norm),
        on_first(parametrizations.orthogonal),
        on_first(nn.utils.weight_norm),
        on_first(nn.utils.spectral_norm),
        on_first(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
        on_first(lambda layer: prune.random_structured(layer, "weight", 0.25, dim=0)),
        synchronised,
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed_anew_are_baked_in(change: Callable[[nn.Module], nn.Module]) -> None:
    given = change(net()).eval()
    with torch.no_grad():
        expected = given(IMAGES)
    plain = baked(given)
    assert set(dict(plain.named_parameters())) == set(dict(net().named_parameters()))
    found = evaluator(plain)
    with torch.no_grad():
        assert reference.difference(plain(IMAGES), expected) <= 1e-5
        assert reference.difference(found.build(found.dense)(IMAGES), expected) <= 1e-5
    assert [layer.name for layer in found.network.layers] == ["0.0", "1.0"]


def test_wrappers_are_taken_off() -> None:
    model = net()
    assert unwrapped(torch.compile(model)) is model
    assert unwrapped(nn.DataParallel(nn.DataParallel(model))) is model
    model.compile()
    assert unwrapped(model)._compiled_call_impl is None


def test_a_scripted_network_is_refused() -> None:
    with pytest.raises(TaskError, match=r"TorchScript module: expected the torch\.nn\.Module"):
        unwrapped(torch.jit.script(net()))


def test_lazy_modules_get_their_shapes() -> None:
    lazy = nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10)
    )
    found = evaluator(materialised(lazy, IMAGES[:1]))
    assert found.dense == (8,)
    assert same(found.build(found.dense), lazy)


class Silent(nn.Module):
    """Its ``train`` returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = net()

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x)


def test_a_network_whose_train_returns_nothing_is_evaluated() -> None:
    model = Silent()
    found = evaluator(baked(model))
    assert same(found.build(found.dense), model)


class Restless(nn.Module):
    """Dropout that never rests."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class Blurred(nn.Module):
    """A blur of a fixed number of channels, as anti-aliased networks have."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.full((channels, 1, 3, 3), 1 / 9))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.kernel, padding=1, groups=len(self.kernel))


def between(*middle: nn.Module, channels: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return oddnets.headed([oddnets.block(3, channels, 3), *middle, oddnets.block(channels, 6)], 6, 10)


class OverBatch(nn.Module):
    """Batch norm as a function, of the batch itself."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, None, None, training=True)


def offset(model: nn.Module) -> nn.Module:
    """All classes far above zero, by as much."""
    list(model.children())[-1].bias.data += 300  # type: ignore[operator, union-attr]
    return model


def with_nan() -> nn.Module:
    model = net()
    model[1][0].weight.data[0, 0] = float("nan")
    return model


class Reversed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (between(Restless()), "Sequential: gives other outputs for the same images: something in it stays random"),
        (between(OverBatch()), "Sequential: what it gives for an image depends on the others of its batch"),
        (offset(between(nn.Softmax2d())), "layer 0.0: its channels cannot be removed"),
        (with_nan(), "Sequential: 1.0.weight holds infinity, or what is no number"),
        (between(Blurred(8)), r"layer 0.0: its channels cannot be removed: .*; --exclude 0.0 leaves out"),
        *((between(nn.Softmax2d(), channels=n), "layer 0.0: its channels cannot be removed") for n in (2, 4, 8)),
        *((between(Reversed(), channels=n), "layer 0.0: .*") for n in (4, 6, 8)),
        *((between(nn.LocalResponseNorm(5, 2.0), channels=n), "layer 0.0") for n in (6, 8, 10)),
    ],
)
def test_what_is_at_fault_is_named(model: nn.Module, message: str) -> None:
    with pytest.raises(TaskError, match=message) as refused:
        verify(PrunableNetwork(model, IMAGES[:1]))
    assert "\n" not in str(refused.value)


def test_what_cannot_be_removed_can_be_excluded() -> None:
    model = between(Blurred(8))
    network = PrunableNetwork(model, IMAGES[:1], exclude=("0.0",))
    verify(network)
    assert [layer.name for layer in network.layers] == ["2.0"]
    assert network.other_macs == 8 * 9 * 16 * 16  # of the blur


def test_transposed_convolutions_cost_and_stay_whole() -> None:
    network = PrunableNetwork(between(nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU()), IMAGES[:1])
    verify(network)
    assert [layer.name for layer in network.layers] == ["3.0"]
    assert network.other_macs == 8 * 8 * 4 * 16 * 16
    assert "cannot be sliced" in network.left_out["0.0"]


def test_images_that_a_network_changes_are_not_changed_for_others() -> None:
    torch.manual_seed(0)
    model = oddnets.Careless(10)
    found = evaluator(baked(model))
    assert [layer.name for layer in found.network.layers] == ["body.0.0", "body.1.0"]
    with torch.no_grad():
        given = model(IMAGES.clone())
        assert reference.difference(found.build(found.dense)(IMAGES.clone()), given) <= 1e-5


def test_ties_hold_in_networks_that_are_trained_on() -> None:
    for name in oddnets.PRUNABLE:
        found = reference.evaluator(name, "inner", "l2", "none")
        for counts in (found.dense, reference.random_counts(found.network, 1)):
            parameters = sum(parameter.numel() for parameter in found.unfolded(counts).parameters())
            assert parameters == found.costs["parameters"](counts), name


def test_an_evaluator_that_scores_another_network_is_found() -> None:
    found = evaluator(net())
    scale, shift = found._folds["0.0"]
    found._folds["0.0"] = (scale * 1.1, shift)
    found._weights.clear()
    with pytest.raises(TaskError, match=r"Sequential: as it is scored its outputs differ from the network's own by"):
        check_scored(found, IMAGES)


def test_costs_that_a_policy_would_make_negative_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    network = PrunableNetwork(net().eval(), IMAGES[:1])
    monkeypatch.setattr(network, "other_macs", -(10**9))
    with pytest.raises(TaskError, match="its macs are no sum of what its layers have"):
        verify(network)
