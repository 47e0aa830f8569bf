"""Turns pictures into a network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Scale the shorter side, crop the centre, normalise: the evaluation of ImageNet networks.

    Attributes:
        resize: pixels of the shorter side.
        crop: pixels per side of the crop from the centre, the network's input.
        mean: means of the colours, of pixels in [0, 1], that normalise images.
        std: standard deviations of the colours, of pixels in [0, 1], that normalise images.
        interpolation: ``bilinear`` or ``bicubic``, with antialiasing.
        squash: whether both sides are scaled to :attr:`resize`, whatever the picture's shape.
    """

    resize: int
    crop: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False

    @classmethod
    def usual(cls, size: int) -> Preprocessing:
        """ImageNet's usual one for images of a size: the shorter side is scaled to 256/224 of it."""
        return cls(round(size * 256 / 224), size)

    def __call__(self, picture: Image, size: int) -> Image:
        """The scaled and cropped picture, ``size`` (always :attr:`crop`) pixels per side."""
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.functional import center_crop, resize

        scaled = resize(picture, [self.resize] * (1 + self.squash), InterpolationMode(self.interpolation))
        return center_crop(scaled, [size, size])
