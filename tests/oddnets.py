"""Small made-up networks, one peculiarity each; as models they are named ``oddnets:<function>``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Branches(nn.Module):
    """Several modules on the same input, and what puts their outputs together."""

    def __init__(self, join: Callable[[Sequence[Tensor]], Tensor], *branches: nn.Module) -> None:
        super().__init__()
        self.join, self.branches = join, nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return self.join([branch(x) for branch in self.branches])


def add(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] + parts[1]


def multiply(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] * parts[1]


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts), dim=1)


def block(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


def headed(body: Sequence[nn.Module], width: int, num_classes: int) -> nn.Sequential:
    """``body``, the mean over the map, and a linear layer."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


def grouped(num_classes: int) -> nn.Module:
    """Four groups of two inputs and three outputs."""
    return headed([block(3, 8), block(8, 12, 3, groups=4)], 12, num_classes)


def chained(num_classes: int) -> nn.Module:
    """Four groups, then two: only halves can go."""
    return headed([block(3, 8), block(8, 8, 3, groups=4), block(8, 12, 3, groups=2)], 12, num_classes)


def multiplier(num_classes: int) -> nn.Module:
    """A depthwise convolution with two outputs per input."""
    return headed([block(3, 6), block(6, 12, 3, groups=6)], 12, num_classes)


def grouped_after_addition(num_classes: int) -> nn.Module:
    """The grouped convolution reads channels that an addition ties."""
    inside = nn.Sequential(block(8, 6), nn.Conv2d(6, 8, 1))
    return headed([block(3, 8), Branches(add, nn.Identity(), inside), block(8, 8, 3, groups=2)], 8, num_classes)


def uneven(num_classes: int) -> nn.Module:
    """A grouped convolution whose first group reads one layer, the others another."""
    return headed(
        [block(3, 8), Branches(concatenate, block(8, 4), block(8, 8)), block(12, 12, groups=3)], 12, num_classes
    )


def gated(num_classes: int) -> nn.Module:
    """Squeeze-and-excite between two convolutions."""
    squeeze = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid())
    return headed(
        [block(3, 8, 3), Branches(multiply, nn.Identity(), nn.Sequential(*squeeze)), block(8, 6)], 6, num_classes
    )


def concatenated(num_classes: int) -> nn.Module:
    """A convolution that reads two layers and, beside them, channels that an addition ties."""
    tied = Branches(add, nn.Identity(), nn.Conv2d(8, 8, 1))
    beside = Branches(concatenate, block(8, 5), nn.Identity(), block(8, 7, 3))
    return headed([block(3, 8), tied, beside, block(20, 6, 3)], 6, num_classes)


def with_image(num_classes: int) -> nn.Module:
    """A concatenation with the image, which the tracing overlooks: too many channels for the other branches."""
    return headed([Branches(concatenate, block(3, 5), nn.Identity(), block(3, 7)), block(15, 6)], 6, num_classes)


def after_image(num_classes: int) -> nn.Module:
    """The same, where the tracing takes the image's channels for the layer's."""
    return headed([Branches(concatenate, nn.Identity(), block(3, 5)), block(8, 6)], 6, num_classes)


def flattened(num_classes: int) -> nn.Module:
    """Four positions per channel in the first linear layer, whose outputs pass a BatchNorm1d."""
    pooled = (block(3, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    norm = nn.BatchNorm1d(12)
    with torch.no_grad():
        for tensor in (norm.weight, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 1.5)
    return nn.Sequential(*pooled, nn.Linear(32, 12), norm, nn.ReLU(), nn.Linear(12, num_classes))


def preactivated(num_classes: int) -> nn.Module:
    """Batch norms that follow an addition, so that they cannot be folded."""

    def pre(c_in: int, c_out: int) -> nn.Sequential:
        return nn.Sequential(nn.BatchNorm2d(c_in), nn.ReLU(), nn.Conv2d(c_in, c_out, 3, padding=1))

    blocks = [Branches(add, nn.Identity(), nn.Sequential(pre(8, 6), pre(6, 8))) for _ in range(2)]
    return headed([nn.Conv2d(3, 8, 1), *blocks, nn.BatchNorm2d(8), nn.ReLU()], 8, num_classes)


class Padding(nn.Module):
    """An option-A shortcut that the tracing does not recognise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))


def padded(num_classes: int) -> nn.Module:
    inside = nn.Sequential(block(8, 12, 3, stride=2), nn.Conv2d(12, 16, 3, padding=1))
    return headed([block(3, 8), Branches(add, Padding(), inside), nn.ReLU(), block(16, 6)], 6, num_classes)


def twice(num_classes: int) -> nn.Module:
    """A layer that is called twice."""
    same = block(8, 8)
    return headed([block(3, 8), same, same], 8, num_classes)


def normalised(num_classes: int) -> nn.Module:
    """Normalisation over the channels."""
    return headed([nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.ReLU()], 8, num_classes)


class Scale(nn.Module):
    """A learned factor per channel that is a parameter, not a layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def scaled(num_classes: int) -> nn.Module:
    return headed([block(3, 8), Scale(8), block(8, 6)], 6, num_classes)


class FunctionalConv(nn.Module):
    """A convolution that is no module."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(c_out, c_in, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel)


def functional(num_classes: int) -> nn.Module:
    """The stem is out of the tracing's sight."""
    return headed([FunctionalConv(3, 8), nn.ReLU(), block(8, 6), block(6, 5)], 5, num_classes)


FUNCTIONS = (
    grouped, chained, multiplier, grouped_after_addition, gated, concatenated, flattened, preactivated
)  # fmt: skip
PRUNABLE = tuple(f"oddnets:{function.__name__}" for function in FUNCTIONS)
