"""ResNets for 32 x 32 images (He et al. 2016, section 4.2): basic blocks, option-A shortcuts without parameters."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class PaddedShortcut(nn.Module):
    """Option A (He et al. 2016, section 3.3): subsample, then pad with zero channels in front and behind.

    Attributes:
        c_in: channels of the dense network's input.
        c_out: channels of its output; ``(c_out - c_in) // 2`` zero channels come in front, the others behind.
        stride: step of the subsampling.
        selected: None, or ``(n_out,)`` int64 on the input's device, for a smaller network: the input channel that each
            output channel copies, the number of input channels standing for zeros. No part of the state dict.
    """

    selected: Tensor | None

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.c_in, self.c_out, self.stride = c_in, c_out, stride
        self.selected = None

    def source(self) -> NDArray[np.int64]:
        """``(c_out,)``: the input channel that each output channel of the dense module copies, -1 where it is zero."""
        source = np.full(self.c_out, -1, dtype=np.int64)
        front = (self.c_out - self.c_in) // 2
        source[front : front + self.c_in] = np.arange(self.c_in)
        return source

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, c_out or n_out, H / stride, W / stride)``."""
        x = x[:, :, :: self.stride, :: self.stride]
        if self.selected is not None:
            return F.pad(x, (0, 0, 0, 0, 0, 1)).index_select(1, self.selected)
        pad = self.c_out - self.c_in
        return F.pad(x, (0, 0, 0, 0, pad // 2, pad - pad // 2))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: the input itself, or :class:`PaddedShortcut` where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut = PaddedShortcut(c_in, c_out, stride) if stride > 1 or c_in != c_out else None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, c_in, H, W)`` to ``(N, c_out, H / stride, W / stride)``."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class CifarResNet(nn.Module):
    """ResNet-``depth`` with three stages of 16, 32 and 64 channels; ``depth = 6 n + 2``."""

    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1)
        self.layer2 = _stage(16, 32, blocks, 2)
        self.layer3 = _stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to logits ``(N, classes)``."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(c_in: int, c_out: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(c_in, c_out, stride)
    return nn.Sequential(first, *(BasicBlock(c_out, c_out, 1) for _ in range(blocks - 1)))
