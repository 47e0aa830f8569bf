"""The confirm split: apart from all others, which stay as they are without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.task import TaskConfig, load_data


def make_folder(root: Path, splits: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:03}.jpeg", quality=95)
    return root


def both(task: TaskConfig) -> tuple[ImageData, ImageData]:
    """The data without a confirm split, and with one."""
    return load_data(task), load_data(replace(task, confirm=5))


@pytest.mark.parametrize(
    ("dataset", "splits"),
    [
        ("digits", {}),
        ("imagefolder", {"train": 10, "val": 3, "test": 4}),
        ("imagefolder", {"train": 30, "test": 4}),
        ("imagenet", {"train": 30, "val": 4}),
    ],
)
def test_it_shares_no_image_and_changes_no_other_split(tmp_path: Path, dataset: str, splits: dict[str, int]) -> None:
    folder = str(make_folder(tmp_path, splits)) if splits else None
    size = 8 if dataset == "imagenet" else None
    count = 8 if splits else 20
    plain, data = both(TaskConfig(dataset=dataset, data=folder, image_size=size, calibration_images=count))
    confirm, calibration = data.confirm(), data.calibration(count)
    assert len(confirm.labels) == len(data.reward().labels) == data.sizes()["confirm"]
    assert not set(confirm.sources) & set(calibration.sources)
    assert len(set(confirm.labels)) == len(data.classes)
    for split in ("reward", "test"):
        np.testing.assert_array_equal(getattr(plain, split)().pixels, getattr(data, split)().pixels)
    if dataset != "imagenet":  # which is not trained on
        train = set(data.train().sources)
        assert not set(confirm.sources) & train
        assert set(confirm.sources) | train == set(plain.train().sources)
        assert len(data.train().labels) == data.sizes()["train"]
    if splits:  # of the digits, other sources are left
        np.testing.assert_array_equal(calibration.sources, plain.calibration(8).sources)
    assert plain.training_split().items() < data.training_split().items() or plain.training_split() == {}
    assert data.sha256() != plain.sha256()


def test_what_training_images_do_not_suffice_for_is_refused(tmp_path: Path) -> None:
    root = str(make_folder(tmp_path, {"train": 4, "val": 4, "test": 4}))
    task = TaskConfig(dataset="imagefolder", data=root, confirm=3)
    with pytest.raises(TaskError, match="train/ has 8 images besides the reward split; expected more than the 8"):
        load_data(task).train()
    few = load_data(replace(task, reward_images=6))
    assert [len(part.labels) for part in (few.calibration(3000), few.confirm())] == [2, 6]


def test_without_it_nothing_is_keyed_by_it() -> None:
    assert load_data(TaskConfig()).training_split() == {"split_seed": 0, "views": 20}
