"""VGG-16 with batch norm (Simonyan and Zisserman 2015, configuration D) and the small head usual for 32 x 32 images."""

from __future__ import annotations

from torch import Tensor, nn

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """Five stages of 3 x 3 convolutions, each ending in max-pooling, and one linear layer.

    The last pooling is adaptive: at 32 x 32 it is the usual one, from 2 x 2 to 1 x 1, and at 16 x 16, where four
    poolings have left one pixel, it leaves that pixel as it is.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for stage in _STAGES:
            for c_out in stage:
                layers += [nn.Conv2d(c_in, c_out, 3, 1, 1), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
                c_in = c_out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1], nn.AdaptiveMaxPool2d(1))
        self.classifier = nn.Linear(c_in, classes)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, 0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` with H and W of at least 16 to logits ``(N, classes)``."""
        return self.classifier(self.features(x).flatten(1))
