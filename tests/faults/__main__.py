"""``python -m faults [part ...]``: run the table of faults, or some of its parts, and print it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tabulate import tabulate

from faults import disks, files, kills, misbehaviour, security, sharing
from faults.kit import Row, Workplace

WIDTHS = [30, 30, 40, 52, 4]


def _shared(place: Workplace) -> Iterator[Row]:
    command = kills.command(place, "shared")
    return sharing.shared(place, command, command, "calm")


PARTS: dict[str, tuple[Callable[[Workplace], Iterator[Row]], ...]] = {
    "agents": (misbehaviour.rows,),
    "files": (files.mended, files.missing, files.refused),
    "disks": (disks.disks,),
    "security": (security.weights, security.exported, security.names),
    "attempts": (sharing.capricious, sharing.attempts_and_latency),
    "kills": (kills.kills, kills.signals, _shared),  # they share an undisturbed experiment
}


def main(parts: list[str]) -> int:
    """Print the table; 1 where a row is not as expected."""
    began = time.monotonic()
    table: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Workplace(Path(folder) / "results")
        try:
            for part in parts or PARTS:
                for make in PARTS[part]:
                    for row in make(place):
                        table.append(row)
                        print(f"{time.monotonic() - began:5.0f} s  {_mark(row):<4} {row.fault}", file=sys.stderr)
        finally:
            place.sweep()
    print(render(table))
    wrong = sum(row.ok is False for row in table)
    skipped = sum(row.ok is None for row in table)
    print(f"{len(table)} rows, {wrong} not as expected, {skipped} not possible here; {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def render(table: list[Row]) -> str:
    """The table as text."""
    cells = [[row.fault, row.injected, row.expected, row.seen, _mark(row)] for row in table]
    headers = ["fault", "injected how", "expected", "seen", "ok"]
    return tabulate(cells, headers, tablefmt="grid", maxcolwidths=WIDTHS, disable_numparse=True)


def _mark(row: Row) -> str:
    return {True: "yes", False: "NO", None: "-"}[row.ok]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
