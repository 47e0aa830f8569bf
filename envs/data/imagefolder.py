"""Images of one's own: a folder of classes per split."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.data import decoding
from prunebench.envs.data.imagedata import DataSettings, ImageData, Images
from prunebench.envs.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from prunebench.envs.errors import TaskError

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_REWARD_IMAGES = 5000  # where the reward split is taken from train/: AMC's number for CIFAR-10, or a tenth


class ImageFolderData(ImageData):
    """A folder with ``train/<class>/*``, ``test/<class>/*`` and, where present, ``val/<class>/*`` as the reward split.

    Args:
        settings: with the folder. Images are scaled (shorter side) and cropped (centre) to the image size. Where there
            is None, they are taken as they are, normalised as ImageNet, the classes are in alphabetical order, and the
            reward split is all of ``val/``, or a tenth of ``train/`` up to 5,000.

    Raises:
        TaskError: folders, classes or images are not as expected.
    """

    epochs = 30
    flips = True
    reading = 5e-3  # to decode a file

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        assert settings.folder is not None
        self._root = settings.folder
        self._listed: dict[str, list[tuple[str, int]]] = {}
        found, classes = class_folders(self._root / "train"), settings.classes
        if classes is not None and sorted(classes) != sorted(found):
            raise TaskError(
                f"classes {','.join(classes)}: expected the folders of train/ in some order: {','.join(found)}"
            )
        self.classes = classes or found
        self.mean, self.std = settings.mean or IMAGENET_MEAN, settings.std or IMAGENET_STD
        self._resize = settings.image_size is not None
        self.preparation = "fit" if self._resize else "as they are"
        self.image_size = settings.image_size or self._native_size()

    @cached_property
    def _splits(self) -> list[str]:
        return [split for split in ("train", "val", "test") if (self._root / split).is_dir()]

    def _files(self, split: str) -> list[tuple[str, int]]:
        """Paths below a split's folder and labels, in order of the paths; listed when they are first asked for."""
        if split not in self._listed:
            self._listed[split] = list_files(self._root / split, self.classes)
        return self._listed[split]

    def _labels(self, split: str) -> NDArray[np.int64]:
        return np.array([label for _, label in self._files(split)], dtype=np.int64)

    def _native_size(self) -> int:
        from PIL.Image import open as open_image

        file = self._root / "train" / self._files("train")[0][0]
        try:
            with open_image(file) as image:
                width, height = image.size
        except OSError as error:
            raise TaskError(f"image {str(file)!r} cannot be read: {error}") from error
        if width != height:
            raise TaskError(f"image {str(file)!r} is {width} x {height}: images that are not square need an image size")
        return width

    @cached_property
    def _split_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ``train/`` for training, and rows of ``val/`` (or of ``train/`` without it) for the reward split."""
        if "val" in self._splits:
            reward = self._choose(self._labels("val"), self._reward_images, "reward images")
            return np.arange(len(self._files("train"))), reward
        return self._set_aside(self._labels("train"), _MOST_REWARD_IMAGES, "train/")

    def train(self) -> Images:
        """All training images that are not in the reward split."""
        return self._read("train", self._split_rows[0])

    def calibration(self, count: int) -> Images:
        """A stratified choice of training images."""
        rows = self._split_rows[0]
        labels = self._labels("train")[rows]
        return self._read("train", rows[self._choose(labels, min(count, len(rows)), "calibration images")])

    def reward(self) -> Images:
        """``val/``, or the part taken from ``train/``."""
        return self._read("val" if "val" in self._splits else "train", self._split_rows[1])

    def test(self) -> Images:
        """All of ``test/``."""
        return self._read("test", np.arange(len(self._files("test"))))

    def sizes(self) -> dict[str, int]:
        """Files that are listed."""
        train, reward = self._split_rows
        return {"train": len(train), "reward": len(reward), "test": len(self._files("test"))}

    def training_split(self) -> dict[str, int | None]:
        """Nothing where ``val/`` is the reward split; else what takes that split from ``train/``."""
        return {} if "val" in self._splits else {"split_seed": self.split_seed, "reward_images": self._reward_images}

    def fingerprint(self) -> str:
        """Hash of every file's label, relative path, size and time of change (not of the contents)."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for split in self._splits:
            files = [file for file, _ in self._files(split)]
            digest.update(f"{split}:{decoding.state(self._root / split, files)}\n".encode())
        return digest.hexdigest()

    def _read(self, split: str, rows: NDArray[np.int64]) -> Images:
        listed = self._files(split)
        files = [listed[row][0] for row in rows]
        transform = fit if self._resize else None
        pixels = decoding.decoded(self._root / split, files, self.image_size, transform, self.progress)
        return Images(pixels, self._labels(split)[rows], rows)


def fit(picture: Image, size: int) -> Image:
    """A picture with its shorter side scaled to ``size`` and its centre cropped."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    return ImageOps.fit(picture, (size, size), Resampling.BILINEAR)


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a split, in alphabetical order.

    Raises:
        TaskError: there are none.
    """
    found = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()))
    if not found:
        raise TaskError(f"data {str(folder)!r}: expected a folder per class")
    return found


def refuse_strangers(folder: Path, classes: tuple[str, ...]) -> None:
    """Raise TaskError where a split has folders that are no class: their images would silently be left out."""
    strangers = set(class_folders(folder)) - set(classes)
    if strangers:
        raise TaskError(f"data {str(folder)!r}: no class of train/: {', '.join(sorted(strangers))}")


def list_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[str, int]]:
    """Images of a split: paths below its folder, and labels.

    Raises:
        TaskError: the folders are not those of the classes, or one has no images.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    refuse_strangers(folder, classes)
    try:
        listed = make_dataset(str(folder), {name: label for label, name in enumerate(classes)}, IMG_EXTENSIONS)
    except FileNotFoundError as error:
        raise TaskError(f"data {str(folder)!r}: {str(error).splitlines()[0]}") from error
    return [(file.removeprefix(os.path.join(folder, "")), label) for file, label in listed]
