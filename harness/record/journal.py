"""The append-only record of one run: a line per evaluation, on disk before the agent sees the reward."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from prunebench.envs.files import make_folder, sync_folder, whole
from prunebench.harness.errors import BusyError, DamagedError
from prunebench.harness.files import first_fault, free_name

if TYPE_CHECKING:
    from prunebench.harness.record.status import Confirmed


_DIGITS = 12  # of an accuracy: what equal numbers of images make differ by rounding alone is equal


class Seconds(BaseModel):
    """Seconds since the previous evaluation; writing the line belongs to none of them.

    Attributes:
        agent: outside the environment.
        reconstruction: the evaluator's least squares.
        forward: the evaluator's forward pass.
        environment: the rest of what was spent inside.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    agent: float
    reconstruction: float
    forward: float
    environment: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum((self.agent, self.reconstruction, self.forward, self.environment))


class Line(BaseModel):
    """One evaluation: what ``info["evaluation"]`` holds, and what the harness knows of it.

    What is not described here stands in :class:`prunebench.envs.environment.channel_pruning.ChannelPruningEnv`.

    Attributes:
        index: counts evaluations from 0.
        probe: whether the budget was set aside for this episode.
        repeat_of: index of the first evaluation of the same realised policy, or None.
        seconds: where the time went.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    index: int
    requested: list[float]
    realised: list[float]
    channels: list[int]
    accuracy: float
    loss: float
    reward: float
    macs: int
    parameters: int
    cost: float
    feasible: bool
    probe: bool
    repeat_of: int | None
    seconds: Seconds


def read(path: Path) -> list[Line]:
    """The lines of a run; none where there is no file. A torn last line, being unanswered, is left out.

    Raises:
        DamagedError: anything else is wrong; names file and line.
    """
    return _parse(path, path.read_bytes())[0] if path.exists() else []


def incumbent(lines: Sequence[Line], confirmed: Sequence[Confirmed] = ()) -> Line | None:
    """The best feasible line, see :func:`rank`; where policies were confirmed, the best of these on both splits.

    That is the one of the highest accuracy on both together, of equals the lower loss, then the earlier.
    """

    def order(again: Confirmed) -> tuple[bool, float, float, int]:
        line = lines[again.evaluation]
        loss = line.loss + again.loss
        finite = math.isfinite(loss)
        return not finite, -pooled_accuracy(line, again), loss if finite else 0.0, line.index

    if confirmed:
        return lines[min(confirmed, key=order).evaluation]
    return min((line for line in lines if line.feasible), key=rank, default=None)


def candidates(lines: Sequence[Line], count: int) -> list[Line]:
    """The best ``count`` feasible and distinct policies; none where there is but one: nothing is to be chosen."""
    best: dict[tuple[int, ...], Line] = {}
    for line in sorted((line for line in lines if line.feasible), key=rank):
        best.setdefault(tuple(line.channels), line)
    found = list(best.values())[:count]
    return found if len(found) > 1 else []


def pooled_accuracy(line: Line, again: Confirmed) -> float:
    """The accuracy on reward and confirm split together, which have as many images each."""
    return round((line.accuracy + again.accuracy) / 2, _DIGITS)


def rank(line: Line) -> tuple[bool, float, float, int]:
    """Orders lines, the best first: the highest reward, of equals the lower loss, the earlier.

    Whatever has no finite loss comes last.
    """
    finite = math.isfinite(line.loss)
    return not finite, -line.reward, line.loss if finite else 0.0, line.index


class Journal:
    """The lines of a run, opened for writing by the one process that may.

    The lock is the kernel's, on the file itself, and goes with the process that holds it. A torn last line, which
    nobody was told of, is dropped. A file with anything else wrong is kept beside this one, which begins afresh.

    Attributes:
        path: the file.
        lines: what it held when it was opened, and what was appended since.
        notices: what had to be mended when it was opened, a sentence each.
        damaged: whether it began afresh for that.

    Raises:
        BusyError: another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise BusyError(f"{path} is in use by another process: wait for it, or stop it") from None
        self.notices: list[str] = []
        self.damaged = False
        self._problem: OSError | None = None
        self._sum = 0  # of the whole content
        self._file.seek(0)
        self._mend(self._file.read())
        sync_folder(path.parent)

    def _mend(self, content: bytes) -> None:
        try:
            self.lines, whole = _parse(self.path, content)
        except DamagedError as error:
            self.damaged = True
            self.notices.append(f"{error}; kept as {self.set_aside('damaged').name}, begun afresh")
            return
        if whole < len(content):
            self.notices.append(f"a torn line after evaluation {len(self.lines)} was dropped")
        self._file.truncate(whole)
        self._sum = zlib.crc32(content[:whole])

    def append(self, line: Line) -> None:
        """Write a line; it is on disk when this returns.

        Raises:
            OSError: it could not be written. So does every later call: what followed a lost line would be of no use.
        """
        if self._problem is not None:
            raise self._problem
        text = json.dumps(line.model_dump()).encode() + b"\n"
        rest = memoryview(text)
        try:
            while rest:  # a raw file may take less than it is given
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._problem = error
            raise
        self._sum = zlib.crc32(text, self._sum)
        self.lines.append(line)

    def verify(self) -> None:
        """Raise DamagedError where the file does not hold what was written: an agent may reach it like anyone."""
        content = self.path.read_bytes() if self.path.exists() else b""
        if zlib.crc32(content) != self._sum:
            raise DamagedError(f"{self.path} does not hold the lines that were written: something else changed it")

    def set_aside(self, why: str) -> Path:
        """Keep the file under another name, that says why, and begin afresh; returns the other file."""
        aside = free_name(self.path, why)
        # A copy, so that this file, which carries the lock, stays what it is.
        with whole(aside) as copy, self.path.open("rb") as content:
            shutil.copyfileobj(content, copy)
        self._file.truncate(0)
        self._sum = 0
        self.lines = []
        return aside

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _parse(path: Path, content: bytes) -> tuple[list[Line], int]:
    """The lines, and how many bytes of the content they are."""
    whole = content.rfind(b"\n") + 1
    lines = [_line(path, number, text) for number, text in enumerate(content[:whole].split(b"\n")[:-1])]
    return lines, whole


def _line(path: Path, number: int, text: bytes) -> Line:
    where = f"{path}, line {number + 1}"
    try:
        line = Line.model_validate_json(text)
    except ValidationError as error:
        broken = error.errors()[0]["type"] == "json_invalid"
        what = "is damaged" if broken else "is not an evaluation"
        raise DamagedError(f"{where} {what}: {first_fault(error)}") from error
    if line.index != number:
        raise DamagedError(f"{where} has index {line.index}: expected {number}")
    return line
