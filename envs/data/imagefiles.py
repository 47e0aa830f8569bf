"""Files of images: which there are in the folders of splits and classes, and what is in them, as a hash of their bytes.

Each file is read once, and again when it is another one or was changed. The hashes are kept in the user's cache, in one
small file per folder, with each file's size, times and place on the disk: those are all that a later process asks for.
10,000 files of 1.5 kB take 0.74 s (with the cache of the system warm), and 0.07 s from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from prunebench.envs import cache
from prunebench.envs.errors import TaskError
from prunebench.envs.files import whole
from prunebench.envs.progress import Progress, silent

_UNSETTLED = 2_000_000_000  # ns: so lately changed, a file may change again without another time of change
_AT_ONCE = 256  # files between two reports of progress

_REWARD_FOLDERS = ("val", "valid", "validation", "dev")

IMAGES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Endings of files that are images, in lower case."""
_CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir")  # of file managers

Stamp = list[int]
"""What tells that a file is still the one that was read: size, times of change of contents and of inode (ns), inode."""
Index = dict[str, tuple[Stamp, str]]
"""By path below the folder, what a file was like when it was read, and the hash of its bytes."""


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits ``train``, ``test`` and, where there is one, ``reward``.

    Raises:
        TaskError: there are several for the reward split.
    """
    folders = {split: root / split for split in ("train", "test")}
    reward = sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name.lower() in _REWARD_FOLDERS)
    if len(reward) > 1:
        raise TaskError(f"data {str(root)!r}: expected one folder for the reward split, not {' and '.join(reward)}")
    return folders | ({"reward": root / reward[0]} if reward else {})


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a split, in alphabetical order.

    Raises:
        TaskError: there are none, or images outside of them, which would silently be left out.
    """
    entries = sorted((entry for entry in os.scandir(folder) if not is_clutter(entry.name)), key=lambda e: e.name)
    found = tuple(entry.name for entry in entries if entry.is_dir())
    if not found:
        raise TaskError(f"data {str(folder)!r}: expected a folder per class")
    for entry in entries:
        if not entry.is_dir() and entry.name.lower().endswith(IMAGES):
            raise TaskError(f"image {entry.path!r}: expected it in the folder of its class")
    return found


def check_classes(folder: Path, classes: tuple[str, ...]) -> None:
    """Raise TaskError where a split's folders are not those of the classes: images would silently be left out."""
    found = class_folders(folder)
    if strangers := set(found) - set(classes):
        raise TaskError(f"data {str(folder)!r}: no class of train/: {', '.join(sorted(strangers))}")
    if missing := set(classes) - set(found):
        raise TaskError(f"data {str(folder)!r}: no folder for classes of train/: {', '.join(sorted(missing))}")


def list_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[str, int]]:
    """Images of a split: paths below its folder, and labels; class by class in alphabetical order, then by path.

    Raises:
        TaskError: the folders are not those of the classes, one has no images, or something else than images.
    """
    check_classes(folder, classes)
    listed: list[tuple[str, int]] = []
    for label, name in sorted(enumerate(classes), key=lambda item: item[1]):
        found = [path for path in _files_below(folder / name) if is_image(path)]
        if not found:
            raise TaskError(f"data {str(folder / name)!r}: expected images, there are none")
        listed += [(path.removeprefix(os.path.join(folder, "")), label) for path in found]
    return listed


def _files_below(folder: Path) -> list[str]:
    found = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_clutter(name)]
        found.append((root, sorted(files)))
    return [os.path.join(root, name) for root, files in sorted(found) for name in files]


def is_clutter(name: str) -> bool:
    """Whether a file or folder is known to be none of the user's: hidden, or of a file manager."""
    return name.startswith(".") or name.lower() in _CLUTTER


def is_image(path: str) -> bool:
    """Whether a file is an image, by its name; False where it is clutter.

    Raises:
        TaskError: it is neither: it must not silently be left out.
    """
    name = os.path.basename(path)
    if not is_clutter(name) and not name.lower().endswith(IMAGES):
        raise TaskError(f"data {path!r}: expected images, as {', '.join(IMAGES)}, in the folder of a class")
    return not is_clutter(name)


def digest(folder: Path, files: Sequence[str], progress: Progress = silent) -> str:
    """Hash of files as they are now: names below ``folder``, and contents.

    Raises:
        TaskError: a file cannot be read, or the cache cannot be written.
    """
    stamps = {file: _stamp(folder, file) for file in files}
    index, started = _kept(folder), time.time_ns()
    new = list(_changed(index, stamps))
    for number, file in enumerate(new):
        if number % _AT_ONCE == 0:
            progress("reading images", number, len(new))
        index[file] = stamps[file], _hash(folder, file)
    if new:
        progress("reading images", len(new), len(new))
        _keep(folder, {file: found for file, found in index.items() if found[0][2] < started - _UNSETTLED})
    lines = "".join(f"{file}:{index[file][1]}\n" for file in files)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def known(folder: Path, files: Iterable[str]) -> bool:
    """Whether :func:`digest` need not read any of the files."""
    return not any(_changed(_kept(folder), {file: _stamp(folder, file) for file in files}))


def _changed(index: Index, stamps: dict[str, Stamp]) -> Iterable[str]:
    return (file for file, stamp in stamps.items() if file not in index or index[file][0] != stamp)


def _stamp(folder: Path, file: str) -> Stamp:
    try:
        status = os.stat(os.path.join(folder, file))
    except OSError as error:
        raise _unreadable(folder, file, error) from error
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _hash(folder: Path, file: str) -> str:
    try:
        with open(os.path.join(folder, file), "rb") as opened:
            return hashlib.file_digest(opened, partial(hashlib.blake2b, digest_size=16)).hexdigest()
    except OSError as error:
        raise _unreadable(folder, file, error) from error


def _unreadable(folder: Path, file: str, error: OSError) -> TaskError:
    return TaskError(f"image {str(folder / file)!r} cannot be read: {error.strerror}")


def _path(folder: Path) -> Path:
    return cache.path("contents", {"folder": str(folder.resolve())}).with_suffix(".index")


def _kept(folder: Path) -> Index:
    try:
        content = json.loads(_path(folder).read_text())
        return {file: (stamp, found) for file, (stamp, found) in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # nothing yet, or damaged: the files are read again, with the same result


def _keep(folder: Path, index: Index) -> None:
    if not index:
        return
    path = _path(folder)
    try:
        with whole(path) as out:
            out.write(json.dumps({"folder": str(folder.resolve()), "files": index}).encode())
    except OSError as error:
        raise TaskError(f"cache {str(path.parent)!r} cannot be written: {error.strerror or error}") from error
