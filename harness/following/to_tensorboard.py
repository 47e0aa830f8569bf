"""Writes runs for TensorBoard: a folder of event files for each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from prunebench.harness.following.points import Point, Written

if TYPE_CHECKING:
    from prunebench.harness.following.follower import Seen

_FILES = "events.out.tfevents.*"
_VERSION = "brain.Event:2"  # how every event file begins
_DIGITS = 20  # of a file's number: TensorBoard reads files in the order of their names


class ToolWriter:
    """Appends events; every process begins files of its own, so that a torn end of another's does no harm."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._begun: set[Path] = set()
        self._file = f"events.out.tfevents.{time.time_ns():0{_DIGITS}}"
        self.opened_with = f"tensorboard --logdir {out}"

    def written(self, name: str) -> Written:
        """What is there of a run."""
        accuracies, test = [], False
        for value in self._values(name):
            if value.tag == "accuracy":
                accuracies.append(value.simple_value)
            test = test or value.tag == "test_accuracy"
        return Written(accuracies, test)

    def _values(self, name: str) -> Iterator[Any]:
        for path in sorted((self._out / name).glob(_FILES)):
            for event in LegacyEventFileLoader(str(path)).Load():
                yield from event.summary.value

    def forget(self, name: str) -> None:
        """Remove what is there of a run."""
        shutil.rmtree(self._out / name, ignore_errors=True)
        self._begun.discard(self._out / name / self._file)

    def add(self, name: str, points: Sequence[Point], seen: Seen) -> None:
        """Write points of a run behind those that are there."""
        path = self._out / name / self._file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            records = RecordWriter(file)
            if path not in self._begun:
                records.write(Event(wall_time=points[0].time, file_version=_VERSION).SerializeToString())
                self._begun.add(path)
            for point in points:
                records.write(_event(point).SerializeToString())

    def end(self, name: str, test: Point, seen: Seen) -> None:
        """Write the test accuracy."""
        self.add(name, [test], seen)


def _event(point: Point) -> Event:
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in point.scalars.items()]
    return Event(wall_time=point.time, step=point.step, summary=Summary(value=values))
