"""Images of one's own: a folder of classes per split."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.errors import TaskError
from envs.imagedata import ImageData, Images

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MOST_REWARD_IMAGES = 5000  # where the reward split is taken from train/: AMC's number for CIFAR-10, or a tenth


class ImageFolderData(ImageData):
    """A folder with ``train/<class>/*``, ``test/<class>/*`` and, where present, ``val/<class>/*`` as the reward split.

    Args:
        root: the folder.
        image_size: images are scaled (shorter side) and cropped (centre) to it; None takes them as they are.
        mean: normalisation; ImageNet's where None.
        std: likewise.
        classes: class names in the network's output order; alphabetical where None.
        split_seed: fixes the splits.
        reward_images: size of the reward split; all of ``val/`` where None, or a tenth of ``train/`` up to 5,000.

    Raises:
        TaskError: folders, classes or images are not as expected.
    """

    epochs = 30
    flips = True

    def __init__(
        self,
        root: Path,
        image_size: int | None,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        classes: tuple[str, ...] | None,
        split_seed: int,
        reward_images: int | None,
    ) -> None:
        super().__init__(split_seed, reward_images)
        self._root = root
        found = tuple(sorted(entry.name for entry in (root / "train").iterdir() if entry.is_dir()))
        if classes is not None and sorted(classes) != sorted(found):
            raise TaskError(
                f"classes {','.join(classes)}: expected the folders of train/ in some order: {','.join(found)}"
            )
        if not found:
            raise TaskError(f"data {str(root / 'train')!r}: expected a folder per class")
        self.classes = classes or found
        self.mean, self.std = mean or IMAGENET_MEAN, std or IMAGENET_STD
        self._resize = image_size is not None
        self.image_size = image_size or self._native_size()

    @cached_property
    def _files(self) -> dict[str, list[tuple[Path, int]]]:
        """Files and labels per split folder, in order of their names."""
        from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

        order = {name: label for label, name in enumerate(self.classes)}
        files = {}
        for split in ("train", "val", "test"):
            if (self._root / split).is_dir():
                strangers = {entry.name for entry in (self._root / split).iterdir() if entry.is_dir()} - set(order)
                if strangers:
                    raise TaskError(
                        f"data {str(self._root / split)!r}: no class of train/: {', '.join(sorted(strangers))}"
                    )
                try:
                    listed = make_dataset(str(self._root / split), order, IMG_EXTENSIONS)
                except FileNotFoundError as error:
                    raise TaskError(f"data {str(self._root / split)!r}: {str(error).splitlines()[0]}") from error
                files[split] = [(Path(file), label) for file, label in listed]
        return files

    def _native_size(self) -> int:
        from PIL import Image

        file, _ = self._files["train"][0]
        with Image.open(file) as image:
            width, height = image.size
        if width != height:
            raise TaskError(f"image {str(file)!r} is {width} x {height}: images that are not square need an image size")
        return width

    @cached_property
    def _split_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ``train/`` for training, and rows of ``val/`` (or of ``train/`` without it) for the reward split."""
        train = [label for _, label in self._files["train"]]
        if "val" in self._files:
            val = [label for _, label in self._files["val"]]
            return np.arange(len(train)), self._choose(val, self._reward_images, "reward images")
        count = self._reward_images or min(_MOST_REWARD_IMAGES, len(train) // 10)
        if count > len(train) - len(self.classes):
            raise TaskError(f"reward images {count}: expected fewer, train/ has {len(train)} and must not be used up")
        reward = self._choose(train, count, "reward images")
        return np.setdiff1d(np.arange(len(train)), reward), reward

    def train(self) -> Images:
        """All training images that are not in the reward split."""
        return self._read("train", self._split_rows[0])

    def calibration(self, count: int) -> Images:
        """A stratified choice of training images."""
        rows = self._split_rows[0]
        labels = [self._files["train"][row][1] for row in rows]
        return self._read("train", rows[self._choose(labels, min(count, len(rows)), "calibration images")])

    def reward(self) -> Images:
        """``val/``, or the part taken from ``train/``."""
        return self._read("val" if "val" in self._files else "train", self._split_rows[1])

    def test(self) -> Images:
        """All of ``test/``."""
        return self._read("test", np.arange(len(self._files["test"])))

    def training_split(self) -> dict[str, int | None]:
        """Nothing where ``val/`` is the reward split; else what takes that split from ``train/``."""
        return {} if "val" in self._files else {"split_seed": self.split_seed, "reward_images": self._reward_images}

    def fingerprint(self) -> str:
        """Hash of every file's relative path, size and time of change (not of the contents)."""
        digest = hashlib.sha256()
        for split, files in self._files.items():
            for file, label in files:
                status = file.stat()
                digest.update(f"{split}/{label}/{file.name}:{status.st_size}:{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _read(self, split: str, rows: NDArray[np.int64]) -> Images:
        files = [self._files[split][row] for row in rows]
        pixels = np.empty((len(files), 3, self.image_size, self.image_size), dtype=np.uint8)
        for place, (file, _) in enumerate(files):
            pixels[place] = self._decode(file)
        return Images(pixels, np.array([label for _, label in files], dtype=np.int64), rows)

    def _decode(self, file: Path) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        size = (self.image_size, self.image_size)
        try:
            with Image.open(file) as image:
                picture = image.convert("RGB")
        except OSError as error:
            raise TaskError(f"image {str(file)!r} cannot be read: {error}") from error
        if picture.size != size:
            if not self._resize:
                raise TaskError(
                    f"image {str(file)!r} is {picture.size[0]} x {picture.size[1]}, others {size[0]} x {size[1]}: "
                    "images of several sizes need an image size"
                )
            picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
        return np.asarray(picture).transpose(2, 0, 1)
