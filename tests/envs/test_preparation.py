from __future__ import annotations

import numpy as np
import pytest

from prunebench.envs.data.imagedata import Images
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks import preparation


def images(count: int) -> Images:
    pixels = np.zeros((count, 3, 1, 1), dtype=np.uint8)
    return Images(pixels, np.arange(count), np.arange(count))


@pytest.mark.parametrize(("count", "chosen"), [(3000, 500), (500, 500), (120, 120), (101, 100), (51, 50), (2, 2)])
def test_batch_norm_is_recomputed_on_calibration_images_none_of_them_alone_in_a_batch(count: int, chosen: int) -> None:
    found = preparation._recalibration_images(images(count)).labels
    assert len(np.unique(found)) == chosen  # with 1,000 classes too: they are not drawn class by class
    assert (found[0], found[-1]) == (0, count - 1)
    assert np.ptp(np.diff(found)) <= 1
    assert chosen % preparation.CALIBRATION_BATCH != 1


def test_one_image_has_no_variance() -> None:
    with pytest.raises(TaskError, match="calibration-images 1: batch norm takes its statistics from 2 or more"):
        preparation._recalibration_images(images(1))
