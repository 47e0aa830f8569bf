"""The embedded data set: scikit-learn's handwritten digits, made harder by fixed, seeded distortions.

The 1,797 source images (8 x 8, grey; Alpaydin & Kaynak 1998, by way of scikit-learn) are split first; then every
source image is drawn in several *views*: turned, sheared, scaled and shifted on a coloured background, beside
a fragment of another digit of the same split, with noise. ``docs/digits.md`` has the measurements behind the numbers.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

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
_PAPER = 0.4  # brightest background, per colour
_PEN = 0.6  # darkest foreground, per colour
_NOISE = 0.02  # standard deviation of the pixel noise
_AT_ONCE = 1000  # views whose pictures are in memory

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


def split_sources(labels: Indices, split_seed: int, *, confirms: bool = False) -> dict[str, Indices]:
    """Source indices of ``train``, ``reward``, ``test`` and perhaps ``confirm``, stratified by class and disjoint."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    rest, test = train_test_split(everything, test_size=TEST_SOURCES, stratify=labels, random_state=split_seed)
    train, reward = train_test_split(rest, test_size=REWARD_SOURCES, stratify=labels[rest], random_state=split_seed)
    parts = {"train": train, "reward": reward, "test": test}
    if confirms:  # of the training sources alone: the other splits stay as they are without it
        left, confirm = train_test_split(
            train, test_size=REWARD_SOURCES, stratify=labels[train], random_state=split_seed
        )
        parts |= {"train": left, "confirm": confirm}
    return {split: np.sort(sources) for split, sources in parts.items()}


def draw_views(sources: Floats, views: int, rng: np.random.Generator) -> Pixels:
    """Draw every source image ``(N, 8, 8)`` in [0, 1] ``views`` times; returns ``(N * views, 3, SIZE, SIZE)`` uint8."""
    own = np.repeat(np.arange(len(sources)), views)
    parts = [_draw(sources, own[first : first + _AT_ONCE], rng) for first in range(0, len(own), _AT_ONCE)]
    return np.concatenate(parts)


def _draw(sources: Floats, own: Indices, rng: np.random.Generator) -> Pixels:
    """One view of each of the ``own`` rows of ``sources``."""
    others = np.empty(len(own), dtype=np.int64)
    uniform = np.empty((len(own), 15))
    noise = np.empty((len(own), 3, SIZE, SIZE))
    for row in range(len(own)):  # in the order in which the views' numbers come, whatever is drawn at once
        others[row] = rng.integers(len(sources))
        uniform[row] = rng.random(15)
        noise[row] = rng.normal(0, _NOISE, noise.shape[1:])
    shift, warp, rim, other_warp, paper, pen = np.split(uniform, [2, 5, 6, 9, 12], axis=1)
    ink = _warp(sources[own], -_SHIFT + 2 * _SHIFT * shift, warp)
    angle = 2 * np.pi * rim  # of a fragment of another digit: at the rim, where it disturbs without hiding the digit
    at_rim = (SIZE / 2 + 3.0) * np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    ink = np.maximum(ink, _warp(sources[others], at_rim, other_warp))
    paper, pen = _PAPER * paper, _PEN + (1 - _PEN) * pen
    image = paper[:, :, None, None] + (pen - paper)[:, :, None, None] * ink[:, None] + noise
    return np.clip(np.round(255 * image), 0, 255).astype(np.uint8)


def _warp(pictures: Floats, shift: Floats, uniform: Floats) -> Floats:
    """Random affine pictures of source images.

    The offset of every output pixel in the source is found, and its four neighbours there are interpolated; beyond the
    source's rim there is nothing. ``tests/envs/test_digits.py`` compares this with SciPy's ``affine_transform``.

    Args:
        pictures: source images ``(N, 8, 8)``.
        shift: how far their centres lie off the view's centre, in pixels ``(N, 2)``.
        uniform: numbers in [0, 1] ``(N, 3)`` that choose the angle, the shear and the scale.

    Returns:
        ``(N, SIZE, SIZE)``.
    """
    angle = np.deg2rad(-_ROTATION + 2 * _ROTATION * uniform[:, 0])
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    shear = np.tile(np.eye(2), (len(angle), 1, 1))
    shear[:, 0, 1] = -_SHEAR + 2 * _SHEAR * uniform[:, 1]
    scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * uniform[:, 2]
    back = turn @ shear / scale[:, None, None]  # output offset -> source offset
    centre = (SIZE - 1) / 2 + shift
    offset = (pictures.shape[1] - 1) / 2 - (back @ centre[:, :, None])[:, :, 0]
    pixel = np.arange(SIZE, dtype=np.float64)
    y, x = (
        offset[:, axis, None, None]
        + pixel[:, None] * back[:, axis, 0, None, None]
        + pixel * back[:, axis, 1, None, None]
        for axis in (0, 1)
    )
    last = pictures.shape[1] - 1
    inside = (y >= 0) & (y <= last) & (x >= 0) & (x <= last)
    top, left = (np.clip(np.floor(part), 0, last - 1).astype(np.int64) for part in (y, x))
    below, right = y - top, x - left
    image = np.arange(len(pictures))[:, None, None]
    ink = sum(
        pictures[image, top + down, left + side] * (below if down else 1 - below) * (right if side else 1 - right)
        for down in (0, 1)
        for side in (0, 1)
    )
    return np.where(inside, ink, 0.0)


@lru_cache(maxsize=1)  # 0.2 s
def _source() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16.0, bunch.target.astype(np.int64)


class Digits(ImageData):
    """The digits as a data set of three splits, or four."""

    mean = (0.35, 0.35, 0.35)
    std = (0.3, 0.3, 0.3)
    epochs = 2
    flips = False
    shifts = False
    reading = 5e-5  # to draw a view

    def __init__(self, settings: DataSettings) -> None:
        super().__init__(settings)
        self.classes = tuple("0123456789")
        self.image_size = SIZE

    def _views(self, split: str, views: int) -> Images:
        pictures, labels = _source()
        rows = split_sources(labels, self.split_seed, confirms=self.confirms)[split]
        stream = {"train": 0, "reward": 1, "test": 2, "confirm": 3}[split]
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

    def confirm(self) -> Images:
        """Views of sources that would be training sources."""
        images = self._views("confirm", REWARD_VIEWS)
        return images.take(self._choose(images.labels, self._reward_images, "confirm images"))

    def test(self) -> Images:
        """Views of the test sources."""
        return self._views("test", TEST_VIEWS)

    def sizes(self) -> dict[str, int]:
        """Views of the sources, whose number is read with them."""
        views = {"train": TRAIN_VIEWS, "reward": REWARD_VIEWS, "test": TEST_VIEWS, "confirm": REWARD_VIEWS}
        rows = split_sources(_source()[1], self.split_seed, confirms=self.confirms)
        found = {split: len(rows[split]) * count for split, count in views.items() if split in rows}
        chosen = {split: self._reward_images or found[split] for split in ("reward", "confirm") if split in rows}
        return found | chosen

    def training_split(self) -> dict[str, int | None]:
        """The split seed: the sources of a split are set aside whether all of them are used or not."""
        confirms: dict[str, int | None] = {"confirm_sources": REWARD_SOURCES} if self.confirms else {}
        return {"split_seed": self.split_seed, "views": TRAIN_VIEWS} | confirms

    def fingerprint(self) -> str:
        """Hash of the reward images, which change with the sources and with every distortion."""
        return hashlib.sha256(self._views("reward", REWARD_VIEWS).pixels.tobytes()).hexdigest()
