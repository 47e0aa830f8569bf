"""Files that a reader finds whole, whatever happens while they are written."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from prunebench.harness.errors import DamagedError, StoreError

SCHEMA = 1
"""Version of the files of an experiment."""

DRAFT = ".tmp"
"""Ending of a file that is being written; one that was left behind means nothing."""


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, whatever happens."""
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` and the schema's version, atomically."""
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote.

    Raises:
        DamagedError: there is no such file, or it is damaged.
        StoreError: it is another version's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError) as error:  # other errors of the system may pass
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise DamagedError(f"{path} is not what was written: expected an object with a schema")
    if content["schema"] != SCHEMA:
        raise StoreError(f"{path}: written in version {content['schema']} of the files; this is version {SCHEMA}")
    return content


def free_name(path: Path, why: str) -> Path:
    """A file beside another one, named after it and a reason, that is not there yet."""
    number = 1
    while (free := path.with_name(f"{path.stem}.{why}-{number}{path.suffix}")).exists():
        number += 1
    return free


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
