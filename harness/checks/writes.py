"""Notices what a piece of code writes to disk.

Left behind: by a comparison of two folders that were empty before, the working directory and the one for temporary
files. Elsewhere: by Python's audit events. What C code or another process writes elsewhere goes unnoticed.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

_found: list[str] | None = None  # files written to elsewhere; None while nobody watches
_inside = ""  # the folder that holds the two


@contextmanager
def noticed() -> Iterator[list[str]]:
    """Run the body in an empty working directory, with an empty one for temporary files.

    Yields:
        A list that afterwards says what was left in either, and what was changed anywhere else. Bytecode caches do
        not count.
    """
    problems: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:
        root = Path(base).resolve()
        folders = {"working directory": root / "work", "directory for temporary files": root / "temporary"}
        for folder in folders.values():
            folder.mkdir()
        with _moved(*folders.values()), _watched(root) as elsewhere:
            yield problems
        for what, folder in folders.items():
            left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not _bytecode(str(path)))
            problems.extend(f"leaves {name!r} in the {what}" for name in left)
        problems.extend(f"writes to {name!r}" for name in elsewhere)


@contextmanager
def _moved(work: Path, temporary: Path) -> Iterator[None]:
    before, directory, variable = os.getcwd(), tempfile.tempdir, os.environ.get("TMPDIR")
    os.chdir(work)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    try:
        yield
    finally:
        os.chdir(before)
        tempfile.tempdir = directory
        if variable is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = variable


@contextmanager
def _watched(root: Path) -> Iterator[list[str]]:
    global _found, _inside
    _install()
    found: list[str] = []
    _found, _inside = found, str(root)
    try:
        yield found
    finally:
        _found = None


@lru_cache(maxsize=1)
def _install() -> None:
    """Once per process: an audit hook cannot be taken away again."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    found = _found
    if found is None:
        return
    path = _written(event, arguments)
    if path is not None and path not in found and not _bytecode(path) and not f"{path}/".startswith(f"{_inside}/"):
        found.append(path)


def _written(event: str, arguments: tuple[Any, ...]) -> str | None:
    """The path that an event is about to change, or None."""
    if event not in _EVENTS or (event == "open" and not _for_writing(arguments[2])):
        return None
    position, changes = _EVENTS[event]
    path = _path(arguments[position])
    return path if path is not None and changes(path) else None


def _for_writing(flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))


def _path(argument: Any) -> str | None:
    """An absolute path without links; None for a descriptor and for SQLite's database in memory."""
    if not isinstance(argument, (str, bytes, os.PathLike)):
        return None
    name = os.fsdecode(argument)
    return None if name in ("", ":memory:") else os.path.realpath(name)


def _bytecode(path: str) -> bool:
    return "__pycache__" in Path(path).parts or ".pyc" in Path(path).name


def _always(path: str) -> bool:
    return True


def _missing(path: str) -> bool:  # os.makedirs tries what is there already
    return not os.path.exists(path)


def _regular(path: str) -> bool:  # or new: no device, no pipe
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


_EVENTS: dict[str, tuple[int, Callable[[str], bool]]] = {
    "open": (0, _regular),
    "os.mkdir": (0, _missing),
    "os.remove": (0, os.path.exists),
    "os.rmdir": (0, os.path.exists),
    "os.truncate": (0, os.path.exists),
    "os.rename": (1, _always),
    "os.link": (1, _always),
    "os.symlink": (1, _always),
    "sqlite3.connect": (0, _always),  # opens its file by itself
}
"""The position of the path that an event changes, and whether it does; functions of shutil end in these events."""
