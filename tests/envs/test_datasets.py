from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from PIL import Image

from prunebench.envs.data import datasets
from prunebench.envs.data.digits import Digits
from prunebench.envs.data.imagedata import DataSettings, ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data

FOLDER = TaskConfig(dataset="imagefolder")


def make_folder(root: Path, splits: dict[str, int], classes: tuple[str, ...] = ("ant", "bee"), size: int = 8) -> Path:
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:03}.png")
    return root


def folder(root: Path, **options: object) -> ImageData:
    return load_data(replace(FOLDER, data=str(root), **options))


def test_digits_splits_share_no_source_and_cover_every_class() -> None:
    data = Digits(DataSettings())
    splits = {"train": data.train(), "reward": data.reward(), "test": data.test()}
    sources = {name: set(images.sources) for name, images in splits.items()}
    assert sum(map(len, sources.values())) == len(set().union(*sources.values())) == 1797
    for images in splits.values():
        assert len(set(images.labels)) == 10
        assert images.pixels.shape[1:] == (3, data.image_size, data.image_size)


def test_digits_are_the_same_every_time_and_differ_by_split_seed() -> None:
    first, again, other = (
        Digits(DataSettings(split_seed=1)),
        Digits(DataSettings(split_seed=1)),
        Digits(DataSettings(split_seed=2)),
    )
    np.testing.assert_array_equal(first.reward().pixels, again.reward().pixels)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert set(first.reward().sources) != set(other.reward().sources)


def test_reward_images_are_stratified_and_nested_in_the_split() -> None:
    images = Digits(DataSettings(reward_images=100)).reward()
    assert np.bincount(images.labels).min() >= 8
    assert len(images.labels) == 100
    assert set(images.sources) <= set(Digits(DataSettings()).reward().sources)


def test_calibration_images_are_training_images() -> None:
    data = Digits(DataSettings())
    assert set(data.calibration(50).sources) <= set(data.train().sources)


@pytest.mark.parametrize("count", [9, 10_000])
def test_an_impossible_number_of_reward_images_is_refused(count: int) -> None:
    with pytest.raises(TaskError, match=rf"reward images {count}: expected 10 \(one per class\) to 500"):
        Digits(DataSettings(reward_images=count)).reward()


@pytest.mark.parametrize("data", [Digits(DataSettings()), Digits(DataSettings(split_seed=3, reward_images=100))])
def test_digits_know_how_many_they_are(data: ImageData) -> None:
    splits = {"train": data.train(), "reward": data.reward(), "test": data.test()}
    assert data.sizes() == {name: len(images.labels) for name, images in splits.items()}


def test_folders_know_how_many_images_they_have_without_reading_one(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 10, "test": 4})
    for file in root.rglob("*.png"):
        file.write_bytes(b"no image")
    assert folder(root, image_size=8).sizes() == {"train": 18, "reward": 2, "test": 8}
    make_folder(root, {"val": 3})
    assert folder(root, image_size=8).sizes() == {"train": 20, "reward": 6, "test": 8}


def test_val_is_the_reward_split_where_there_is_one(tmp_path: Path) -> None:
    data = folder(make_folder(tmp_path, {"train": 10, "val": 3, "test": 4}))
    assert [len(part.labels) for part in (data.train(), data.reward(), data.test())] == [20, 6, 8]
    assert data.classes == ("ant", "bee")
    assert list(data.reward().labels) == [0, 0, 0, 1, 1, 1]


def test_else_the_reward_split_is_taken_from_train(tmp_path: Path) -> None:
    data = folder(make_folder(tmp_path, {"train": 10, "test": 4}), reward_images=6)
    reward, train = set(data.reward().sources), set(data.train().sources)
    assert len(reward) == 6
    assert not reward & train
    assert len(reward | train) == 20
    assert set(data.calibration(8).sources) <= train


def test_folders_that_are_no_class_are_refused_not_dropped(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 10, "test": 4})
    (root / "test" / "wasp").mkdir()
    with pytest.raises(TaskError, match=r"test'.*no class of train/: wasp"):
        folder(root).test()


def test_a_train_folder_without_classes_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    with pytest.raises(TaskError, match="expected a folder per class"):
        folder(tmp_path)


@pytest.mark.parametrize("count", [19, 20, 30])
def test_the_reward_split_must_leave_training_images(count: int, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=rf"reward images {count}: expected fewer, train/ has 20"):
        folder(make_folder(tmp_path, {"train": 10, "test": 4}), reward_images=count).reward()


def test_classes_too_small_to_be_stratified_are_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 10, "val": 3, "test": 4})
    for extra in ("001.png", "002.png"):
        (root / "val" / "bee" / extra).unlink()
    with pytest.raises(TaskError, match="reward images 2: cannot be chosen class by class"):
        folder(root, reward_images=2).reward()


def test_changed_files_change_the_fingerprint(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 10, "val": 3, "test": 4})
    before, content = folder(root).fingerprint(), folder(root).sha256()
    Image.new("RGB", (8, 8)).save(root / "val" / "ant" / "000.png")
    assert folder(root).fingerprint() != before
    assert folder(root).sha256() != content


def test_class_order_is_the_users(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 10, "val": 3, "test": 4})
    straight, turned = folder(root).reward(), folder(root, classes=("bee", "ant")).reward()
    np.testing.assert_array_equal(straight.pixels[straight.labels == 0], turned.pixels[turned.labels == 1])
    with pytest.raises(TaskError, match=r"classes ant,wasp: expected .*ant,bee"):
        folder(root, classes=("ant", "wasp"))


def test_pixels_are_normalised_as_told(tmp_path: Path) -> None:
    data = folder(make_folder(tmp_path, {"train": 3, "val": 3, "test": 3}), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = data.reward()
    pixels, _ = data.tensors(images)
    by_hand = (images.pixels[2, 1, 3, 4] / 255 - 0.2) / 0.6
    assert float(pixels[2, 1, 3, 4]) == pytest.approx(by_hand, abs=1e-6)


def test_images_of_several_sizes_need_an_image_size(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 3, "val": 3, "test": 3})
    Image.new("RGB", (12, 10)).save(root / "val" / "ant" / "000.png")
    with pytest.raises(TaskError, match=r"000\.png' is 12 x 10, others 8 x 8"):
        folder(root).reward()
    assert folder(root, image_size=6).reward().pixels.shape == (6, 3, 6, 6)


def test_images_in_folders_of_a_class_folder_are_found(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 3, "val": 3, "test": 3})
    before = folder(root).test()
    (root / "test" / "bee" / "more").mkdir()
    (root / "test" / "bee" / "002.png").rename(root / "test" / "bee" / "more" / "002.png")
    np.testing.assert_array_equal(folder(root).test().pixels, before.pixels)


def test_every_data_set_says_which_options_it_leaves_free() -> None:
    settings, options = {field.name for field in fields(DataSettings)}, {field.name for field in fields(TaskConfig)}
    for entry in datasets.DATASETS.values():
        assert issubclass(resolve_name(entry.source), ImageData)
        assert set(entry.options) <= options & (settings | {"data"})
        assert not entry.folders or "data" in entry.options


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 3, "val": 3, "test": 3})
    (root / "val" / "bee" / "001.png").write_text("no image")
    with pytest.raises(TaskError, match=r"001\.png' cannot be read"):
        folder(root).reward()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet65"}, r"model 'resnet65' is unknown: .*did you mean 'resnet56'\?"),
        ({"dataset": "digit"}, r"dataset 'digit' is unknown: .*did you mean 'digits'\?"),
        ({"dataset": "cifar"}, r"dataset 'cifar' is unknown: .*did you mean 'cifar10'\?"),
        ({"dataset": "imagefolder"}, "needs --data, a folder with train/<class>/ and test/<class>/"),
        ({"dataset": "imagefolder", "data": "/nowhere"}, "'/nowhere': no such folder"),
        ({"weights": "/nowhere.pt"}, "'/nowhere.pt': no such file"),
        ({"reward_images": 0}, "reward-images 0: expected a positive number"),
        ({"split_seed": -1}, "split-seed -1"),
        ({"mean": (0.5, 0.5, 0.5)}, "fixes mean"),
    ],
)
def test_a_wrong_task_is_answered_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        check_task(TaskConfig(**changes))
    assert "\n" not in str(caught.value)
