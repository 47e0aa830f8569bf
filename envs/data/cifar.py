"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), fetched and checked by torchvision."""

from __future__ import annotations

import hashlib
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from prunebench.envs import cache
from prunebench.envs.data.imagedata import DataSettings, ImageData, Images
from prunebench.envs.errors import TaskError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

_TRAINING_IMAGES, _TEST_IMAGES = 50_000, 10_000
_REWARD_IMAGES = 5000  # of the training images, as in AMC


class Cifar10(ImageData):
    """50,000 training images, of which the reward split is taken, and 10,000 test images, 32 pixels a side.

    The folder holds ``cifar-10-batches-py``, or will: it is downloaded when images are first read.

    Args:
        settings: where there is None, the folder is one in the cache directory, mean and standard deviation are what
            most published checkpoints were trained with, and the reward split has 5,000 images.
    """

    epochs = 30
    flips = True
    image_size = 32
    classes: tuple[str, ...] = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    _kind: ClassVar[str] = "CIFAR10"
    _mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    _std: ClassVar[tuple[float, ...]] = (0.2023, 0.1994, 0.2010)

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        self._root = settings.folder or cache.directory() / "data"
        self.mean, self.std = settings.mean or self._mean, settings.std or self._std

    def train(self) -> Images:
        """All training images that are not in the reward split or the confirm split."""
        images = self._read(train=True)
        return images.take(np.setdiff1d(self._split_rows(images)[0], self._confirm_rows(images)))

    def calibration(self, count: int) -> Images:
        """A stratified choice of training images."""
        images = self._read(train=True)
        rows, reward = self._split_rows(images)
        return images.take(rows[self._calibrated(images.labels[rows], count, len(reward))])

    def reward(self) -> Images:
        """The part taken from the training images."""
        images = self._read(train=True)
        return images.take(self._split_rows(images)[1])

    def confirm(self) -> Images:
        """Another part taken from the training images."""
        images = self._read(train=True)
        return images.take(self._confirm_rows(images))

    def test(self) -> Images:
        """The test images."""
        return self._read(train=False)

    def sizes(self) -> dict[str, int]:
        """Published numbers, less the part that is taken from the training images."""
        reward = self._reward_images or _REWARD_IMAGES
        confirm = reward if self.confirms else 0
        sizes = {"train": _TRAINING_IMAGES - reward - confirm, "reward": reward, "test": _TEST_IMAGES}
        return sizes | ({"confirm": confirm} if self.confirms else {})

    def training_split(self) -> dict[str, int | None]:
        """What takes reward and confirm split from the training images."""
        return {"split_seed": self.split_seed, "reward_images": self._reward_images} | self._confirm_split()

    def fingerprint(self) -> str:
        """Hash of the checksums: files with others are refused."""
        published = self._published()
        return hashlib.sha256(repr([published.train_list, published.test_list]).encode()).hexdigest()

    def _published(self) -> type[CIFAR10]:
        from torchvision import datasets

        return getattr(datasets, self._kind)

    def _split_rows(self, images: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._set_aside(images.labels, _REWARD_IMAGES, self._kind)

    def _confirm_rows(self, images: Images) -> NDArray[np.int64]:
        rows, reward = self._split_rows(images)
        return rows[self._confirmed(images.labels[rows], len(reward), self._kind)]

    def _read(self, *, train: bool) -> Images:
        published = self._published()
        folder = self._root / published.base_folder
        if not folder.is_dir():
            _fetch(published, self._root)
        try:
            source = published(self._root, train=train)
        except (RuntimeError, OSError) as error:
            raise TaskError(
                f"data {str(folder)!r} is incomplete or damaged: delete this folder and it is downloaded again, "
                "or name the folder above another copy with --data"
            ) from error
        pixels = np.ascontiguousarray(source.data.transpose(0, 3, 1, 2))
        return Images(pixels, np.array(source.targets, dtype=np.int64), np.arange(len(pixels)))


class Cifar100(Cifar10):
    """As :class:`Cifar10`, with 100 classes; the folder is ``cifar-100-python``."""

    # fmt: off
    classes = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
        "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    )
    # fmt: on
    _kind = "CIFAR100"
    _mean = (0.5071, 0.4867, 0.4408)
    _std = (0.2675, 0.2565, 0.2761)


def _fetch(published: type[CIFAR10], root: Path) -> None:
    """Download the archive into ``root``, unless it is there, and unpack it: all of it or nothing."""
    from torchvision.datasets.utils import download_and_extract_archive

    if root.name == published.base_folder and root.is_dir():
        raise TaskError(f"data {str(root)!r}: expected the folder above it, {str(root.parent)!r}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".unpacking-", dir=root) as draft:
            download_and_extract_archive(published.url, root, draft, published.filename, published.tgz_md5)
            (Path(draft) / published.base_folder).replace(root / published.base_folder)
    except (OSError, RuntimeError, HTTPException) as error:
        raise TaskError(
            f"{published.__name__} cannot be downloaded ({' '.join(str(error).split())}): put {published.url} "
            f"into {str(root)!r}, or name a folder that holds {published.base_folder} with --data"
        ) from error
