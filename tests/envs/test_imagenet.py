from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prunebench.envs import cache
from prunebench.envs.data import imagefiles
from prunebench.envs.data.imagedata import ImageData, Images
from prunebench.envs.data.imagenet import listing
from prunebench.envs.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data

CLASSES = ("n01", "n02", "n03")


@pytest.fixture(autouse=True)
def pixel_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path_factory.mktemp("pixels")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 3)):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (*rng.integers(20, 60, 2), 3)
                picture = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
                picture.save(tmp_path / split / name / f"{name}_{number}.JPEG")
    return tmp_path


def imagenet(root: Path, **options: object) -> ImageData:
    return load_data(replace(TaskConfig(dataset="imagenet", data=str(root), image_size=14), **options))


def by_hand(file: Path, size: int) -> np.ndarray:
    """The preparation of torchvision's weights for ImageNet: shorter side to 256/224 of the size, centre cropped."""
    picture = Image.open(file).convert("RGB")
    short, (width, height) = round(size * 256 / 224), picture.size
    if width < height:
        picture = picture.resize((short, int(short * height / width)), Image.Resampling.BILINEAR)
    else:
        picture = picture.resize((int(short * width / height), short), Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def test_the_splits_are_disjoint_and_stratified(root: Path) -> None:
    data = imagenet(root, reward_images=9)
    reward, calibration = data.reward(), data.calibration(30)
    assert list(np.bincount(reward.labels)) == [3, 3, 3]
    assert list(np.bincount(calibration.labels)) == [10, 10, 10]
    assert not set(reward.sources) & set(calibration.sources)
    assert len(imagenet(root).reward().labels) == 6  # a tenth of train/


def test_sizes_are_told_without_leaving_a_listing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagefiles, "_UNSETTLED", 0)
    data = imagenet(root)
    assert data.sizes() == {"train": 54, "reward": 6, "test": 9}
    assert not data.known()
    assert list(cache.directory().iterdir()) == []
    data.fingerprint()
    assert imagenet(root).known()
    assert imagenet(root, reward_images=9).sizes() == {"train": 51, "reward": 9, "test": 9}


def test_the_test_split_is_all_of_val_in_order_of_names(root: Path) -> None:
    images = imagenet(root).test()
    assert list(images.labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    files = sorted((root / "val").rglob("*.JPEG"))
    np.testing.assert_array_equal(images.pixels, [by_hand(file, 14) for file in files])


def test_pixels_of_chosen_rows_are_those_of_their_files(root: Path) -> None:
    images = imagenet(root, reward_images=9).reward()
    files = sorted((root / "train").rglob("*.JPEG"))
    np.testing.assert_array_equal(images.pixels, [by_hand(files[row], 14) for row in images.sources])
    assert [CLASSES[label] for label in images.labels] == [files[row].parent.name for row in images.sources]


def test_preparation_is_that_of_torchvisions_weights(root: Path) -> None:
    from torchvision.transforms._presets import ImageClassification

    data = imagenet(root, image_size=None)
    pixels, _ = data.tensors(data.test())
    expected = ImageClassification(crop_size=224)(Image.open(root / "val" / "n01" / "n01_0.JPEG").convert("RGB"))
    torch.testing.assert_close(pixels[0], expected, rtol=0, atol=1e-6)
    assert (data.mean, data.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_a_network_with_published_weights_brings_its_own_preparation(root: Path) -> None:
    from torchvision.models import MNASNet0_75_Weights

    data = imagenet(root, image_size=None, model="torchvision:mnasnet0_75")
    pixels, _ = data.tensors(data.test())
    picture = Image.open(root / "val" / "n01" / "n01_0.JPEG").convert("RGB")
    torch.testing.assert_close(pixels[0], MNASNet0_75_Weights.DEFAULT.transforms()(picture), rtol=0, atol=1e-6)
    assert imagenet(root, image_size=14, model="torchvision:mnasnet0_75").image_size == 14


@pytest.mark.parametrize("split", ["reward", "calibration", "test"])
def test_a_changed_file_is_decoded_again(root: Path, split: str) -> None:
    def read(data: ImageData) -> Images:
        return data.calibration(10) if split == "calibration" else getattr(data, split)()

    options = {"calibration_images": 10}
    before, images = imagenet(root, **options).fingerprint(), read(imagenet(root, **options))
    files = sorted((root / ("val" if split == "test" else "train")).rglob("*.JPEG"))
    Image.new("RGB", (30, 30)).save(files[images.sources[2]])
    assert imagenet(root, **options).fingerprint() != before
    changed = read(imagenet(root, **options)).pixels
    assert not changed[2].any()
    np.testing.assert_array_equal(np.delete(changed, 2, 0), np.delete(images.pixels, 2, 0))


def test_the_fingerprint_reads_only_files_that_are_used(root: Path) -> None:
    data = imagenet(root, reward_images=9, calibration_images=9)
    used = {*data.reward().sources, *data.calibration(9).sources}
    files = sorted((root / "train").rglob("*.JPEG"))
    other = next(file for row, file in enumerate(files) if row not in used)
    before = data.fingerprint()
    other.write_bytes(b"another")
    assert imagenet(root, reward_images=9, calibration_images=9).fingerprint() == before


def test_the_image_size_is_the_users(root: Path) -> None:
    assert imagenet(root).test().pixels.shape == (9, 3, 14, 14)
    assert imagenet(root, image_size=7).test().pixels.shape == (9, 3, 7, 7)


def test_a_new_file_is_listed_and_an_old_listing_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(listing(root / "train", CLASSES)) == 60
    with monkeypatch.context() as patch:
        patch.setattr("prunebench.envs.data.imagenet._images", None)
        assert len(listing(root / "train", CLASSES)) == 60
    Image.new("RGB", (30, 30)).save(root / "train" / "n02" / "näw.png")
    listed = listing(root / "train", CLASSES)
    assert "n02/näw.png" in [file.decode() for file in listed["file"]]
    assert list(np.bincount(listed["label"])) == [20, 21, 20]


def test_folders_are_refused_not_dropped(root: Path) -> None:
    (root / "train" / "n02" / "images").mkdir()
    with pytest.raises(TaskError, match=r"n02/images': expected images, not a folder"):
        imagenet(root).reward()
    (root / "val" / "n04").mkdir()
    with pytest.raises(TaskError, match=r"val'.*no class of train/: n04"):
        imagenet(root).test()


def test_missing_and_empty_classes_are_named(root: Path) -> None:
    for file in (root / "val" / "n03").iterdir():
        file.unlink()
    with pytest.raises(TaskError, match=r"n03': expected images, there are none"):
        imagenet(root).test()
    (root / "val" / "n03").rmdir()
    with pytest.raises(TaskError, match=r"no folder for classes of train/: n03"):
        imagenet(root).test()


@pytest.mark.parametrize("clutter", [".DS_Store", "Thumbs.db", "._n02_1.JPEG", ".ipynb_checkpoints/a.JPEG"])
def test_clutter_is_no_image(root: Path, clutter: str) -> None:
    before = len(imagenet(root).test().labels)
    for folder in (root / "val", root / "val" / "n02"):
        (folder / clutter).parent.mkdir(exist_ok=True)
        (folder / clutter).write_bytes(b"clutter")
    assert len(imagenet(root).test().labels) == before


def test_what_is_no_image_is_refused(root: Path) -> None:
    (root / "train" / "n02" / "n02_1.npy").touch()
    with pytest.raises(TaskError, match=r"n02_1\.npy': expected images, as \.jpg"):
        imagenet(root).reward()


def test_a_folder_of_the_same_time_is_listed_anew_where_it_was_changed(root: Path) -> None:
    assert len(listing(root / "val", CLASSES)) == 9
    times = (root / "val" / "n02").stat()
    (root / "val" / "n02" / "n02_1.JPEG").unlink()
    os.utime(root / "val" / "n02", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert len(listing(root / "val", CLASSES)) == 8


def test_no_network_is_trained_on_it(root: Path) -> None:
    with pytest.raises(TaskError, match="expected --weights, or a model that has its own"):
        imagenet(root).train()


def test_the_hash_of_the_images_does_not_depend_on_how_much_is_read_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = imagenet(root).sha256()
    monkeypatch.setattr("prunebench.envs.data.imagedata._HASHED_AT_ONCE", 2)
    assert imagenet(root).sha256() == whole


def test_normalised_bytes_are_the_tensors_bit_for_bit(root: Path) -> None:
    data = imagenet(root)
    every = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 3, 256, 256)).copy()
    expected = (torch.arange(256.0) / 255 - torch.tensor(0.485)) / torch.tensor(0.229)
    assert torch.equal(data.normalise(torch.from_numpy(every))[0, 0, 7], expected)
    pixels, _ = data.tensors(data.test())
    assert torch.equal(data.normalise(torch.from_numpy(data.test().pixels[3:5])), pixels[3:5])


@pytest.mark.parametrize(
    ("folders", "changes", "message"),
    [
        ((), {"data": None}, "dataset 'imagenet' needs --data, a folder with train/<class>/ and val/<class>/"),
        (("train", "test"), {}, "val': no such folder; expected train/<class>/ and val/<class>/ in --data"),
        (("train", "val"), {"mean": (0.5, 0.5, 0.5)}, "fixes mean"),
        (("train", "val"), {"classes": ("a", "b")}, "fixes classes"),
    ],
)
def test_a_wrong_task_is_refused(
    tmp_path: Path, folders: tuple[str, ...], changes: dict[str, object], message: str
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(TaskError, match=message):
        check_task(replace(TaskConfig(dataset="imagenet", data=str(tmp_path)), **changes))


def test_another_preparation_of_the_same_size_is_another_calibration(root: Path) -> None:
    options = [{"model": "torchvision:efficientnet_b0", "image_size": size} for size in (None, 224)]
    first, second = (imagenet(root, **some) for some in options)
    assert first.image_size == second.image_size
    assert first.preparation != second.preparation
