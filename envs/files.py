"""Files that a reader finds whole, whatever happens while they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

DRAFT = ".tmp"
"""Ending of a file that is being written; one that was left behind means nothing."""


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a draft for writing bytes; it takes the file's place when all of them are on disk, and goes if they cannot.

    Folders that are not there yet are made.
    """
    make_folder(path.parent)
    draft = draft_of(path)
    try:
        with draft.open("wb") as file:
            yield file
            put_in_place(file, draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def draft_of(path: Path) -> Path:
    """Where this process writes what will be a file or a folder."""
    return path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")


def description_of(path: Path) -> Path:
    """The file beside a checkpoint that says how it was trained: JSON."""
    return path.with_suffix(".json")


def remove_drafts(folder: Path) -> None:
    """Remove what processes that are gone have left half written in a folder, at any depth."""
    for path in list(folder.rglob(f".*{DRAFT}")):
        process = path.name.removesuffix(DRAFT).rpartition(".")[2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


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
