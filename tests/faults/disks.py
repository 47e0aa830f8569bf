"""A disk that is full, a folder that cannot be written: on small file systems in memory, where they may be mounted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.files import again, copy
from faults.kit import Row, Workplace
from faults.misbehaviour import UNDISTURBED

_SIZES = "20k", "32k"  # configuration and manifest take two pages of 4k, a run's first line and status two


def disks(place: Workplace) -> Iterator[Row]:
    """The rows, or that they cannot be made here."""
    copied = copy(place, "source")
    try:
        with mounted(place.folder / "probe", "64k"):
            pass
    except (OSError, subprocess.CalledProcessError):
        for fault in ("full disk", "read-only folder"):
            yield Row(fault, "mount -t tmpfs", "-", "not possible here: mounting is not permitted", None)
        return
    for size in _SIZES:
        yield _full(place, size)
    yield from _read_only(place, copied)


def _full(place: Workplace, size: str) -> Row:
    name = f"full-{size}"
    with mounted(place.folder / name, size) as folder:
        out = f"{name}/x"
        first = again(place, out)
        at = sum(map(len, place.lines(out).values()))
        _mount("-o", "remount,size=8m", str(folder))
        second = again(place, out)
        equal = place.lines(out) == place.lines(UNDISTURBED)
    said = "No space left" in first.err and "Traceback" not in first.err
    return Row(
        f"full disk ({size})",
        "the experiment on a tmpfs of that size; later more room",
        "exit code 1, or 2 where nothing was begun, said without a traceback; then exit code 0, lines equal",
        f"exit code {first.code} with {at} lines kept, {'said' if said else 'NOT SAID'}; then exit code {second.code}, "
        f"lines {'equal' if equal else 'DIFFER'}",
        said and first.code in (1, 2) and (first.code == 1 or at == 0) and second.code == 0 and equal,
    )


def _read_only(place: Workplace, source: Path) -> Iterator[Row]:
    with mounted(place.folder / "readonly", "8m") as folder:
        shutil.copytree(source, folder / "finished")
        shutil.copytree(source, folder / "unfinished")
        for file in (folder / "unfinished").rglob("random/seed-0.json*"):
            file.unlink()
        _mount("-o", "remount,ro", str(folder))
        for out in ("new", "unfinished"):
            ended = again(place, f"readonly/{out}")
            wrong = "Traceback" in ended.err or "Read-only" not in ended.err
            yield Row(
                f"read-only folder, {out} experiment",
                "tmpfs remounted read-only",
                "one line, exit code 2",
                f"exit code {ended.code}: {ended.err.strip().splitlines()[-1][:110]}",
                ended.code == 2 and not wrong,
            )
        ended = again(place, "readonly/finished")
        table = place.tool("show", "readonly/finished")
        yield Row(
            "read-only folder, finished experiment",
            "tmpfs remounted read-only",
            "the table is printed all the same, exit code 1 and why; `show` works",
            f"exit code {ended.code}: {ended.line()}; show: exit code {table.code}",
            ended.code == 1 and "Read-only" in ended.err and "greedy" in ended.out and table.code == 0,
        )


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory for as long as this is open."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
