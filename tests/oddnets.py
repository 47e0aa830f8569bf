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


class WithReLU(nn.Conv2d):
    """A convolution that does more than its weights times its input, but to every output alone."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Gained(nn.Linear):
    """A linear layer whose outputs are squashed."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(super().forward(x)) * 2


class Standardised(nn.Conv2d):
    """Weight standardisation: every weight depends on all others of its filter."""

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (var + 1e-5).sqrt(), self.bias)


class FixedPoint(nn.Conv2d):
    """Weights that are rounded to sixteenths when they are used."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(
            x, self.weight + (torch.round(self.weight * 16) / 16 - self.weight).detach(), self.bias
        )


def _with(conv: type[nn.Conv2d], num_classes: int) -> nn.Module:
    body = nn.Sequential(conv(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
    return headed([block(3, 8, 3), body, block(12, 6)], 6, num_classes)


def rectified(num_classes: int) -> nn.Module:
    return _with(WithReLU, num_classes)


def standardised(num_classes: int) -> nn.Module:
    return _with(Standardised, num_classes)


def rounded(num_classes: int) -> nn.Module:
    return _with(FixedPoint, num_classes)


def squashed(num_classes: int) -> nn.Module:
    """A linear layer of a kind of its own, before a batch norm."""
    head = (Gained(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, num_classes))
    return nn.Sequential(block(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


class Hooked(nn.Sequential):
    """A forward hook on a convolution doubles what it gives."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self[0][0].register_forward_hook(_double)


def _double(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return 2 * output + 1


def hooked(num_classes: int) -> nn.Module:
    return nn.Sequential(
        Hooked(block(3, 8, 3), block(8, 6)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes)
    )


class Peeking(nn.Module):
    """Reads a convolution's raw output where autograd does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.after = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), block(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = torch.sigmoid(x.detach().mean((2, 3), keepdim=True))
        return self.after(F.relu(self.bn(x)) * gate)


def peeking(num_classes: int) -> nn.Module:
    return headed([block(3, 8, 3), Peeking()], 6, num_classes)


class Named(nn.Module):
    """The same modules as attributes and in a list; and a batch norm's weight is read beside it."""

    def __init__(self, num_classes: int, reads: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(6, num_classes)
        self.stem = nn.Sequential(self.conv, self.bn)
        self.after, self.reads = block(8, 6), reads

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = x * self.bn.weight[:, None, None].abs() if self.reads else x
        return self.head(self.after(x).mean((2, 3)))


def two_names(num_classes: int) -> nn.Module:
    return Named(num_classes, reads=False)


def norm_read(num_classes: int) -> nn.Module:
    return Named(num_classes, reads=True)


class Viewed(nn.Module):
    """The PyTorch tutorial's way to flatten a map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


def viewed(num_classes: int) -> nn.Module:
    return nn.Sequential(
        block(3, 8, 3), nn.AdaptiveAvgPool2d(2), Viewed(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, num_classes)
    )


class Attention(nn.Module):
    """Attention over the places of a map, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2)
        return x + self.inside(places, places, places, need_weights=False)[0].transpose(1, 2).unflatten(2, x.shape[2:])


def attending(num_classes: int) -> nn.Module:
    return headed([nn.Conv2d(3, 8, 2, 2), Attention(8), block(8, 6), block(6, 5)], 5, num_classes)


class Gram(nn.Module):
    """A product of the channels with each other, whose work grows with their square."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return x + 0 * (flat @ flat.transpose(1, 2)).sum((1, 2))[:, None, None, None]


def tied(num_classes: int) -> nn.Module:
    """Two layers with one weight."""
    model = headed(
        [block(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), block(8, 6)],
        6,
        num_classes,
    )
    model[4].weight = model[2].weight
    return model


class SpatialGate(nn.Module):
    """One map times all channels, in either order."""

    def __init__(self, channels: int, first: bool) -> None:
        super().__init__()
        self.gate, self.first = nn.Sequential(nn.Conv2d(channels, 1, 3, padding=1), nn.BatchNorm2d(1)), first

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * x if self.first else x * gate


def spatially_gated(num_classes: int) -> nn.Module:
    return headed(
        [block(3, 8, 3), SpatialGate(8, True), block(8, 6), SpatialGate(6, False), block(6, 5)], 5, num_classes
    )


def shuffled(num_classes: int) -> nn.Module:
    return headed([block(3, 8, 3), nn.Identity(), nn.PixelShuffle(2), block(2, 6)], 6, num_classes)


def halved(num_classes: int) -> nn.Module:
    return headed([block(3, 8, 3), nn.Identity(), nn.GLU(1), block(4, 6)], 6, num_classes)


def instance_normed(num_classes: int) -> nn.Module:
    """Instance norm and PReLU, of one factor and of one for each channel."""
    return headed(
        [
            nn.Conv2d(3, 8, 3),
            nn.InstanceNorm2d(8, affine=True),
            nn.PReLU(8),
            nn.Conv2d(8, 6, 1),
            nn.PReLU(),
            nn.Conv2d(6, 5, 1),
            nn.ReLU(),
        ],
        5,
        num_classes,
    )


class Keyword(nn.Module):
    """Calls its layer by keyword."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(input=x)))


def by_keyword(num_classes: int) -> nn.Module:
    return headed([Keyword(3, 8), Keyword(8, 6)], 6, num_classes)


class Lopsided(nn.Module):
    """Adds to some of the channels only: a search for what goes together that follows lists never ends."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv, self.width = block(c_in, c_out, 3), c_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.cat([y[:, : self.width] + x, y[:, self.width :]], 1)


def lopsided(num_classes: int) -> nn.Module:
    blocks = [Lopsided(width, width + 3) for width in range(8, 26, 3)]
    return headed([block(3, 8), *blocks, block(26, 6), block(6, 5)], 5, num_classes)


class Patches(nn.Module):
    """Quarters of an image stand side by side in a batch, and their means are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(block(3, 8, 3), block(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inside(torch.cat([x, x.flip(3)]))
        return parts[: len(x)] + parts[len(x) :]


def augmented(num_classes: int) -> nn.Module:
    return headed([Patches(), block(6, 5)], 5, num_classes)


class Looking(nn.Module):
    """Looks at what its norm is, and keeps it in a plain list too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.norms = [self.bn]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.conv(x)) * (1 + self.bn.eps)
        return F.relu(x) if isinstance(self.bn, nn.BatchNorm2d) else x


def looking(num_classes: int) -> nn.Module:
    return headed([block(3, 8, 3), Looking(), block(8, 6)], 6, num_classes)


class OverPlaces(nn.Module):
    """A batch norm over places behind a linear layer that is applied at each of them; a mask of minus infinity."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.embed, self.norm, self.out = nn.Linear(3, 8), nn.BatchNorm1d(16), nn.Linear(8, 6)
        self.head = nn.Linear(6, num_classes)
        self.register_buffer("mask", torch.full((16, 16), -torch.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        places = F.adaptive_avg_pool2d(x, 4).flatten(2).transpose(1, 2)
        x = F.relu(self.norm(self.embed(places)))
        x = torch.softmax(self.mask, 1) @ x
        return self.head(F.relu(self.out(x)).mean(1))


def over_places(num_classes: int) -> nn.Module:
    return OverPlaces(num_classes)


class Careless(nn.Module):
    """Changes its image in place, and orders its outputs by a frozen parameter of whole numbers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(block(3, 8, 3), block(8, 6)), nn.Linear(6, num_classes)
        self.order = nn.Parameter(torch.arange(num_classes).flip(0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5)
        return self.head(self.body(x).mean((2, 3)))[:, self.order]


FUNCTIONS = (
    grouped, chained, multiplier, grouped_after_addition, gated, concatenated, flattened, preactivated,
    rectified, standardised, rounded, squashed, hooked, peeking, two_names, norm_read, viewed, attending, tied,
    spatially_gated, instance_normed, by_keyword, lopsided, augmented, looking, over_places,
)  # fmt: skip
PRUNABLE = tuple(f"oddnets:{function.__name__}" for function in FUNCTIONS)
