"""Which files of a folder are images, and that they are told apart by what is in them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunebench.envs import cache
from prunebench.envs.data import imagefiles
from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.task import TaskConfig, load_data

CLASSES = ("ant", "bee")


@pytest.fixture(autouse=True)
def settled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, which keeps what is in files however new they are."""
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(imagefiles, "_UNSETTLED", 0)


def make(root: Path, seed: int = 0, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """Files of equal names, sizes and times, whose contents the seed decides."""
    rng = np.random.default_rng(seed)
    for split in splits:
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(6):
                file = root / split / name / f"{number}.bmp"
                Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(file)
                os.utime(file, ns=(10**18, 10**18))
    return root


def folder(root: Path, **options: object) -> ImageData:
    return load_data(TaskConfig(dataset="imagefolder", data=str(root), **options))


def files(data: ImageData) -> int:
    return len(data.train().labels) + len(data.reward().labels)


def test_folders_of_equal_names_sizes_and_times_are_told_apart(tmp_path: Path) -> None:
    first, other = (folder(make(tmp_path / str(seed), seed)) for seed in (0, 1))
    assert first.fingerprint() != other.fingerprint()
    assert (first.test().pixels != other.test().pixels).any()


def test_a_folder_in_anothers_place_is_another(tmp_path: Path) -> None:
    first, other = make(tmp_path / "first"), make(tmp_path / "other", 1)
    before, pixels = folder(first).fingerprint(), folder(first).test().pixels.copy()
    assert folder(first).known()
    first.rename(tmp_path / "away")
    shutil.copytree(other, first)  # with its times
    assert not folder(first).known()
    assert folder(first).fingerprint() == folder(other).fingerprint() != before
    assert (folder(first).test().pixels != pixels).any()


def test_a_file_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    root = make(tmp_path)
    before, file = folder(root).fingerprint(), root / "val" / "bee" / "3.bmp"
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    os.utime(file, ns=(10**18, 10**18))
    assert folder(root).fingerprint() != before
    assert (root / "val" / "bee" / "3.bmp").stat().st_mtime_ns == 10**18


def test_a_copy_elsewhere_is_the_same_data(tmp_path: Path) -> None:
    root = make(tmp_path / "first")
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    assert folder(root).fingerprint() == folder(tmp_path / "copy").fingerprint()
    for data in (folder(root), folder(tmp_path / "copy")):
        data.test()
    assert len(list(cache.directory().glob("pixels-*.npy"))) == 1


def test_names_labels_and_order_count(tmp_path: Path) -> None:
    root = make(tmp_path)
    before = folder(root).fingerprint()
    assert folder(root, classes=("bee", "ant")).fingerprint() != before
    (root / "val" / "bee" / "3.bmp").rename(root / "val" / "bee" / "9.bmp")
    assert folder(root).fingerprint() != before


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, read, hashed = make(tmp_path), [], imagefiles._hash
    monkeypatch.setattr(imagefiles, "_hash", lambda where, file: read.append(file) or hashed(where, file))
    assert not folder(root).known()
    before = folder(root).fingerprint()
    assert len(read) == 3 * 12
    assert folder(root).known()
    assert folder(root).fingerprint() == before
    (root / "val" / "bee" / "3.bmp").touch()
    assert folder(root).fingerprint() == before
    assert read[3 * 12 :] == ["bee/3.bmp"]


def test_what_was_changed_just_now_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagefiles, "_UNSETTLED", 10**12)
    root = make(tmp_path)
    folder(root).fingerprint()
    assert not folder(root).known()
    assert list(cache.directory().iterdir()) == []


def test_a_damaged_index_costs_time_alone(tmp_path: Path) -> None:
    root = make(tmp_path)
    before = folder(root).fingerprint()
    for file in cache.directory().glob("contents-*.index"):
        file.write_text("[]")
    assert folder(root).fingerprint() == before


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val", "VALID", "Validation", "Dev"])
def test_every_usual_name_is_the_reward_split(name: str, tmp_path: Path) -> None:
    data = folder(make(tmp_path, splits=("train", name, "test")))
    assert data.sizes() == {"train": 12, "reward": 12, "test": 12}
    assert len(data.reward().labels) == 12
    assert not data.reward_from_training
    assert data.training_split() == {}


@pytest.mark.parametrize(("one", "other"), [("val", "valid"), ("Dev", "validation"), ("VAL", "val")])
def test_two_reward_splits_are_refused(one: str, other: str, tmp_path: Path) -> None:
    make(tmp_path, splits=("train", "test", one, other))
    with pytest.raises(TaskError, match=f"one folder for the reward split, not {one} and {other}"):
        folder(tmp_path)


@pytest.mark.parametrize("name", ["bee/Thumbs.db", "bee/.DS_Store", "bee/._3.bmp", "desktop.ini", "bee/.hidden/4.bmp"])
def test_clutter_is_left_out(name: str, tmp_path: Path) -> None:
    root = make(tmp_path)
    before = folder(root).fingerprint()
    (root / "train" / name).parent.mkdir(exist_ok=True)
    (root / "train" / name).write_bytes(b"no image")
    assert folder(root).fingerprint() == before
    assert files(folder(root)) == 24


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX"])
def test_clutter_is_no_class(name: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (make(tmp_path, splits=(split,)) / split / name).mkdir()
    assert folder(tmp_path).classes == CLASSES


@pytest.mark.parametrize("name", ["7.gif", "7.GIF", "7.jfif", "7.pbm", "7.jp2"])
def test_other_endings_of_images_are_taken(name: str, tmp_path: Path) -> None:
    root = make(tmp_path)
    form = {"jfif": "jpeg", "jp2": "jpeg2000", "pbm": "ppm"}.get(name.lower()[2:], name[2:])
    Image.new("1" if form == "ppm" else "RGB", (4, 4)).save(root / "train" / "bee" / name, format=form)
    assert list(np.bincount(folder(root).train().labels)) == [6, 7]


@pytest.mark.parametrize("name", ["7.heic", "7.npy", "7.dcm", "notes.txt", "7", "7.jpg.part"])
def test_what_is_no_image_is_refused_not_left_out(name: str, tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "train" / "bee" / name).touch()
    with pytest.raises(TaskError, match=f"bee/{name}': expected images, as .jpg"):
        folder(root)


def test_images_outside_of_the_classes_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path)
    shutil.copy(root / "test" / "bee" / "3.bmp", root / "test" / "3.bmp")
    with pytest.raises(TaskError, match=r"test/3\.bmp': expected it in the folder of its class"):
        folder(root).test()


def test_missing_and_empty_classes_are_named(tmp_path: Path) -> None:
    root = make(tmp_path)
    shutil.rmtree(root / "test" / "bee")
    with pytest.raises(TaskError, match="no folder for classes of train/: bee"):
        folder(root).test()
    (root / "test" / "bee").mkdir()
    with pytest.raises(TaskError, match="test/bee': expected images, there are none"):
        folder(root).test()


def test_files_come_class_by_class_and_folder_by_folder(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b-c/1.png", "a/b/1.png", "a/b/c/1.png", "a/10.png", "b/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    from torchvision.datasets.folder import make_dataset

    expected = make_dataset(tmp_path, {"b": 0, "a": 1}, (".png",))
    found = imagefiles.list_files(tmp_path, ("b", "a"))
    assert [(str(tmp_path / file), label) for file, label in found] == expected
