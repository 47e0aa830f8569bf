"""The user's cache directory, for results that take long to compute and depend on their inputs alone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import platformdirs

from prunebench.envs.errors import TaskError
from prunebench.envs.files import DRAFT, make_folder, whole

_UNSETTLED = 2_000_000_000  # ns: so lately changed, a file may change again without another time of change
_hashed: dict[tuple[int, ...], str] = {}


def directory() -> Path:
    """``$PRUNEBENCH_CACHE`` where set, else the platform's cache directory for ``prunebench``."""
    return Path(os.path.expanduser(os.environ.get("PRUNEBENCH_CACHE") or platformdirs.user_cache_dir("prunebench")))


def path(kind: str, key: dict[str, Any]) -> Path:
    """The file that holds the result of ``key``: everything that the result depends on, as plain values."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    return directory() / f"{kind}-{digest}.pt"


def check_writable(size: int = 0) -> None:
    """Raise TaskError unless the cache takes a file of ``size`` bytes: before what is to be kept is computed."""
    draft = directory() / f".room.{os.getpid()}{DRAFT}"
    try:
        make_folder(directory())
        try:
            with draft.open("wb") as file:
                file.write(b"\0")
                if size and hasattr(os, "posix_fallocate"):  # finds out about quotas too
                    os.posix_fallocate(file.fileno(), 0, size)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        need = f" (needed: {size / 2**20:.0f} MiB)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise TaskError(
            f"cache {str(directory())!r} cannot be written: {error.strerror}{need}: name another folder in "
            "PRUNEBENCH_CACHE"
        ) from error


def save(content: Any, target: Path) -> None:
    """Write tensors and plain values with ``torch.save``, atomically; equal content gives equal bytes."""
    import torch

    with whole(target) as file:
        torch.save(content, file)  # saved to a path, the archive would hold the file's name


def load(source: Path) -> Any:
    """Read back what :func:`save` wrote, as memory maps that processes share; nothing in the file is executed.

    Raises:
        TaskError: the file is damaged.
    """
    import torch

    try:
        return torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise TaskError(f"cached file {str(source)!r} is damaged: delete it ({type(error).__name__})") from error


def sha256(source: Path) -> str:
    """Hash of a file's bytes; read once in a process for as long as size, times and place on the disk stay the same."""
    status = os.stat(source)
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    known, started = _hashed.get(stamp), time.time_ns()
    if known is not None:
        return known
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if max(status.st_mtime_ns, status.st_ctime_ns) < started - _UNSETTLED:
        _hashed[stamp] = found
    return found
