from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from prunebench.envs import cache
from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data

KINDS = {"cifar10": CIFAR10, "cifar100": CIFAR100}
Write = Callable[..., dict[str, np.ndarray]]


def cifar(root: Path | None, name: str = "cifar10", **options: object) -> ImageData:
    return load_data(replace(TaskConfig(dataset=name, data=None if root is None else str(root)), **options))


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes batches in the published format, makes their checksums the expected ones, and returns the pixels."""

    def write_batches(root: Path, name: str, per_class: int = 2) -> dict[str, np.ndarray]:
        kind, rng, pixels = KINDS[name], np.random.default_rng(0), {}
        classes, key = (10, "labels") if name == "cifar10" else (100, "fine_labels")
        (root / kind.base_folder).mkdir(parents=True)

        def put(file: str, content: object) -> str:
            written = pickle.dumps(content)
            (root / kind.base_folder / file).write_bytes(written)
            return hashlib.md5(written).hexdigest()

        for split in ("train_list", "test_list"):
            checksums = []
            for file, _ in getattr(kind, split):
                pixels[file] = rng.integers(0, 256, (classes * per_class, 3072), dtype=np.uint8)
                labels = list(range(classes)) * per_class
                checksums.append([file, put(file, {"data": pixels[file], key: labels})])
            monkeypatch.setattr(kind, split, checksums)
        meta = kind.meta | {"md5": put(kind.meta["filename"], {kind.meta["key"]: [str(n) for n in range(classes)]})}
        monkeypatch.setattr(kind, "meta", meta)
        return pixels

    return write_batches


def test_sizes_are_published(tmp_path: Path) -> None:
    assert cifar(tmp_path).sizes() == {"train": 45_000, "reward": 5000, "test": 10_000}
    assert cifar(tmp_path, reward_images=100).sizes() == {"train": 49_900, "reward": 100, "test": 10_000}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize(("name", "images", "reward"), [("cifar10", 600, 60), ("cifar100", 3000, 300)])
def test_the_splits_are_disjoint_and_stratified(
    tmp_path: Path, write: Write, name: str, images: int, reward: int
) -> None:
    write(tmp_path, name, per_class=12 if name == "cifar10" else 30)
    data = cifar(tmp_path, name)
    train, chosen = data.train(), data.reward()
    assert len(chosen.labels) == reward
    assert set(np.bincount(chosen.labels)) == {reward // len(data.classes)}
    assert set(train.sources) | set(chosen.sources) == set(range(images))
    assert not set(train.sources) & set(chosen.sources)
    assert set(data.calibration(200).sources) <= set(train.sources)


def test_pixels_are_those_of_the_files(tmp_path: Path, write: Write) -> None:
    batches = write(tmp_path, "cifar10")
    data = cifar(tmp_path, reward_images=10)
    np.testing.assert_array_equal(data.test().pixels, batches["test_batch"].reshape(-1, 3, 32, 32))
    every = np.concatenate([batches[f"data_batch_{number}"] for number in range(1, 6)]).reshape(-1, 3, 32, 32)
    images = data.reward()
    np.testing.assert_array_equal(images.pixels, every[images.sources])
    assert list(images.labels) == [source % 10 for source in images.sources]


def test_the_reward_split_depends_on_the_split_seed(tmp_path: Path, write: Write) -> None:
    write(tmp_path, "cifar10")
    first, other = cifar(tmp_path, reward_images=20), cifar(tmp_path, reward_images=20, split_seed=1)
    assert set(first.reward().sources) != set(other.reward().sources)
    assert first.training_split() != other.training_split()


def test_normalisation_is_the_usual_one_unless_told(tmp_path: Path) -> None:
    assert cifar(tmp_path).mean == pytest.approx((0.49, 0.48, 0.45), abs=0.005)
    assert cifar(tmp_path, std=(0.1, 0.2, 0.3)).std == (0.1, 0.2, 0.3)


def test_names_of_classes(tmp_path: Path) -> None:
    assert [len(cifar(tmp_path, name).classes) for name in KINDS] == [10, 100]
    assert list(cifar(tmp_path, "cifar100").classes) == sorted(set(cifar(tmp_path, "cifar100").classes))


@pytest.mark.usefixtures("offline")
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, write: Write) -> None:
    write(tmp_path, "cifar10")
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(TaskError, match=r"cifar-10-batches-py' is incomplete or damaged: delete") as caught:
        cifar(tmp_path).reward()
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path, write: Write) -> None:
    write(tmp_path, "cifar100")
    (tmp_path / "cifar-100-python" / "test").unlink()
    with pytest.raises(TaskError, match="incomplete or damaged"):
        cifar(tmp_path, "cifar100").train()


@pytest.mark.usefixtures("offline")
def test_without_network_the_message_says_what_to_fetch_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(TaskError) as caught:
        cifar(root).reward()
    for part in (CIFAR10.url, repr(str(root)), "no route to host", "cifar-10-batches-py", "--data"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(root.iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_an_archive_put_there_by_hand_is_unpacked(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = write(tmp_path, "cifar10")
    archive = tmp_path / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as out:
        out.add(tmp_path / CIFAR10.base_folder, CIFAR10.base_folder)
    shutil.rmtree(tmp_path / CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert len(cifar(tmp_path).test().labels) == len(batches["test_batch"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [CIFAR10.base_folder, CIFAR10.filename]


def test_without_data_the_folder_is_in_the_cache_directory(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path))
    write(cache.directory() / "data", "cifar10")
    assert len(cifar(None).test().labels) == 20


def test_the_folder_of_the_batches_itself_is_answered_with_the_one_above(tmp_path: Path, write: Write) -> None:
    write(tmp_path, "cifar10")
    with pytest.raises(TaskError, match=f"expected the folder above it, '{tmp_path}'"):
        cifar(tmp_path / CIFAR10.base_folder).test()


def test_the_fingerprint_is_known_without_the_files_and_follows_the_checksums(tmp_path: Path, write: Write) -> None:
    published = cifar(tmp_path).fingerprint()
    assert published != cifar(tmp_path, "cifar100").fingerprint()
    write(tmp_path, "cifar10")
    assert cifar(tmp_path).fingerprint() != published


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 64}, "dataset 'cifar10' fixes image-size"),
        ({"classes": ("a", "b")}, "dataset 'cifar10' fixes classes"),
        ({"data": __file__}, "expected a folder"),
        ({"std": (0.2, 0.2, 0.0)}, "expected positive numbers"),
    ],
)
def test_a_wrong_task_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        check_task(TaskConfig(dataset="cifar10", **changes))


@pytest.mark.usefixtures("offline")
def test_checking_a_task_downloads_nothing(tmp_path: Path) -> None:
    check_task(TaskConfig(dataset="cifar10", data=str(tmp_path / "later")))
    assert not (tmp_path / "later").exists()
