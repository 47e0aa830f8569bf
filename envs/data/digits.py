"""The embedded data set: scikit-learn's handwritten digits, made harder by fixed, seeded distortions.

The 1,797 source images (8 x 8, grey; Alpaydin & Kaynak 1998, by way of scikit-learn) are split first; then every
source image is drawn in several *views*: turned, sheared, scaled and shifted on a coloured background, among
fragments of other digits of the same split, with noise. ``docs/digits.md`` has the measurements behind the numbers.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prunebench.envs.data.imagedata import DataSettings, ImageData, Images

SIZE = 16  # pixels per side of a view
TEST_SOURCES = 450
REWARD_SOURCES = 250
TRAIN_VIEWS = 20
REWARD_VIEWS = 2
TEST_VIEWS = 4

_ROTATION = 8.0  # degrees, to either side
_SHEAR = 0.1
_SCALE = (1.6, 1.9)  # output pixels per source pixel
_SHIFT = 1.0  # pixels
_FRAGMENTS = 1  # pieces of other digits per view
_PAPER = 0.4  # brightest background, per colour
_PEN = 0.6  # darkest foreground, per colour
_NOISE = 0.02  # standard deviation of the pixel noise

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]


def split_sources(labels: Indices, split_seed: int) -> dict[str, Indices]:
    """Source indices of ``train``, ``reward`` and ``test``, stratified by class and disjoint."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    rest, test = train_test_split(everything, test_size=TEST_SOURCES, stratify=labels, random_state=split_seed)
    train, reward = train_test_split(rest, test_size=REWARD_SOURCES, stratify=labels[rest], random_state=split_seed)
    return {"train": np.sort(train), "reward": np.sort(reward), "test": np.sort(test)}


def draw_views(sources: NDArray[np.float64], views: int, rng: np.random.Generator) -> Pixels:
    """Draw every source image ``(N, 8, 8)`` in [0, 1] ``views`` times; returns ``(N * views, 3, SIZE, SIZE)`` uint8."""
    drawn = np.empty((len(sources) * views, 3, SIZE, SIZE), dtype=np.uint8)
    for row in range(len(drawn)):
        others = sources[rng.integers(len(sources), size=_FRAGMENTS)]
        drawn[row] = _view(sources[row // views], others, rng)
    return drawn


def _view(source: NDArray[np.float64], others: NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    ink = _warp(source, rng.uniform(-_SHIFT, _SHIFT, 2), rng)
    for other in others:  # at the rim, where they disturb without hiding the digit
        angle = rng.uniform(0, 2 * np.pi)
        rim = (SIZE / 2 + 3.0) * np.array([np.sin(angle), np.cos(angle)])
        ink = np.maximum(ink, _warp(other, rim, rng))
    paper, pen = _colours(rng)
    image = paper[:, None, None] + (pen - paper)[:, None, None] * ink
    image = image + rng.normal(0, _NOISE, image.shape)
    return np.clip(np.round(255 * image), 0, 255).astype(np.uint8)


def _warp(source: NDArray[np.float64], shift: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A random affine picture of a source image, its centre ``shift`` pixels off the view's centre."""
    angle = np.deg2rad(rng.uniform(-_ROTATION, _ROTATION))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, rng.uniform(-_SHEAR, _SHEAR)], [0.0, 1.0]])
    back = turn @ shear / rng.uniform(*_SCALE)  # output offset -> source offset
    centre = (SIZE - 1) / 2 + shift
    offset = (len(source) - 1) / 2 - back @ centre
    return ndimage.affine_transform(source, back, offset, (SIZE, SIZE), order=1)


def _colours(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return rng.uniform(0, _PAPER, 3), rng.uniform(_PEN, 1, 3)


@lru_cache(maxsize=1)  # 0.2 s
def _source() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16.0, bunch.target.astype(np.int64)


class Digits(ImageData):
    """The digits as a data set of three splits."""

    mean = (0.35, 0.35, 0.35)
    std = (0.3, 0.3, 0.3)
    epochs = 2
    flips = False
    shifts = False
    reading = 2e-4  # to draw a view

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        self.classes = tuple("0123456789")
        self.image_size = SIZE

    def _views(self, split: str, views: int) -> Images:
        pictures, labels = _source()
        rows = split_sources(labels, self.split_seed)[split]
        stream = {"train": 0, "reward": 1, "test": 2}[split]
        rng = np.random.default_rng([self.split_seed, stream])
        pixels = draw_views(pictures[rows], views, rng)
        return Images(pixels, np.repeat(labels[rows], views), np.repeat(rows, views))

    @cached_property
    def _train(self) -> Images:
        return self._views("train", TRAIN_VIEWS)

    def train(self) -> Images:
        """All views of the training sources."""
        return self._train

    def calibration(self, count: int) -> Images:
        """A stratified choice of training views."""
        images = self.train()
        return images.take(self._choose(images.labels, min(count, len(images.labels)), "calibration images"))

    def reward(self) -> Images:
        """Views of the reward sources."""
        images = self._views("reward", REWARD_VIEWS)
        return images.take(self._choose(images.labels, self._reward_images, "reward images"))

    def test(self) -> Images:
        """Views of the test sources."""
        return self._views("test", TEST_VIEWS)

    def sizes(self) -> dict[str, int]:
        """Views of the sources, whose number is read with them."""
        views = {"train": TRAIN_VIEWS, "reward": REWARD_VIEWS, "test": TEST_VIEWS}
        rows = split_sources(_source()[1], self.split_seed)
        found = {split: len(rows[split]) * count for split, count in views.items()}
        return found | {"reward": self._reward_images or found["reward"]}

    def training_split(self) -> dict[str, int | None]:
        """The split seed: the reward sources are set aside whether all of them are used or not."""
        return {"split_seed": self.split_seed, "views": TRAIN_VIEWS}

    def fingerprint(self) -> str:
        """Hash of the reward images, which change with the sources and with every distortion."""
        return hashlib.sha256(self._views("reward", REWARD_VIEWS).pixels.tobytes()).hexdigest()
