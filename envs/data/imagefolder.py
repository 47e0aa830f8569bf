"""Images of one's own: a folder of classes per split."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.data import decoding, imagefiles
from prunebench.envs.data.imagedata import DataSettings, ImageData, Images
from prunebench.envs.data.imagefiles import class_folders, list_files, split_folders
from prunebench.envs.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from prunebench.envs.errors import TaskError

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_REWARD_IMAGES = 5000  # where the reward split is taken from train/: AMC's number for CIFAR-10, or a tenth


class UserData(ImageData):
    """Images of a user's own: splits ``train``, ``test`` and ``reward``; the last is cut from train if there is none.

    A subclass sets :attr:`reward_from_training` and ``classes`` and ``image_size``.

    Args:
        settings: where there is None, images are normalised as ImageNet and mirrored in training, and the reward split
            is all that there is of it, or a tenth of the training images up to 5,000.
    """

    epochs = 30
    flips = True
    _train_name = "train/"

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        self.mean, self.std = settings.mean or IMAGENET_MEAN, settings.std or IMAGENET_STD
        if settings.flips is not None:
            self.flips = settings.flips

    @abstractmethod
    def _labels(self, split: str) -> NDArray[np.int64]:
        """Labels of all images of a split."""

    @abstractmethod
    def _read(self, split: str, rows: NDArray[np.int64]) -> Images:
        """Some images of a split."""

    @cached_property
    def _split_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ``train`` for training, and rows of ``reward`` (or of ``train`` without it) for the reward split."""
        if self.reward_from_training:
            return self._set_aside(self._labels("train"), _MOST_REWARD_IMAGES, self._train_name)
        reward = self._choose(self._labels("reward"), self._reward_images, "reward images")
        return np.arange(len(self._labels("train"))), reward

    @cached_property
    def _confirm_rows(self) -> NDArray[np.int64]:
        """Rows of ``train`` for the confirm split."""
        rows, reward = self._split_rows
        return rows[self._confirmed(self._labels("train")[rows], len(reward), self._train_name)]

    def train(self) -> Images:
        """All training images that are not in the reward split or the confirm split."""
        return self._read("train", np.setdiff1d(self._split_rows[0], self._confirm_rows))

    def calibration(self, count: int) -> Images:
        """A stratified choice of training images."""
        rows, reward = self._split_rows
        return self._read("train", rows[self._calibrated(self._labels("train")[rows], count, len(reward))])

    def reward(self) -> Images:
        """The user's, or the part taken from the training images."""
        return self._read("train" if self.reward_from_training else "reward", self._split_rows[1])

    def confirm(self) -> Images:
        """A part of the training images."""
        return self._read("train", self._confirm_rows)

    def test(self) -> Images:
        """All test images."""
        return self._read("test", np.arange(len(self._labels("test"))))

    def sizes(self) -> dict[str, int]:
        """How many labels there are."""
        (train, reward), confirm = self._split_rows, len(self._confirm_rows)
        sizes = {"train": len(train) - confirm, "reward": len(reward), "test": len(self._labels("test"))}
        return sizes | ({"confirm": confirm} if self.confirms else {})

    def training_split(self) -> dict[str, int | None]:
        """What takes reward and confirm split from the training images, if anything; and that none is mirrored."""
        upright: dict[str, int | None] = {} if self.flips else {"flips": False}
        if not self.reward_from_training and not self.confirms:
            return upright
        split = {"split_seed": self.split_seed, "reward_images": self._reward_images}
        return split | self._confirm_split() | upright


class ImageFolderData(UserData):
    """A folder with ``train/<class>/*``, ``test/<class>/*`` and, where present, ``val/<class>/*`` as the reward split.

    ``valid/``, ``validation/`` and ``dev/`` are other names of ``val/``, in any letter case.

    Args:
        settings: with the folder. Images are scaled (shorter side) and cropped (centre) to the image size. Where there
            is None, they are taken as they are, and the classes are in alphabetical order.

    Raises:
        TaskError: folders, classes or images are not as expected.
    """

    reading = 5e-3  # to decode a file

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        assert settings.folder is not None
        self._listed: dict[str, list[tuple[str, int]]] = {}
        self._folders = split_folders(settings.folder)
        self.reward_from_training = "reward" not in self._folders
        found, classes = class_folders(self._folders["train"]), settings.classes
        if classes is not None and sorted(classes) != sorted(found):
            raise TaskError(
                f"classes {','.join(classes)}: expected the folders of train/ in some order: {','.join(found)}"
            )
        self.classes = classes or found
        self._resize = settings.image_size is not None
        self.preparation = "fit" if self._resize else "as they are"
        self.image_size = settings.image_size or self._native_size()

    def _files(self, split: str) -> list[tuple[str, int]]:
        """Paths below a split's folder and labels, in order of the paths; listed when they are first asked for."""
        if split not in self._listed:
            self._listed[split] = list_files(self._folders[split], self.classes)
        return self._listed[split]

    def _labels(self, split: str) -> NDArray[np.int64]:
        return np.array([label for _, label in self._files(split)], dtype=np.int64)

    def _native_size(self) -> int:
        from PIL.Image import open as open_image

        file = self._folders["train"] / self._files("train")[0][0]
        try:
            with open_image(file) as image:
                width, height = image.size
        except OSError as error:
            raise TaskError(f"image {str(file)!r} cannot be read: {error}") from error
        if width != height:
            raise TaskError(f"image {str(file)!r} is {width} x {height}: images that are not square need an image size")
        return width

    def fingerprint(self) -> str:
        """Hash of every file's label, relative path and contents."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for split, folder in self._folders.items():
            files = [file for file, _ in self._files(split)]
            digest.update(f"{split}:{imagefiles.digest(folder, files, self.progress)}\n".encode())
        return digest.hexdigest()

    def known(self) -> bool:
        """Whether the cache has what is in the files."""
        return all(
            imagefiles.known(folder, (file for file, _ in self._files(split)))
            for split, folder in self._folders.items()
        )

    def _read(self, split: str, rows: NDArray[np.int64]) -> Images:
        listed, folder = self._files(split), self._folders[split]
        files = [listed[row][0] for row in rows]
        transform = fit if self._resize else None
        pixels = decoding.decoded(folder, files, self.image_size, transform, self.progress)
        return Images(pixels, self._labels(split)[rows], rows)


def fit(picture: Image, size: int) -> Image:
    """A picture with its shorter side scaled to ``size`` and its centre cropped."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    return ImageOps.fit(picture, (size, size), Resampling.BILINEAR)
