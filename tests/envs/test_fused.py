"""Fused kernels: every pattern of convolutions and what follows them gives what the network itself gives."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import reference
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.noise import evaluator_on_noise, noise
from prunebench.envs.evaluation.scored import fuse_if_same
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.verification import enliven

ACTIVATIONS = {
    "module": lambda shared, x: shared(x),
    "six": lambda shared, x: F.relu6(x),
    "six in place": lambda shared, x: F.relu6(x, inplace=True),
    "function": lambda shared, x: F.relu(x),
    "in place": lambda shared, x: F.relu(x, inplace=True),
    "method": lambda shared, x: x.relu(),
    "method in place": lambda shared, x: x.relu_(),
    "sigmoid": lambda shared, x: torch.sigmoid(x),
    "none": lambda shared, x: x + 0.5,
    "twice": lambda shared, x: F.relu(x) + F.relu6(x),
}
ENDS = {
    "sum": lambda x, y, z: x + y,
    "sum the other way": lambda x, y, z: y + x,
    "in place": lambda x, y, z: y.add_(x),
    "into the shortcut": lambda x, y, z: x.add_(y) + x,  # who reads x afterwards reads the sum
    "operator in place": lambda x, y, z: operator.iadd(y, x),
    "weighted": lambda x, y, z: torch.add(y, x, alpha=0.5),
    "two convolutions": lambda x, y, z: y + z(x),
    "input changed in between": lambda x, y, z: F.relu(x, inplace=True) + y,
    "one number for all": lambda x, y, z: y + x.mean((2, 3), keepdim=True),
    "with itself": lambda x, y, z: y + y,
    "product": lambda x, y, z: x * y,
    "concatenation": lambda x, y, z: torch.cat([x, y], 1)[:, 8:],
    "activation before the sum": lambda x, y, z: x + F.relu(y),
    "read twice": lambda x, y, z: F.relu(x + y) + y.mean(),
}


class Block(nn.Module):
    def __init__(self, kinds: tuple[str, str], end: str, norm: bool, bias: bool, groups: int) -> None:
        super().__init__()
        self.kinds, self.end = kinds, end
        self.conv1, self.conv2 = nn.Conv2d(8, 12, 3, 1, 1, bias=bias), nn.Conv2d(12, 8, 1, bias=bias)
        self.depthwise = nn.Conv2d(12, 12, 3, 1, 1, groups=12, bias=bias) if groups else None
        self.beside = nn.Conv2d(8, 8, 3, 1, 2, dilation=2)
        self.bn1, self.bn2 = (nn.BatchNorm2d(size) if norm else nn.Identity() for size in (12, 8))
        self.shared = nn.ReLU(inplace=groups > 0)

    def forward(self, x: Tensor) -> Tensor:
        y = ACTIVATIONS[self.kinds[0]](self.shared, self.bn1(self.conv1(x)))
        if self.depthwise is not None:
            y = self.shared(self.depthwise(y))
        y = self.bn2(self.conv2(y))
        return ACTIVATIONS[self.kinds[1]](self.shared, ENDS[self.end](x, y, self.beside))


class Random(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        kinds, ends = list(ACTIVATIONS), list(ENDS)

        def chosen(names: list[str]) -> str:
            return names[int(rng.integers(len(names)))]

        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.blocks = nn.Sequential(
            *(
                Block((chosen(kinds), chosen(kinds)), ends[(seed + i) % len(ends)], *map(bool, rng.integers(2, size=3)))
                for i in range(3)
            )
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x), inplace=True))
        return self.head(F.relu6(F.adaptive_avg_pool2d(x, 1)).flatten(1))


def evaluator(model: nn.Module) -> Evaluator:
    network = PrunableNetwork(model.eval(), torch.zeros(1, 3, 10, 10))
    enliven(network.model, network.example)
    return evaluator_on_noise(network, noise(network, 20, 10), noise(network, 12, 12, 1))


@pytest.mark.parametrize("seed", range(2 * len(ENDS)))
def test_random_networks_give_the_same_with_and_without_fused_kernels(seed: int) -> None:
    torch.manual_seed(seed)
    found = evaluator(Random(seed))
    images = next(iter(found.reward))[0]
    found.fuse()
    with torch.inference_mode():
        for number in range(3):
            counts = reference.random_counts(found.network, number) if number else found.dense
            expected = found.build(counts)(images.clone())
            assert reference.difference(found.runner(counts)(images.clone()), expected) <= 1e-6, counts


class Baking(nn.Module):
    """Takes a number of its modules into account that another policy changes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x * (8 / self.conv2.in_channels)))
        return self.head(x.mean((2, 3)))


class Branching(Baking):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.head(x.mean((2, 3)) if x.mean() < 1e9 else x.amax((2, 3)))


class Threshold(Baking):
    """No policy but those that keep one channel shows it."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.head(x.mean((2, 3)) * (1.5 if self.conv1.out_channels < 2 else 1))


class Dividing(Baking):
    """Gives NaN for an image without any light, which the kernels would make a number of."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x / x.abs().amax((1, 2, 3), keepdim=True))
        return self.head(F.relu(self.conv2(F.relu(x))).mean((2, 3)))


class Aliasing(Baking):
    def forward(self, x: Tensor) -> Tensor:
        x = kept = F.relu(self.conv2(F.relu(self.conv1(x))))
        x += 1
        return self.head(kept.mean((2, 3)))


class Printing(Baking):
    """The tracer prints what goes wrong here."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.head((x if isinstance(x, Tensor) else x[0]).mean((2, 3)))


@pytest.mark.parametrize("kind", [Baking, Branching, Threshold, Dividing, Aliasing, Printing])
def test_what_cannot_be_traced_is_run_without(kind: type[nn.Module], capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = PrunableNetwork(kind().eval(), torch.ones(1, 3, 10, 10))
    found = evaluator_on_noise(network, noise(network, 20, 10), noise(network, 12, 12, 1))
    assert not fuse_if_same(found, next(iter(found.reward))[0])
    assert found._fused is None
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_no_numbers_are_not_hidden() -> None:
    """The kernels of activations make 0 of NaN."""
    found = reference.evaluator("resnet20", "inner", reconstruction="none")
    found.fuse()
    one_less = (found.dense[0] - 1, *found.dense[1:])
    assert np.isfinite(found.score(one_less).loss)
    unit = next(unit for unit in found.network.units if unit.sliced)
    found._folds[unit.name] = tuple(part * torch.nan for part in found._folds[unit.name])  # type: ignore[assignment]
    found._weights.clear()
    assert np.isnan(found.score(one_less).loss)


@pytest.mark.parametrize(("name", "others"), [("resnet20", 5), ("mobilenetv2", 11), ("vgg16", 7)])
def test_the_networks_that_come_along_are_run_by_fused_kernels(name: str, others: int) -> None:
    """Nothing is left but pooling, the head, MobileNet's projections without a shortcut, ResNet's own shortcuts."""
    found = reference.evaluator(name, "inner", reconstruction="none")
    assert fuse_if_same(found, next(iter(found.reward))[0])
    assert found._fused is not None
    called = [node for node in found._fused.graph.nodes if node.op.startswith("call")]
    assert sum("_fused" not in str(node.target) for node in called) == others
