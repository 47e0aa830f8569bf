"""Which images of a split a network was right on, as text: eight images to a byte, and the bytes in base64."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray


def packed(hits: ArrayLike) -> str:
    """The text of ``(N,)`` truth values, one per image in the order of the split; N is not in it."""
    return base64.b64encode(np.packbits(np.asarray(hits, dtype=bool)).tobytes()).decode()


def unpacked(text: str, images: int) -> NDArray[np.bool_]:
    """``(images,)``: what was packed.

    Raises:
        ValueError: the text does not hold one truth value for each of so many images.
    """
    try:
        content = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except binascii.Error as error:
        raise ValueError(f"no base64: {error}") from error
    bits = np.unpackbits(content).astype(bool)
    if len(content) != -(-images // 8) or bits[images:].any():
        raise ValueError(f"{len(bits)} bits: expected those of {images} images, filled up with zeros to whole bytes")
    return bits[:images]
