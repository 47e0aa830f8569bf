"""The views of the digits are what SciPy's affine transformations of them are, one view after the other."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prunebench.envs.data import digits

Array = NDArray[np.float64]


def warped(source: Array, shift: Array, rng: np.random.Generator) -> Array:
    angle = np.deg2rad(rng.uniform(-8, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = turn @ np.array([[1, rng.uniform(-0.1, 0.1)], [0, 1]]) / rng.uniform(1.6, 1.9)
    return ndimage.affine_transform(source, back, 3.5 - back @ (7.5 + shift), (16, 16), order=1)


def slow_view(source: Array, sources: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    other = sources[rng.integers(len(sources))]
    ink = warped(source, rng.uniform(-1, 1, 2), rng)
    angle = rng.uniform(0, 2 * np.pi)
    ink = np.maximum(ink, warped(other, 11 * np.array([np.sin(angle), np.cos(angle)]), rng))
    paper, pen = rng.uniform(0, 0.4, 3)[:, None, None], rng.uniform(0.6, 1, 3)[:, None, None]
    image = paper + (pen - paper) * ink + rng.normal(0, 0.02, (3, 16, 16))
    return np.clip(np.round(255 * image), 0, 255).astype(np.uint8)


def test_views_are_drawn_as_scipy_draws_them() -> None:
    sources = np.random.default_rng(0).random((digits._AT_ONCE // 2 + 50, 8, 8))  # more than are drawn at once
    drawn = digits.draw_views(sources, 2, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    expected = np.stack([slow_view(sources[row // 2], sources, rng) for row in range(len(drawn))])
    # the interpolation's last bits may differ between machines, where a pixel is rounded up or down
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert (drawn != expected).mean() < 1e-5
