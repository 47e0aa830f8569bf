from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prunebench.envs.data.imagedata import Images
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks import keys, preparation
from prunebench.envs.tasks.task import TaskConfig, load_data


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


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for split in ("train", "val", "test"):
        for name in ("ant", "bee", "cow"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(6):
                Image.new("RGB", (4, 4), (number, 9, 9)).save(tmp_path / split / name / f"{number}.png")
    return str(tmp_path)


def test_only_unusual_flips_change_the_keys_of_the_cache(folder: str) -> None:
    def key(flips: bool | None) -> Path:
        task = TaskConfig("resnet20", dataset="imagefolder", data=folder, flips=flips)
        return keys.weights_path(task, load_data(task))

    assert key(None) == key(True) != key(False)


@pytest.mark.parametrize("changes", [{}, {"dataset": "cifar10"}, {"model": "vgg16", "split_seed": 1}])
def test_networks_that_are_trained_here_have_not_seen_the_reward_split(changes: dict[str, Any]) -> None:
    assert preparation._trained_here(TaskConfig(**changes))


@pytest.mark.parametrize(
    "changes", [{"weights": "w.pt"}, {"model": "torchvision:resnet18"}, {"model": "nets:build", "weights": "w.pt"}]
)
def test_weights_from_elsewhere_may_have_seen_it(changes: dict[str, Any]) -> None:
    assert not preparation._trained_here(TaskConfig(**changes))


def test_only_a_reward_split_of_its_own_is_safe_from_them(folder: str) -> None:
    own = TaskConfig(dataset="imagefolder", data=folder)
    assert not load_data(own).reward_from_training
    shutil.rmtree(Path(folder) / "val")
    others = (own, TaskConfig(), TaskConfig(dataset="cifar10"), TaskConfig(dataset="cifar100"))
    assert all(load_data(task).reward_from_training for task in others)


def test_chance_is_the_share_of_the_largest_class(folder: str) -> None:
    data = load_data(TaskConfig(dataset="imagefolder", data=folder))
    assert data.chance() == pytest.approx(1 / 3)
    (Path(folder) / "val" / "ant" / "0.png").unlink()
    assert load_data(TaskConfig(dataset="imagefolder", data=folder)).chance() == pytest.approx(6 / 17)


def test_an_unreadable_test_image_is_found_before_training(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("F", (4, 4)).save(Path(folder) / "test" / "bee" / "deep.tif")
    monkeypatch.setattr(preparation, "train", None)
    with pytest.raises(TaskError, match=r"deep\.tif' cannot be read: nothing says what is white in mode F \(TIFF\)"):
        preparation.ensure_prepared(TaskConfig("resnet20", dataset="imagefolder", data=folder))
