"""What the cache holds, as text, and deleting it: for ``prunebench cache``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta

from tabulate import tabulate

from prunebench.envs import cache, cache_files
from prunebench.envs.cache_files import Entry

_UNITS = ("B", "kB", "MB", "GB", "TB")
_AGES = (("days", timedelta(days=1)), ("hours", timedelta(hours=1)), ("minutes", timedelta(minutes=1)))


def text(found: Sequence[Entry]) -> str:
    """The files one by one, that used last first, under the folder; and how much they are together."""
    total = f"{_size(sum(entry.size for entry in found))} of {_size(cache_files.limit())} ({cache_files.LIMIT})"
    rows = [(e.kind, _purpose(e), _size(e.size), _age(e.made), _age(e.used)) for e in found]
    table = tabulate(rows, ("kind", "for", "size", "made", "last used"), tablefmt="plain", disable_numparse=True)
    return "\n".join([str(cache.directory()), *([table] if found else []), total])


def clear(kinds: Iterable[str]) -> tuple[list[Entry], list[Entry]]:
    """Delete what is cached of some kinds.

    Returns:
        What was deleted, and what was not because a running process uses it or because it cannot be.
    """
    kept: list[Entry] = []
    gone: list[Entry] = []
    for entry in (entry for entry in cache_files.entries() if entry.kind in kinds):
        (gone if cache_files.delete(entry) else kept).append(entry)
    return gone, kept


def cleared(gone: Sequence[Entry], kept: Sequence[Entry]) -> str:
    """What :func:`clear` did, in words."""
    lines = [f"deleted {len(gone)} files, {_size(sum(entry.size for entry in gone))}"]
    return "\n".join([*lines, *(f"kept {entry.path}: in use, or it cannot be deleted" for entry in kept)])


def _purpose(entry: Entry) -> str:
    about = [f"{key} {value}" for key, value in entry.about.items()]
    unfinished = [] if entry.kind == "data" or entry.path.suffix in (".pt", ".npy", ".index") else ["unfinished"]
    return ", ".join([*about, *unfinished]) or ("downloads" if entry.kind == "data" else "unknown")


def _size(size: float) -> str:
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.3g} {unit}"


def _age(moment: float) -> str:
    passed = timedelta(seconds=time.time() - moment)
    return next((f"{passed / unit:.0f} {name} ago" for name, unit in _AGES if passed >= 2 * unit), "just now")
