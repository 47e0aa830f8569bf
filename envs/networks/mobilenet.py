"""MobileNets with the strides usual for 32 x 32 images."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

# Output channels and stride of every block (Howard et al. 2017, table 1).
_V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))

# Expansion, output channels, blocks and first stride of every stage (Sandler et al. 2018, table 2), two strides fewer.
_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class SeparableBlock(nn.Module):
    """A 3 x 3 depthwise convolution and a 1 x 1 convolution, each with batch norm and ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_in, 3, stride, 1, groups=c_in, bias=False)
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv2 = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, c_in, H, W)`` to ``(N, c_out, H / stride, W / stride)``."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


class MobileNetV1(nn.Module):
    """MobileNet (Howard et al. 2017) of width 1; the first convolution keeps the size of the image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        widths = (32, *(width for width, _ in _V1_BLOCKS))
        self.layers = nn.Sequential(
            *(SeparableBlock(c_in, *block) for c_in, block in zip(widths, _V1_BLOCKS, strict=False))
        )
        self.linear = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.linear.weight, 0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to logits ``(N, classes)``."""
        x = self.layers(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def mobilenetv2(classes: int) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018) from torchvision; the first convolution and the second stage keep the size."""
    from torchvision.models.mobilenetv2 import MobileNetV2

    model = MobileNetV2(num_classes=classes, inverted_residual_setting=[list(stage) for stage in _V2_STAGES])
    stem: Any = model.features[0][0]
    stem.stride = (1, 1)
    return model
