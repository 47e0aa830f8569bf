"""What the user's cache holds: what each file is for, how old it is, and which of them go when it has grown too large.

Beside a cached file stands a note, ``<file>.note``: what the file is for, as JSON. The note's time of change says when
the file was last used, and a process that uses the file holds a shared lock on the note for as long as it lives: such a
file is never deleted here. (Where it is deleted all the same, by hand, Linux keeps what is mapped until nobody reads it
any more.)
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.envs import cache
from prunebench.envs.errors import TaskError
from prunebench.envs.files import DRAFT

LIMIT = "PRUNEBENCH_CACHE_LIMIT"
"""The environment variable that says how large the cache may grow."""

KINDS = {
    "trained": ("dense",),
    "published": ("published",),
    "calibration": ("calibration",),
    "latency": ("latency",),
    "pixels": ("pixels",),
    "index": ("listing", "contents"),
    "data": (),
}
"""What is cached, and how the names of its files begin; data are downloaded data sets, in a folder of this name.

Trained are dense networks; published are weights as their library gave them; an index says what is in a folder.
"""

CLEARED = tuple(kind for kind in KINDS if kind != "data")
"""What a user can have deleted: not downloads, whose folder may hold more than ours."""

_DEFAULT_LIMIT = "20GB"
_EVICTED = ("pixels", "calibration", "latency", "index")  # made again in seconds or minutes, without a network
_OURS = re.compile(r"\.?([a-z]+)-.*[0-9a-f]{20}\.(?:pt|npy|index|partial|tmp|(?:pt|index)\.\d+\.tmp)")
_LONG_AGO = 3600.0  # seconds, after which a draft is one that was left behind
_NOTE = ".note"

_held: dict[Path, int] = {}  # open notes, locked


@dataclass(frozen=True)
class Entry:
    """A cached file, or a folder of them.

    Attributes:
        path: where it is.
        kind: one of :data:`KINDS`.
        about: what it is for, as plain values; empty where nothing says so.
        size: bytes.
        made: when it was written, in seconds since 1970.
        used: when it was last used; for a file without a note, when it was written.
    """

    path: Path
    kind: str
    about: dict[str, Any]
    size: int
    made: float
    used: float


def use(file: Path, about: Mapping[str, Any]) -> None:
    """Note that this process uses a cached file from now on, until it ends.

    A cache that cannot be written, which is that of a cluster or of another user, is used without a note.

    Args:
        file: the cached file.
        about: what it is for, as plain values; those that are None are left out.
    """
    with suppress(OSError):
        if file not in _held or not _in_place(_held[file], _note(file)):
            _held[file] = _locked(_note(file), {key: value for key, value in about.items() if value is not None})
        os.utime(_held[file])


def ready(file: Path, about: Mapping[str, Any]) -> bool:
    """Whether a cached file is there; if so, it is used from now on, see :func:`use`."""
    if file.exists():
        use(file, about)
    return file.exists()


def entries() -> list[Entry]:
    """Everything in the cache that is known to be ours, that used last first."""
    folder = cache.directory()
    found = [(path, _kind(path)) for path in (sorted(folder.iterdir()) if folder.is_dir() else [])]
    listed = []
    for path, kind in found:
        with suppress(FileNotFoundError):  # another process may have deleted it just now
            listed += [_entry(path, kind)] if kind else []
    return sorted(listed, key=lambda entry: entry.used, reverse=True)


def limit() -> int:
    """Bytes that the cache may hold: ``$PRUNEBENCH_CACHE_LIMIT`` where it is set, else 20 GB.

    Raises:
        TaskError: it is no size.
    """
    text = os.environ.get(LIMIT) or _DEFAULT_LIMIT
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise TaskError(f"{LIMIT} {text!r}: expected a size, as 20GB or 500MB")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2] or " "))


def make_room() -> None:
    """Delete what was not used for longest until the cache is within its limit: decoded images and calibrations.

    Trained networks, published weights and data sets stay, and so does what a running process uses.
    """
    found = entries()
    excess = sum(entry.size for entry in found) - limit()
    for entry in reversed(found):
        if excess <= 0:
            return
        if entry.kind in _EVICTED and delete(entry):
            excess -= entry.size


def delete(entry: Entry) -> bool:
    """Delete a cached file with its note; False where a running process uses or writes it, or it cannot be deleted."""
    if entry.path.suffix == DRAFT and time.time() - entry.made < _LONG_AGO:
        return False
    try:
        with _alone(_note(entry.path)):
            entry.path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _note(file: Path) -> Path:
    return file.with_name(file.name + _NOTE)


def _locked(note: Path, about: dict[str, Any]) -> int:
    """A note, written unless it was, under a shared lock."""
    note.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(note, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if os.fstat(handle).st_size == 0:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_size == 0:
                os.write(handle, json.dumps(about).encode())
            fcntl.flock(handle, fcntl.LOCK_SH)
        if _in_place(handle, note):
            return handle
        os.close(handle)  # it was deleted just before the lock


def _in_place(handle: int, note: Path) -> bool:
    """Whether an open note is still the one on disk."""
    return note.exists() and os.path.samestat(os.fstat(handle), os.stat(note))


@contextmanager
def _alone(note: Path) -> Iterator[None]:
    """While nobody else holds a note; it is deleted afterwards.

    Raises:
        OSError: somebody does.
    """
    handle = os.open(note, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
        note.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _kind(path: Path) -> str | None:
    match = _OURS.fullmatch(path.name)
    if match is None:
        return "data" if path.name == "data" and path.is_dir() else None
    return next((kind for kind, beginnings in KINDS.items() if match[1] in beginnings), None)


def _entry(path: Path, kind: str) -> Entry:
    files, note, made = path.rglob("*") if kind == "data" else [path], _note(path), path.stat().st_mtime
    used = note.stat().st_mtime if note.exists() else made
    return Entry(path, kind, _about(note), sum(file.stat().st_size for file in files if file.is_file()), made, used)


def _about(note: Path) -> dict[str, Any]:
    try:
        content = json.loads(note.read_text())
    except (OSError, ValueError):  # an older version left none, or a process was killed while it wrote
        return {}
    return content if isinstance(content, dict) else {}
