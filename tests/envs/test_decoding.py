from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from prunebench.envs.data import decoding
from prunebench.envs.errors import TaskError

FILES = [f"{number}.png" for number in range(9)]
SIZE = 8


@pytest.fixture(autouse=True)
def pixel_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("pixels")
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(path))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> np.ndarray:
    """Writes the files; ``(9, 3, 8, 8)``."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(FILES), SIZE, SIZE, 3), dtype=np.uint8)
    for file, picture in zip(FILES, pixels, strict=True):
        Image.fromarray(picture).save(tmp_path / file)
    return pixels.transpose(0, 3, 1, 2)


def decoded(folder: Path) -> np.ndarray:
    return decoding.decoded(folder, FILES, SIZE, None)


def test_images_are_decoded_once(tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(decoded(tmp_path), pictures)
    monkeypatch.setattr(decoding, "_decode", None)
    again = decoded(tmp_path)
    np.testing.assert_array_equal(again, pictures)
    assert isinstance(again, np.memmap)


def test_more_images_than_are_decoded_at_once(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_AT_ONCE", 4)
    np.testing.assert_array_equal(decoded(tmp_path), pictures)


def test_what_a_process_does_to_the_pixels_stays_in_it(tmp_path: Path, pictures: np.ndarray) -> None:
    decoded(tmp_path)[:] = 0
    np.testing.assert_array_equal(decoded(tmp_path), pictures)


def test_a_changed_file_is_decoded_again(tmp_path: Path, pictures: np.ndarray, pixel_cache: Path) -> None:
    decoded(tmp_path)
    Image.new("RGB", (SIZE, SIZE), "white").save(tmp_path / FILES[4])
    assert decoded(tmp_path)[4].min() == 255
    assert len(list(pixel_cache.glob("*.npy"))) == 2


def test_transforms_and_the_order_of_files_are_kept_apart(tmp_path: Path, pictures: np.ndarray) -> None:
    assert [int(decoding.decoded(tmp_path, FILES, 4, make).mean()) for make in (dark, light)] == [0, 255]
    np.testing.assert_array_equal(decoding.decoded(tmp_path, FILES[::-1], SIZE, None), decoded(tmp_path)[::-1])


def dark(picture: Image.Image, size: int) -> Image.Image:
    return Image.new("RGB", (size, size), "black")


def light(picture: Image.Image, size: int) -> Image.Image:
    return Image.new("RGB", (size, size), "white")


@pytest.mark.usefixtures("pictures")
def test_interrupted_decoding_leaves_nothing(
    tmp_path: Path, pixel_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = decoding._decode

    def interrupt(size: int, transform: None, file: Path) -> np.ndarray:
        if file.name == FILES[6]:
            raise KeyboardInterrupt
        return decode(size, transform, file)

    monkeypatch.setattr(decoding, "_AT_ONCE", 4)
    monkeypatch.setattr(decoding, "_decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decoded(tmp_path)
    assert list(pixel_cache.iterdir()) == []


def test_what_a_killed_process_left_is_written_over(tmp_path: Path, pictures: np.ndarray, pixel_cache: Path) -> None:
    decoded(tmp_path)
    (file,) = pixel_cache.glob("*.npy")
    file.rename(file.with_suffix(".tmp"))
    file.with_suffix(".tmp").write_bytes(b"a draft" * 10_000)
    np.testing.assert_array_equal(decoded(tmp_path), pictures)
    assert set(pixel_cache.iterdir()) == {file, file.with_name(f"{file.name}.note")}


def test_processes_that_want_the_same_images_decode_them_once(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, decode = [], decoding._decode

    def slowly(size: int, transform: None, file: Path) -> np.ndarray:
        calls.append(file)
        time.sleep(0.01)
        return decode(size, transform, file)

    monkeypatch.setattr(decoding, "_decode", slowly)
    with ThreadPoolExecutor(4) as pool:  # each opens the draft for itself, so to the lock they are processes
        results = list(pool.map(lambda _: decoded(tmp_path), range(4)))
    assert len(calls) == len(FILES)
    for pixels in results:
        np.testing.assert_array_equal(pixels, pictures)


def test_who_waits_for_a_process_that_fails_tries_again(pixel_cache: Path) -> None:
    go_on, attempts = threading.Event(), []

    def write(out: BinaryIO) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            go_on.wait(10)
            raise TaskError("the first one fails")
        np.save(out, np.arange(3))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(decoding.kept, "array", {}, write)
        while not attempts:
            time.sleep(0.001)
        second = pool.submit(decoding.kept, "array", {}, write)
        time.sleep(0.05)
        go_on.set()
        with pytest.raises(TaskError, match="the first one fails"):
            first.result()
        assert list(second.result()) == [0, 1, 2]
    assert sorted(file.suffix for file in pixel_cache.iterdir()) == [".note", ".npy"]


@pytest.mark.usefixtures("pictures")
def test_a_truncated_cache_file_is_named(tmp_path: Path, pixel_cache: Path) -> None:
    decoded(tmp_path)
    (file,) = pixel_cache.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(TaskError, match=f"'{file}' is damaged: delete it"):
        decoded(tmp_path)


@pytest.mark.usefixtures("pictures")
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(TaskError, match="occupied' cannot be written"):
        decoded(tmp_path)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("keep", [0, 20, 150])
def test_an_unreadable_image_is_named_in_one_line(tmp_path: Path, keep: int) -> None:
    file = tmp_path / FILES[3]
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(TaskError, match=r"3\.png' cannot be read") as caught:
        decoded(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("pictures")
def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / FILES[3]).unlink()
    (tmp_path / FILES[3]).symlink_to("nowhere.png")
    with pytest.raises(TaskError, match=r"3\.png' cannot be read: No such file"):
        decoded(tmp_path)
