"""Files that a reader finds whole, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

DRAFT = ".tmp"
"""Ending of a file that is being written; one that was left behind means nothing."""


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a draft for writing bytes; it takes the file's place when all of them are on disk, and goes if they cannot.

    Folders that are not there yet are made.
    """
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        with draft.open("wb") as file:
            yield file
            put_in_place(file, draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def put_in_place(file: BinaryIO, draft: Path, path: Path) -> None:
    """Give an open draft the name of the file that it is of, all of it on disk before and the name after."""
    file.flush()
    os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, on disk."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in new:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk: a file's own fsync does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
