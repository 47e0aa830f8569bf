"""Tells somebody who is not looking that a long command has ended, by a command of theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prunebench.harness.errors import in_one_line

_PATIENCE = 60.0  # seconds that it may take


class Ended(NamedTuple):
    """What has ended: the experiments' folders, and how many of them are whole and how many lack something."""

    folders: Sequence[Path]
    whole: int
    failed: int


@contextmanager
def at_end(command: str | None, ended: Callable[[], Ended]) -> Iterator[None]:
    """Run a command of the user's at the end of what is done inside, also where that fails.

    Where it is interrupted nothing is run: somebody is there. A fault of the command is said in a line, and changes
    nothing.

    Args:
        command: for the shell; None is no command.
        ended: says at the end what has become of all.
    """
    try:
        yield
    except Exception as error:
        _run(command, ended(), in_one_line(error))
        raise
    _run(command, ended(), "")


def _run(command: str | None, ended: Ended, problem: str) -> None:
    if command is None:
        return
    variables = {
        "PRUNEBENCH_SUMMARY": _summary(ended, problem),
        "PRUNEBENCH_EXIT_CODE": "1" if problem or ended.failed else "0",
        "PRUNEBENCH_FOLDERS": "\n".join(map(str, ended.folders)),
    }
    try:
        result = subprocess.run(command, shell=True, env=os.environ | variables, timeout=_PATIENCE, check=False)
        fault = f"exit code {result.returncode}" if result.returncode else ""
    except subprocess.TimeoutExpired:
        fault = f"it took longer than {_PATIENCE:g} s"
    except OSError as error:
        fault = in_one_line(error)
    if fault:
        print(f"notify {command!r} failed: {fault}", file=sys.stderr, flush=True)


def _summary(ended: Ended, problem: str) -> str:
    """A sentence."""
    count = len(ended.folders)
    what = f"experiment {ended.folders[0]}" if count == 1 else f"{count} experiments"
    if problem:
        return f"prunebench: {what}: {problem}"
    if not ended.failed:
        return f"prunebench: {what}: all is done"
    return f"prunebench: {what}: something failed" + (f" in {ended.failed} of them" if count > 1 else "")
