"""A split of images as the evaluator runs it: kept as bytes, normalised on the device batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from prunebench.envs.data.imagedata import ImageData, Images

Batch = tuple[Tensor, Tensor]  # normalised (N, C, H, W) float32, and labels (N,)


class Batches:
    """Iterates over normalised batches on a device; may be iterated over any number of times.

    Args:
        pixels: ``(N, C, H, W)``; bytes, or whatever ``normalise`` takes. May lie elsewhere than on the device.
        labels: ``(N,)``.
        normalise: turns pixels into the network's input.
        size: images per batch; the last one may be smaller.
        device: the device that batches are put on.
        layout: the memory format of the batches.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        normalise: Callable[[Tensor], Tensor],
        size: int,
        device: torch.device,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self._pixels, self._labels = pixels, labels.to(device)
        self._normalise, self._device = normalise, device
        self.size, self._layout = size, layout

    @classmethod
    def of(
        cls,
        images: Images,
        data: ImageData,
        size: int,
        device: torch.device,
        layout: torch.memory_format = torch.channels_last,
        *,
        resident: bool = False,
    ) -> Batches:
        """Batches of a data set's images; ``resident`` puts all of them on the device at once."""
        pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
        return cls(pixels.to(device) if resident else pixels, labels, data.normalise, size, device, layout)

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self._labels)

    def resized(self, size: int) -> Batches:
        """The same images in batches of another size."""
        return Batches(self._pixels, self._labels, self._normalise, size, self._device, self._layout)

    def __len__(self) -> int:
        """The number of batches."""
        return -(-self.images // self.size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.images, self.size):
            rows = slice(start, start + self.size)
            pixels = self._normalise(self._pixels[rows].to(self._device))
            yield pixels.contiguous(memory_format=self._layout), self._labels[rows]
