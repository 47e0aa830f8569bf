"""ImageNet (Russakovsky et al., 2015), or any part of it, in folders of classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.data import decoding, imagefiles
from prunebench.envs.data.imagedata import DataSettings, ImageData, Images
from prunebench.envs.data.imagefiles import check_classes, class_folders, is_clutter, is_image
from prunebench.envs.data.preprocessing import Preprocessing
from prunebench.envs.errors import TaskError

_SIZE = 224  # pixels per side, where neither the user nor the network's published weights say otherwise
_REWARD_IMAGES = 3000  # of train/, as in AMC; a tenth of it where that is fewer

Listing = NDArray[Any]
"""``(N,)`` of fields ``file`` (path below the split's folder, bytes) and ``label``, in order of the paths."""


class ImageNetData(ImageData):
    """A folder with ``train/<class>/*`` and ``val/<class>/*``; the classes are those of ``train/``, alphabetically.

    The test split is all of ``val/``. Reward split, confirm split and calibration are taken from ``train/``. No more of
    it is ever read: networks for this data set come with their weights.

    Args:
        settings: with the folder. Without an image size pictures are prepared as for the network's published weights,
            or in ImageNet's usual way for 224 pixels; with one, in the usual way for it. The reward split has 3,000
            images where there is None, or a tenth of ``train/`` if that is fewer.

    Raises:
        TaskError: folders, classes or images are not as expected.
    """

    epochs = 0
    flips = True
    reading = 5e-3  # to decode a file

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        assert settings.folder is not None
        self._root = settings.folder
        self.classes = class_folders(self._root / "train")
        published = settings.preprocessing if settings.image_size is None else None
        chosen = self._preprocessing = published or Preprocessing.usual(settings.image_size or _SIZE)
        self.preparation = repr(chosen)
        self.image_size, self.mean, self.std = chosen.crop, chosen.mean, chosen.std

    @cached_property
    def _train(self) -> Listing:
        return listing(self._root / "train", self.classes)

    @cached_property
    def _val(self) -> Listing:
        return listing(self._root / "val", self.classes)

    @cached_property
    def _split_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._set_aside(self._train["label"], _REWARD_IMAGES, "train/")

    def _calibration_rows(self, count: int) -> NDArray[np.int64]:
        rows, reward = self._split_rows
        return rows[self._calibrated(self._train["label"][rows], count, len(reward))]

    @cached_property
    def _confirm_rows(self) -> NDArray[np.int64]:
        rows, reward = self._split_rows
        return rows[self._confirmed(self._train["label"][rows], len(reward), "train/")]

    def train(self) -> Images:
        """Nothing.

        Raises:
            TaskError: always.
        """
        raise TaskError(
            "no network is trained on 'imagenet': expected --weights, or a model that has its own (torchvision:<name>)"
        )

    def calibration(self, count: int) -> Images:
        """A stratified choice of the images of ``train/`` that are not in the reward split."""
        return self._read("train", self._train, self._calibration_rows(count))

    def reward(self) -> Images:
        """The part taken from ``train/``."""
        return self._read("train", self._train, self._split_rows[1])

    def confirm(self) -> Images:
        """Another part taken from ``train/``."""
        return self._read("train", self._train, self._confirm_rows)

    def test(self) -> Images:
        """All of ``val/``."""
        return self._read("val", self._val, np.arange(len(self._val)))

    def sizes(self) -> dict[str, int]:
        """Files, counted anew: their listing would be kept in the cache."""
        folders = [self._root / split for split in ("train", "val")]
        train, test = (sum(1 for name in self.classes for _ in _images(folder, name)) for folder in folders)
        reward = self._reward_images or min(_REWARD_IMAGES, train // 10)
        confirm = reward if self.confirms else 0
        sizes = {"train": train - reward - confirm, "reward": reward, "test": test}
        return sizes | ({"confirm": confirm} if self.confirms else {})

    def training_split(self) -> dict[str, int | None]:
        """What takes reward and confirm split from ``train/``."""
        return {"split_seed": self.split_seed, "reward_images": self._reward_images} | self._confirm_split()

    def fingerprint(self) -> str:
        """Hash of names and contents of the files that are used: reward, calibration, confirm and test split."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for split, files in self._used():
            digest.update(imagefiles.digest(self._root / split, files, self.progress).encode())
        return digest.hexdigest()

    def known(self) -> bool:
        """Whether the cache has the listings of both splits, and what is in the files."""
        listed = all(
            decoding.kept_path("listing", _listing_key(self._root / split, self.classes)).exists()
            for split in ("train", "val")
        )
        return listed and all(imagefiles.known(self._root / split, files) for split, files in self._used())

    def _used(self) -> Iterator[tuple[str, list[str]]]:
        confirm = [self._confirm_rows] if self.confirms else []
        for rows in (self._split_rows[1], self._calibration_rows(self._calibration_images), *confirm):
            yield "train", _paths(self._train[rows])
        yield "val", _paths(self._val)

    def _read(self, split: str, listed: Listing, rows: NDArray[np.int64]) -> Images:
        chosen = listed[rows]
        transform = self._preprocessing
        pixels = decoding.decoded(self._root / split, _paths(chosen), self.image_size, transform, self.progress)
        return Images(pixels, np.ascontiguousarray(chosen["label"]), rows)


def listing(folder: Path, classes: tuple[str, ...]) -> Listing:
    """Every image of a split. Kept in the cache until a class folder is another one, or was changed.

    Raises:
        TaskError: the folders are not those of the classes, or one has no images.
    """
    key = _listing_key(folder, classes)
    return decoding.kept("listing", key, partial(_write_listing, folder, classes), folder=str(folder.resolve()))


def _listing_key(folder: Path, classes: tuple[str, ...]) -> dict[str, Any]:
    check_classes(folder, classes)
    statuses = {name: (folder / name).stat() for name in classes}
    times = [[name, status.st_mtime_ns, status.st_ctime_ns, status.st_ino] for name, status in statuses.items()]
    return {"folder": str(folder.resolve()), "times": times}


def _write_listing(folder: Path, classes: tuple[str, ...], out: Any) -> None:
    found = [(path, label) for label, name in enumerate(classes) for path in _images(folder, name)]
    longest = max(len(path) for path, _ in found)
    np.save(out, np.array(found, dtype=[("file", f"S{longest}"), ("label", np.int64)]))


def _images(folder: Path, name: str) -> Iterator[bytes]:
    """Paths of the images of one class, below ``folder``."""
    entries = sorted(os.scandir(folder / name), key=lambda entry: entry.name)
    nested = [entry.path for entry in entries if entry.is_dir() and not is_clutter(entry.name)]
    if nested:
        raise TaskError(f"data {nested[0]!r}: expected images, not a folder, in the folder of a class")
    images = [entry.name for entry in entries if not entry.is_dir() and is_image(entry.path)]
    if not images:
        raise TaskError(f"data {str(folder / name)!r}: expected images, there are none")
    for image in images:
        yield os.fsencode(os.path.join(name, image))


def _paths(listed: Listing) -> list[str]:
    return [os.fsdecode(path) for path in listed["file"]]
