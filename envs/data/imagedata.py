"""The class of all data sets: images of the train, calibration, reward and test splits.

``train`` trains the dense network; ``calibration`` is drawn from it. ``reward`` scores policies during a search and is
never trained on here (weights from elsewhere may have seen it); ``test`` is used for final answers only. Where the best
policies of a search are confirmed, ``confirm`` is taken from ``train`` too, and no training or calibration sees it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.data.preprocessing import Preprocessing
from prunebench.envs.errors import TaskError
from prunebench.envs.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

_HASHED_AT_ONCE = 256  # images


@dataclass(frozen=True)
class Images:
    """Images of one split.

    Attributes:
        pixels: ``(N, 3, S, S)`` uint8; may be mapped from a file, so slice or index it.
        labels: ``(N,)``.
        sources: ``(N,)``, which source image each comes from (several views may share one).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sources: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Images:
        """Some of the images."""
        return Images(self.pixels[rows], self.labels[rows], self.sources[rows])


@dataclass(frozen=True)
class DataSettings:
    """What a task says of its data set; which of it a data set leaves open stands in the table of data sets.

    Attributes:
        folder: the folder of the images.
        image_size: pixels per side.
        mean: means of the colours that normalise images.
        std: standard deviations of the colours that normalise images.
        classes: class folders in the network's output order.
        flips: whether training may mirror images.
        split_seed: fixes the splits.
        reward_images: size of the reward split.
        calibration_images: how many are calibrated on, at most.
        confirm: whether there is to be a confirm split: where it is not 0.
        preprocessing: the one that the network's published weights were made for.
    """

    folder: Path | None = None
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    flips: bool | None = None
    split_seed: int = 0
    reward_images: int | None = None
    calibration_images: int = 3000
    confirm: int = 0
    preprocessing: Preprocessing | None = None


class ImageData(ABC):
    """A data set with its splits fixed by ``split_seed``.

    Args:
        settings: what the task says of it; None is the data set's own everywhere.

    Attributes:
        classes: class names in label order.
        image_size: pixels per side.
        mean: means of the colours, of pixels in [0, 1], that normalise images.
        std: standard deviations of the colours, of pixels in [0, 1], that normalise images.
        options: options of a task that it leaves to the user, where it comes with another package.
        epochs: how long the dense network is trained; 0 where the data set is not trained on.
        flips: whether mirrored images keep their class.
        shifts: whether images that are shifted by a few pixels keep their class.
        reward_from_training: whether the reward split is cut from images that others train on.
        reading: seconds until the pixels of an image are there for the first time, about.
        preparation: how pictures become pixels, where there are several ways.
        confirms: whether there is a confirm split.
        progress: told where reading images takes long; see :mod:`prunebench.envs.progress`.
    """

    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    options: ClassVar[tuple[str, ...]] = ()
    epochs: ClassVar[int]
    flips: bool
    shifts: bool = True
    reward_from_training: bool = True
    reading: ClassVar[float] = 0.0

    def __init__(self, settings: DataSettings) -> None:
        self.progress: Progress = silent
        self.preparation = ""
        self.split_seed = settings.split_seed
        self._reward_images = settings.reward_images
        self._calibration_images = settings.calibration_images
        self.confirms = settings.confirm > 0

    @abstractmethod
    def train(self) -> Images:
        """Images the dense network is trained on."""

    @abstractmethod
    def calibration(self, count: int) -> Images:
        """At most ``count`` training images, for reconstruction."""

    @abstractmethod
    def reward(self) -> Images:
        """Images that score policies during a search."""

    @abstractmethod
    def test(self) -> Images:
        """Images for final answers."""

    def confirm(self) -> Images:
        """As many images as ``reward`` has, which score the best policies of a search again.

        Raises:
            TaskError: the data set has none, or too few.
        """
        raise TaskError("confirm: this data set has no confirm split: leave the option out")

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Images of ``train``, ``reward``, ``test``, and ``confirm`` where there is one.

        No image is read, and nothing is downloaded or written.
        """

    @abstractmethod
    def training_split(self) -> dict[str, int | None]:
        """The settings that decide which images are trained on, and how they are varied."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash that changes with the contents of the data; cheap enough for every process."""

    def known(self) -> bool:
        """Whether :meth:`fingerprint` need not write into the cache."""
        return True

    def chance(self) -> float:
        """The accuracy on the reward split of a network that always says its most frequent class."""
        labels = self.reward().labels
        return float(np.bincount(labels).max() / len(labels))

    def sha256(self) -> str:
        """Hash of the images that score policies, for the manifest."""
        digest = hashlib.sha256()
        for images in (self.reward(), self.test(), *([self.confirm()] if self.confirms else [])):
            for first in range(0, len(images.pixels), _HASHED_AT_ONCE):
                digest.update(images.pixels[first : first + _HASHED_AT_ONCE].tobytes())
            digest.update(images.labels.tobytes())
        return digest.hexdigest()

    def tensors(self, images: Images) -> tuple[Tensor, Tensor]:
        """Normalised pixels ``(N, 3, S, S)`` float32 and labels ``(N,)``, of images that fit in memory."""
        import torch

        return self.normalise(torch.from_numpy(images.pixels)), torch.from_numpy(images.labels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """From uint8 pixels ``(N, 3, S, S)`` to normalised float32, on the same device."""
        import torch

        # By a tensor: CUDA would multiply by the reciprocal of a plain 255, which differs in the last bit.
        scale = torch.tensor(255.0, device=pixels.device)
        mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (self.mean, self.std))
        return pixels.float().div_(scale).sub_(mean).div_(std)

    def _set_aside(
        self, labels: Sequence[int] | NDArray[np.int64], most: int, source: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that are left for training, and rows of a reward split taken from among them.

        Args:
            labels: ``(N,)``, of the images of ``source``.
            most: size of the reward split where the user named none: this, or a tenth of the images if that is fewer.
            source: what the images are called in an error.
        """
        count = self._reward_images or min(most, len(labels) // 10)
        if count > len(labels) - len(self.classes):
            raise TaskError(
                f"reward images {count}: expected fewer, {source} has {len(labels)} and must not be used up"
            )
        reward = self._choose(labels, count, "reward images")
        return np.setdiff1d(np.arange(len(labels)), reward), reward

    def _confirm_split(self) -> dict[str, int | None]:
        """What takes the confirm split from the training images, for :meth:`training_split`; empty without one."""
        return {"confirm_beside": self._calibration_images} if self.confirms else {}

    def _calibrated(self, labels: Sequence[int] | NDArray[np.int64], count: int, reward: int) -> NDArray[np.int64]:
        """Rows of at most ``count`` training images, stratified; of them some are left for the confirm split.

        Args:
            labels: ``(N,)``, of the images that are not in the reward split.
            count: the same as for :meth:`_confirmed` where there is a confirm split.
            reward: size of the reward split.
        """
        most = len(labels) - (reward if self.confirms else 0)
        return self._choose(labels, min(count, most), "calibration images")

    def _confirmed(self, labels: Sequence[int] | NDArray[np.int64], reward: int, source: str) -> NDArray[np.int64]:
        """Rows of the confirm split among training images: as many as the reward split has, none calibrated on.

        Calibration comes first: where images suffice for both, it has the same ones as without a confirm split.

        Args:
            labels: ``(N,)``, of the images of ``source`` that are not in the reward split.
            reward: size of the reward split.
            source: what the images are called in an error.
        """
        if not self.confirms:
            return np.empty(0, dtype=np.int64)
        if reward > len(labels) - len(self.classes):
            raise TaskError(
                f"confirm: {source} has {len(labels)} images besides the reward split; expected more than the "
                f"{reward} of the reward split, or fewer reward images"
            )
        calibrated = self._calibrated(labels, self._calibration_images, reward)
        rest = np.setdiff1d(np.arange(len(labels)), calibrated)
        return rest[self._choose(np.asarray(labels)[rest], reward, "confirm images")]

    def _choose(self, labels: Sequence[int] | NDArray[np.int64], count: int | None, what: str) -> NDArray[np.int64]:
        """``count`` rows stratified by class (all where None), drawn by the split seed, ascending."""
        from sklearn.model_selection import train_test_split

        rows = np.arange(len(labels))
        if count is None or count == len(rows):
            return rows
        if count > len(rows) or count < len(self.classes):
            raise TaskError(f"{what} {count}: expected {len(self.classes)} (one per class) to {len(rows)}")
        if len(rows) - count < len(self.classes):  # too few left over to stratify
            return np.sort(np.random.default_rng(self.split_seed).permutation(rows)[:count])
        try:
            chosen, _ = train_test_split(rows, train_size=count, stratify=labels, random_state=self.split_seed)
        except ValueError as error:
            raise TaskError(f"{what} {count}: cannot be chosen class by class: {error}") from error
        return np.sort(chosen)
