"""Arrays of a user's own: a function without arguments that returns pixels and labels of every split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunebench.envs import importing
from prunebench.envs.data.imagedata import DataSettings, Images
from prunebench.envs.data.imagefolder import UserData
from prunebench.envs.errors import TaskError, did_you_mean

_SPLITS = ("train", "reward", "test")
_HASHED_AT_ONCE = 256  # images


class _Split(NamedTuple):
    """A split as the user gave it, and its rows class by class, which is the order of a folder of classes."""

    pixels: NDArray[np.uint8]  # (N, 3, S, S)
    labels: NDArray[np.int64]  # (N,)
    rows: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> Images:
        """Images at some places in the order of classes."""
        rows = self.rows[places]
        return Images(np.ascontiguousarray(self.pixels[rows]), self.labels[rows], places)


class ArrayData(UserData):
    """What a user's function returns: a mapping of ``train``, ``test`` and perhaps ``reward`` to (pixels, labels).

    Pixels are uint8, ``(N, S, S, 3)`` or ``(N, 3, S, S)``; labels are whole numbers from 0, ``(N,)``. ``classes`` may
    hold names of the classes; without it they are numbers. A search has the same numbers as on the same images in files
    of a folder of classes, in the order of the rows.

    Args:
        name: the data set's, for errors.
        function: the user's; called once.
        settings: mean, standard deviation and mirroring, and what decides the splits.

    Raises:
        TaskError: the function fails, or returns anything else; one line says what.
    """

    _train_name = "train"

    def __init__(self, name: str, function: Callable[[], Any], settings: DataSettings) -> None:
        super().__init__(settings)
        try:
            found = _called(function)
            self._splits = {split: _split(split, found[split]) for split in _SPLITS if split in found}
            self.classes = _classes(found.get("classes"), self._splits)
            self.image_size = _size(self._splits)
            _refuse_equal(self._splits)
        except _WrongError as error:
            raise TaskError(f"dataset {name!r}: {error}") from error.__cause__
        self.reward_from_training = "reward" not in self._splits

    def _labels(self, split: str) -> NDArray[np.int64]:
        return self._splits[split].labels[self._splits[split].rows]

    def _read(self, split: str, rows: NDArray[np.int64]) -> Images:
        return self._splits[split].take(rows)

    @cached_property
    def _hash(self) -> str:
        digest = hashlib.sha256(repr(self.classes).encode())
        for name, split in self._splits.items():
            digest.update(f"{name}:{split.pixels.shape}\n".encode())
            digest.update(split.labels[split.rows].tobytes())
            for first in range(0, len(split.rows), _HASHED_AT_ONCE):
                digest.update(split.pixels[split.rows[first : first + _HASHED_AT_ONCE]].tobytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Hash of all pixels, labels and names of classes."""
        return self._hash


class _WrongError(Exception):
    """What is wrong with a user's arrays, without the name of the data set."""


def _called(function: Callable[[], Any]) -> Mapping[str, Any]:
    try:
        found = function()
    except (Exception, SystemExit) as error:
        raise _WrongError(f"calling it without arguments fails: {importing.reason(error)}") from error
    if not isinstance(found, Mapping):
        raise _WrongError(f"it returns {type(found).__name__}, expected a mapping of {', '.join(_SPLITS)}")
    for key in found:
        if key not in (*_SPLITS, "classes"):
            hint = did_you_mean(str(key), _SPLITS)
            raise _WrongError(f"it returns {key!r}, expected train, test and, if any, reward and classes{hint}")
    for split in ("train", "test"):
        if split not in found:
            raise _WrongError(f"it returns no {split!r}")
    return found


def _split(name: str, given: Any) -> _Split:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise _WrongError(f"{name!r} is {type(given).__name__}, expected (pixels, labels)")
    try:
        pixels, labels = (np.asarray(part) for part in given)
    except Exception as error:  # whatever an array of another library raises
        raise _WrongError(f"{name!r} cannot be turned into arrays: {importing.reason(error)}") from error
    pixels = _channels_first(name, pixels)
    if labels.shape != (len(pixels),):
        raise _WrongError(f"labels of {name!r} have shape {labels.shape}, expected ({len(pixels)},), one per image")
    if labels.dtype.kind not in "iu":
        raise _WrongError(f"labels of {name!r} are {labels.dtype}, expected whole numbers")
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise _WrongError(f"labels of {name!r} have {labels.min()}, expected numbers from 0")
    return _Split(pixels, labels, np.argsort(labels, kind="stable"))


def _channels_first(name: str, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8:
        raise _WrongError(f"pixels of {name!r} are {pixels.dtype}, expected uint8")
    last, first = (pixels.ndim == 4 and pixels.shape[axis] == 3 for axis in (3, 1))
    height, width = pixels.shape[2 if first else 1 :][:2] if first or last else (0, 1)
    if height != width or not width or (first and last):  # of 3 pixels a side, nothing tells channels from pixels
        raise _WrongError(f"pixels of {name!r} have shape {pixels.shape}, expected (N, S, S, 3) or (N, 3, S, S)")
    if not len(pixels):
        raise _WrongError(f"{name!r} has no images")
    return pixels if first else pixels.transpose(0, 3, 1, 2)


def _classes(names: Any, splits: Mapping[str, _Split]) -> tuple[str, ...]:
    count = int(splits["train"].labels.max()) + 1
    if names is not None:
        if isinstance(names, str) or not hasattr(names, "__len__"):
            raise _WrongError(f"'classes' is {type(names).__name__}, expected names")
        names = [str(name) for name in names]
        if len(set(names)) != len(names):
            raise _WrongError("'classes' has a name twice")
        count = len(names)
    for split, (_, labels, _) in splits.items():
        if labels.max() >= count:
            raise _WrongError(f"labels of {split!r} have {labels.max()}, expected numbers from 0 to {count - 1}")
    if absent := set(range(count)) - set(splits["train"].labels.tolist()):
        raise _WrongError(f"'train' has no image of class {min(absent)}; classes are numbered from 0")
    return tuple(names or map(str, range(count)))


def _size(splits: Mapping[str, _Split]) -> int:
    train = splits["train"].pixels.shape[-1]
    for name, split in splits.items():
        if split.pixels.shape[-1] != train:
            raise _WrongError(
                f"images of {name!r} have {split.pixels.shape[-1]} pixels a side, those of 'train' {train}"
            )
    return train


def _refuse_equal(splits: Mapping[str, _Split]) -> None:
    for one, other in combinations(splits, 2):
        if np.array_equal(splits[one].pixels, splits[other].pixels):
            raise _WrongError(f"{one!r} and {other!r} are the same images")
