"""Image files, decoded once: into one array of bytes in the user's cache that every process maps and so shares.

An array is kept per files (names and contents), size and transform: 150 kB per image of 224 pixels, 7.5 GB for 50,000
of them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from prunebench.envs import cache, cache_files
from prunebench.envs.data import imagefiles
from prunebench.envs.errors import TaskError
from prunebench.envs.files import DRAFT, put_in_place
from prunebench.envs.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

    Transform = Callable[[Image, int], Image]
    """From a picture of any size to one of the given pixels per side. Its name or repr is what the cache goes by."""

_AT_ONCE = 256  # decoded images that wait to be written
_READING = 2  # raised when the same file gives other pixels than before

_DEEP_FORMATS = ("PNG", "TIFF", "PPM", "JPEG2000")  # whose 16 bits of grey have a known range
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of a TIFF file, and a value


def decoded(
    folder: Path,
    files: Sequence[str],
    size: int,
    transform: Transform | None,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Pixels ``(N, 3, size, size)`` of image files, decoded where the cache does not have them.

    Args:
        folder: the folder of the files.
        files: paths below it.
        size: pixels per side.
        transform: makes pictures of that size; None expects them to have it.
        progress: see :mod:`prunebench.envs.progress`.

    Raises:
        TaskError: an image cannot be read or has another size, or the cache cannot be written.
    """
    import PIL

    key = {
        "reading": _READING,
        "files": imagefiles.digest(folder, files, progress),
        "size": size,
        "transform": str(getattr(transform, "__name__", repr(transform))),
        "pillow": PIL.__version__,
    }
    write = partial(_decode_all, [folder / file for file in files], size, transform, progress)
    return kept("pixels", key, write, folder=str(folder.resolve()), images=len(files), size=size)


def kept(kind: str, key: dict[str, Any], write: Callable[[BinaryIO], None], **about: Any) -> NDArray[Any]:
    """The array that ``key`` determines, mapped from the cache, where ``write`` puts it (``.npy`` format) if need be.

    What is done to the array stays in this process: its pages are shared for as long as they are only read. ``about``
    says what it is for, see :mod:`prunebench.envs.cache_files`.

    Raises:
        TaskError: the cache cannot be written, or its file is damaged.
    """
    target = kept_path(kind, key)
    if not cache_files.ready(target, about):
        while not cache_files.ready(target, about):
            _write(target, write)
        cache_files.make_room()
    try:
        return np.lib.format.open_memmap(target, mode="c")  # with "r" torch would warn of every array it is given
    except (OSError, ValueError) as error:
        raise TaskError(f"cached file {str(target)!r} is damaged: delete it ({type(error).__name__})") from error


def kept_path(kind: str, key: dict[str, Any]) -> Path:
    """Where :func:`kept` has an array, or would put it."""
    return cache.path(kind, key).with_suffix(".npy")


def _write(target: Path, write: Callable[[BinaryIO], None]) -> None:
    """All of a file or nothing. What a killed process left of its draft is written over by the next one."""
    draft = target.with_suffix(DRAFT)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # waits where another process is writing the same
            if os.fstat(file.fileno()).st_nlink == 0:
                return  # that process gave up and removed the draft: the caller tries again
            try:
                if not target.exists():
                    file.seek(0)
                    file.truncate()
                    write(file)
                    put_in_place(file, draft, target)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise TaskError(f"cache {str(target.parent)!r} cannot be written: {error.strerror or error}") from error


def _decode_all(
    files: Sequence[Path],
    size: int,
    transform: Transform | None,
    progress: Progress,
    out: BinaryIO,
) -> None:
    # Not written through a map: on a full disk that ends the process instead of raising an error.
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), 3, size, size)}
    np.lib.format.write_array_header_1_0(out, header)
    with ThreadPoolExecutor() as pool:  # Pillow lets other threads run while it decodes and resizes
        for first in range(0, len(files), _AT_ONCE):
            progress("decoding images", first, len(files))
            for pixels in pool.map(partial(_decode, size, transform), files[first : first + _AT_ONCE]):
                out.write(pixels.tobytes())
    progress("decoding images", len(files), len(files))


def _decode(size: int, transform: Transform | None, file: Path) -> NDArray[np.uint8]:
    picture = read(file)
    if transform is not None:
        picture = transform(picture, size)
    if picture.size != (size, size):
        raise TaskError(
            f"image {str(file)!r} is {picture.size[0]} x {picture.size[1]}, others {size} x {size}: "
            "images of several sizes need an image size"
        )
    return np.asarray(picture).transpose(2, 0, 1)


def read(file: Path) -> Image:
    """A picture as 8-bit RGB, as torchvision reads it, which networks are trained with; but 16 bits of grey are scaled.

    So pixels stay as they are stored: not turned as EXIF says, colours under transparency as they are; the first frame
    of an animation.

    Raises:
        TaskError: it cannot be read, or what its numbers or pages mean is not known.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            return _rgb(image)
    except Exception as error:  # decoders raise all kinds of errors where a file is broken
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TaskError(f"image {str(file)!r} cannot be read: {reason}") from error


def _rgb(image: Image) -> Image:
    from PIL.Image import fromarray

    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages > 1:
        raise ValueError(f"it has {pages} pages; expected one")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return fromarray(_grey(image)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours; at once, Pillow would warn of lost transparency
    return image.convert("RGB")


def _grey(image: Image) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits, scaled from their full range and rounded: 16 bits are divided by 257."""
    full = _full_range(image)
    values = np.asarray(image).astype(np.uint32)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
        values = full - values  # Pillow turns 8 bits, but not 16
    return ((values * 255 + full // 2) // full).astype(np.uint8)


def _full_range(image: Image) -> int:
    """The value that is white."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if not deep or image.format not in _DEEP_FORMATS:
        raise ValueError(f"nothing says what is white in mode {image.mode} ({image.format}); expected 8 or 16 bits")
    if image.format == "TIFF":  # 12 bits, too
        return int(2 ** image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0] - 1)  # type: ignore[attr-defined]
    return 2**16 - 1
