"""Pictures of every mode: their values, or a refusal that names file and mode."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from prunebench.envs.data import decoding
from prunebench.envs.errors import TaskError

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (4, 6), dtype=np.uint16)
DEEP[0, :6] = 0, 128, 129, 386, 65406, 65535  # around the edges of rounding
SCALED = np.round(DEEP / 257).astype(np.uint8)
PICTURE = Image.fromarray(RGB)


def png(path: Path, colour: int, values: np.ndarray) -> None:
    """A PNG of 16 bits per channel, which Pillow does not write."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b)) for kind, b in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def tiff(path: Path, values: np.ndarray, **changes: int) -> None:
    """A grey TIFF with other values of its tags: ``bits`` per sample, or ``photometric`` interpretation."""
    Image.fromarray(values).save(path)
    content = path.read_bytes()
    for name, value in changes.items():
        tag = struct.pack("<HHI", {"bits": 258, "photometric": 262}[name], 3, 1)
        assert content.count(tag) == 1
        place = content.index(tag) + len(tag)
        content = content[:place] + struct.pack("<H", value) + content[place + 2 :]
    path.write_bytes(content)


def pixels(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = decoding.read(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("grey.png", lambda path: Image.fromarray(DEEP).save(path)),
        ("grey.tif", lambda path: Image.fromarray(DEEP).save(path)),
        ("packed.tif", lambda path: Image.fromarray(DEEP).save(path, compression="tiff_lzw")),
        ("big-endian.tif", lambda path: Image.fromarray(DEEP.astype(">u2")).save(path)),
        ("white-is-zero.tif", lambda path: tiff(path, 65535 - DEEP, photometric=0)),
        ("grey.pgm", lambda path: Image.fromarray(DEEP).save(path)),
        ("grey.jp2", lambda path: Image.fromarray(DEEP).save(path)),
    ],
)
def test_16_bits_of_grey_are_scaled_and_rounded(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    np.testing.assert_array_equal(pixels(tmp_path / name), np.repeat(SCALED[..., None], 3, axis=2))


def test_12_bits_are_scaled_from_theirs(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", np.zeros((1, 4), dtype=np.uint16), bits=12)
    content = (tmp_path / "a.tif").read_bytes()  # 6 bytes of 12 bits each, in place of 8
    assert content.endswith(bytes(8))
    (tmp_path / "a.tif").write_bytes(content[:-8] + bytes.fromhex("000 fff 800 010 0000".replace(" ", "")))
    assert [int(value) for value in pixels(tmp_path / "a.tif")[0, :, 0]] == [0, 255, 128, 1]


def test_the_largest_value_of_a_pgm_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023))
    assert [int(value) for value in pixels(tmp_path / "a.pgm")[0, :, 0]] == [0, 128, 255]


@pytest.mark.parametrize(
    ("colour", "values", "expected"),
    [
        (2, np.stack([DEEP, DEEP[::-1], DEEP], -1), np.stack([DEEP, DEEP[::-1], DEEP], -1)),
        (4, np.stack([DEEP, DEEP[::-1]], -1), np.stack([DEEP] * 3, -1)),
        (6, np.stack([DEEP, DEEP[::-1], DEEP, DEEP], -1), np.stack([DEEP, DEEP[::-1], DEEP], -1)),
    ],
)
def test_16_bits_of_colour_are_read_as_pillow_does(
    colour: int, values: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    png(tmp_path / "a.png", colour, values)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected >> 8)


@pytest.mark.parametrize(
    ("name", "write", "mode"),
    [
        ("a.tif", lambda path: Image.fromarray(DEEP.astype(np.int32)).save(path), "mode I"),
        ("b.tif", lambda path: Image.fromarray(DEEP.astype(np.float32)).save(path), "mode F"),
        ("c.pfm", lambda path: Image.fromarray(DEEP.astype(np.float32)).save(path), "mode F"),
        ("e.tif", lambda path: PICTURE.save(path, save_all=True, append_images=[PICTURE]), "it has 2 pages"),
    ],
)
def test_what_has_no_known_meaning_is_refused(
    name: str, write: Callable[[Path], None], mode: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(TaskError, match=rf"image '.*{name}' cannot be read: .*{mode}") as caught:
        decoding.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_lab_colours_are_those_that_they_stand_for(tmp_path: Path) -> None:
    muted = RGB // 5 + 100  # LAB has few steps for strong colours
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    ImageCms.profileToProfile(Image.fromarray(muted), *profiles, outputMode="LAB").save(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels(tmp_path / "a.tif").astype(int), muted.astype(int), atol=3)


def test_transparency_leaves_colours_as_they_are(tmp_path: Path) -> None:
    few = PICTURE.quantize(8)
    expected = np.asarray(few.convert("RGB"))
    few.save(tmp_path / "bytes.png", transparency=bytes([0, 128, 255]))
    few.save(tmp_path / "one.png", transparency=3)
    few.save(tmp_path / "one.gif", transparency=3)
    for name in ("bytes.png", "one.png", "one.gif"):
        np.testing.assert_array_equal(pixels(tmp_path / name), expected)
    Image.fromarray(RGB[..., :2], "LA").save(tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels(tmp_path / "grey.png"), np.repeat(RGB[..., :1], 3, axis=2))
    Image.fromarray(np.dstack([RGB, RGB[..., :1]])).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(pixels(tmp_path / "colour.png"), RGB)


def test_cmyk_is_as_pillow_and_torchvision_read_it(tmp_path: Path) -> None:
    from torchvision.datasets.folder import pil_loader

    PICTURE.convert("CMYK").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), RGB)
    PICTURE.convert("CMYK").save(tmp_path / "a.jpg")
    np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), np.asarray(pil_loader(tmp_path / "a.jpg")))


def test_pixels_are_as_stored_whatever_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    PICTURE.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), RGB)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_of_an_animation_the_first_frame_counts(name: str, tmp_path: Path) -> None:
    lossless = {"lossless": True} if name == "a.webp" else {}
    few = PICTURE.quantize(8).convert("RGB")
    few.save(tmp_path / name, save_all=True, append_images=[Image.new("RGB", few.size)], **lossless)
    np.testing.assert_array_equal(pixels(tmp_path / name), np.asarray(few))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.jp2", "a.png", "a.jpg", "a.bmp"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.8])
def test_a_broken_file_is_refused_in_one_line(name: str, kept: float, tmp_path: Path) -> None:
    Image.fromarray(np.tile(RGB, (8, 8, 1))).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(TaskError, match=rf"image '.*{name}' cannot be read: \S") as caught:
        decoding.read(tmp_path / name)
    assert "\n" not in str(caught.value)
