"""SIGKILL at random instants, of one experiment that is started again each time; and the signals that ask to end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import psutil

from faults.kit import Ended, Row, Workplace, wait_for

SLOW = "faults.agents:Slow"
EVALUATIONS = 40
_OPTIONS = ("--seeds", "3", "--attempts", "1000")
_TURNS = (["run", "run", "run", "driver"], ["run", "run", "group"])  # in the course of a start each
_DEAF = 20  # evaluations; the controls come first, with one of them in all, and with twenty each
_AT_ONCE = 10.0  # seconds, for machines that are busy
_LATER = 5.0  # seconds after the first evaluation of a start, up to which a kill may come


def command(place: Workplace, out: str) -> list[str]:
    """The experiment that is disturbed."""
    return place.bench(out, SLOW, *_OPTIONS, evaluations=EVALUATIONS)


class Killing:
    """One experiment, killed again and again.

    Args:
        place: where.
        command: the command for a folder.
        out: the folder.
        seed: of the instants.
        window: seconds of a start that they are in; found out by :meth:`calm`.
    """

    def __init__(
        self, place: Workplace, command: Callable[[str], list[str]], out: str, seed: int, window: float = 0.0
    ) -> None:
        self.place, self.command, self.out = place, command, out
        self.kills = dict.fromkeys(("run", "driver", "group"), 0)
        self.starts = self.orphans = self.torn = 0
        self._rng = random.Random(seed)
        self._window = window

    def calm(self, out: str) -> Ended:
        """The undisturbed experiment; finds out how long a start takes."""
        began = time.monotonic()
        process = self.place.start(self.command(out))
        _grows(self.place, out, process, 1)
        self._window = time.monotonic() - began + _LATER
        return self.place.finish(process)

    def kill(self, kinds: list[str]) -> None:
        """Start the command; kill a run's process at a random instant where asked for, then what has started it."""
        process = self.place.start(self.command(self.out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.starts += 1
        instants = sorted(self._rng.uniform(0, self._window) for _ in kinds)
        began = time.monotonic()
        for kind, instant in zip(kinds, instants, strict=True):
            time.sleep(max(0.0, instant - (time.monotonic() - began)))
            if process.poll() is None:
                self.kills[kind] += self._strike(process, kind)
        process.kill()
        process.wait()
        self.orphans += self.place.left()
        self.torn += _torn(self.place, self.out)

    def finished(self, calm: str, count: int) -> Row:
        """What has become of it, once it may go on to its end; ``calm`` is the undisturbed experiment's folder."""
        last = self.place.run(self.command(self.out))
        equal = self.place.lines(self.out) == self.place.lines(calm) != {}
        failures = sum(self.place.failures(self.out))  # interruptions are none
        counts = ", ".join(f"{kind} {number}" for kind, number in self.kills.items())
        return Row(
            f"{count} SIGKILLs of one experiment",
            "at random instants of its starts, of a run's process, of the driver, of all processes in turn",
            "lines equal the undisturbed experiment's, exit code 0, no process left after any",
            f"{counts}; {self.starts + 1} starts; lines {'equal' if equal else 'DIFFER'}, exit code {last.code}, "
            f"processes left: {self.orphans}, torn lines: {self.torn}, "
            f"counted as failures: {failures}",
            equal
            and failures <= self.kills["run"]
            and (last.code, self.orphans) == (0, 0)
            and sum(self.kills.values()) == count,
        )

    def _strike(self, process: subprocess.Popen[str], kind: str) -> bool:
        """Whether there was something to kill; for a run's process it waits, but not beyond the command's end."""
        if kind == "run":
            wait_for(lambda: process.poll() is not None or bool(_jobs(process.pid)))
            if victims := _jobs(process.pid):
                with suppress(psutil.Error):
                    self._rng.choice(victims).kill()
                    return True
            return False
        if kind == "driver":
            process.kill()
        else:
            for member in self.place.family():
                with suppress(psutil.Error):
                    member.kill()
        return True


def _jobs(pid: int) -> list[psutil.Process]:
    """Processes that a command's server has started, and theirs."""
    jobs = [job for server in children(pid) for job in children(server.pid)]
    return [child for job in jobs for child in (job, *children(job.pid))]


def children(pid: int) -> list[psutil.Process]:
    """Of a process."""
    with suppress(psutil.Error):
        return psutil.Process(pid).children()
    return []


def kills(place: Workplace, count: int = 50, seed: int = 6) -> Iterator[Row]:
    """SIGKILLs of a run's process, of the driver and of everything, in turn; then the experiment is finished."""
    killing = Killing(place, partial(command, place), "killed", seed)
    calm = killing.calm("calm")
    missed = 0
    while (done := sum(killing.kills.values())) < count and missed < count:
        killing.kill(_TURNS[killing.starts % 2][-(count - done) :])
        missed += sum(killing.kills.values()) == done
    row = killing.finished("calm", count)
    yield replace(row, seen=f"{row.seen}; undisturbed: exit code {calm.code}", ok=row.ok and calm.code == 0)


def signals(place: Workplace) -> Iterator[Row]:
    """One experiment that is asked to end in several ways, and at last is not. Needs the calm one of :func:`kills`."""
    out = "signalled"
    for number, (fault, sent, how) in enumerate(
        (
            ("SIGINT once", signal.SIGINT, "exit code 130, a line that says how to go on"),
            ("SIGTERM to the driver", signal.SIGTERM, "ended by SIGTERM"),
            ("SIGKILL of the driver alone", signal.SIGKILL, "ended by SIGKILL"),
        )
    ):
        yield _signalled(place, command(place, out), out, 5 * (number + 1), [sent], (fault, how))
    deaf = place.bench("deaf", "faults.agents:Deaf", evaluations=_DEAF)
    twice = ("SIGINT twice, a run ignores SIGTERM", f"exit code 130 within {_AT_ONCE:g} s")
    yield _signalled(place, deaf, "deaf", 2 * _DEAF + 5, [signal.SIGINT] * 2, twice)
    ended = place.run(command(place, out))
    equal = place.lines(out) == place.lines("calm") != {}
    yield Row(
        "after all of these",
        "the same command once more",
        "exit code 0, lines equal the undisturbed experiment's",
        f"exit code {ended.code}, lines {'equal' if equal else 'DIFFER'}",
        equal and ended.code == 0,
    )


def _signalled(
    place: Workplace, started: list[str], out: str, lines: int, sent: list[signal.Signals], texts: tuple[str, str]
) -> Row:
    process = place.start(started)
    grown = _grows(place, out, process, lines)
    before, began = _count(place, out), time.monotonic()
    for one in sent:
        (os.killpg if one == signal.SIGINT else os.kill)(process.pid, one)
        time.sleep(0.2)
    ended = place.finish(process)
    seconds = time.monotonic() - began
    left, torn, kept = place.left(), _torn(place, out), _count(place, out) >= before
    interrupted = sent[0] == signal.SIGINT
    said = not interrupted or "goes on where this one stopped" in ended.err
    calm = "Traceback" not in ended.err and (len(sent) == 1 or seconds < _AT_ONCE)
    return Row(
        texts[0],
        "to the group while runs go on" if interrupted else "while runs go on",
        f"{texts[1]}; nothing lost or torn, no process left, no traceback",
        f"exit code {ended.code} after {seconds:.1f} s, torn lines: {torn}, processes left: {left}"
        + ("" if said else "; it does not say how to go on")
        + ("; a traceback" if "Traceback" in ended.err else ""),
        grown and kept and said and calm and (ended.code, left, torn) == (130 if interrupted else -sent[0], 0, 0),
    )


def _grows(place: Workplace, out: str, process: subprocess.Popen[str], lines: int) -> bool:
    """Whether there come to be so many lines before the command ends."""
    return wait_for(lambda: _count(place, out) >= lines or process.poll() is not None) and process.poll() is None


def _count(place: Workplace, out: str) -> int:
    return sum(map(len, place.lines(out).values()))


def _torn(place: Workplace, out: str) -> int:
    texts = (file.read_bytes() for file in (place.folder / out).rglob("*.jsonl"))
    return sum(bool(text) and not text.endswith(b"\n") for text in texts)
