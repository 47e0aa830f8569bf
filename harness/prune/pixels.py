"""Images as users have them in Python, as bytes: arrays, tensors, and torch data sets, normalised or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.harness.errors import ConfigError

Colours = Sequence[float] | None
"""A number per colour, of pixels from 0 to 1."""
_FAR = 0.02  # from a whole number of 255: rounding in float32 leaves less, what was no byte more
_TWICE = 8  # images of a data set that are read twice


def split(name: str, given: Any, mean: Colours, std: Colours) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels and labels of a split: pixels as bytes where they are floating-point numbers made of bytes.

    Args:
        name: the split's, for errors.
        given: ``(pixels, labels)``, or something with a length whose items are ``(image, label)``.
        mean: of the colours, as the pixels may be normalised.
        std: of the colours, likewise.

    Raises:
        ConfigError: they are none.
    """
    if not isinstance(given, tuple | list) and hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        given = _read(name, given)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ConfigError(f"data: {name!r} is {type(given).__name__}, expected (pixels, labels), or a torch data set")
    pixels, labels = (_array(part) for part in given)
    if not len(pixels):
        raise ConfigError(f"data: {name!r} has no images")
    for what, numbers in (("mean", mean), ("std", std)):
        if numbers is not None and len(numbers) != 3:
            raise ConfigError(f"{what} {numbers}: expected a number for each of the three colours")
    return (_bytes(name, pixels, mean, std) if pixels.dtype.kind == "f" else pixels), labels


def _array(part: Any) -> NDArray[Any]:
    if hasattr(part, "detach"):  # a tensor, wherever it is
        part = part.detach().cpu()
    return np.asarray(part)


def _read(name: str, data: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The items of a data set, which must be the same whenever they are read."""
    if not len(data):
        raise ConfigError(f"data: {name!r} has no images")
    try:
        items = [(_array(image), int(label)) for image, label in (data[row] for row in range(len(data)))]
        again = [_array(data[row][0]) for row in range(min(_TWICE, len(data)))]
        pixels = np.stack([image for image, _ in items])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"data: {name!r} is a data set whose items are no (image, label) of one size: {error}"
        ) from error
    if not all(np.array_equal(one, other) for one, other in zip(pixels, again, strict=False)):
        raise ConfigError(f"data: {name!r} has other pixels whenever it is read: expected no random augmentation")
    return pixels, np.asarray([label for _, label in items], dtype=np.int64)


def _bytes(name: str, pixels: NDArray[Any], mean: Colours, std: Colours) -> NDArray[np.uint8]:
    """Bytes from floating-point numbers: of pixels from 0 to 1, or of what ``mean`` and ``std`` made of them."""
    for values in _readings(pixels, mean, std):
        whole = np.rint(values)
        inside = np.isfinite(values).all() and values.min() > -0.5 and values.max() < 255.5
        if inside and float(np.abs(values - whole).max()) <= _FAR:
            return whole.astype(np.uint8)
    said = "" if mean or std else "; where they are normalised, say how with mean= and std="
    raise ConfigError(
        f"data: pixels of {name!r} are {pixels.dtype} from {pixels.min():.3g} to {pixels.max():.3g}: expected bytes "
        f"(uint8), or bytes over 255 as ToTensor makes them{said}"
    )


def _readings(pixels: NDArray[Any], mean: Colours, std: Colours) -> list[NDArray[np.float64]]:
    exact = pixels.astype(np.float64)
    axis = 1 if pixels.ndim == 4 and pixels.shape[1] == 3 else -1
    if not mean or not std or pixels.ndim != 4 or pixels.shape[axis] != 3:
        return [exact * 255]
    shape = (1, 3, 1, 1) if axis == 1 else (1, 1, 1, 3)
    return [exact * 255, (exact * np.reshape(std, shape) + np.reshape(mean, shape)) * 255]
