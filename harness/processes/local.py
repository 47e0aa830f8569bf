"""Processes on this machine: started from a server that has imported the heavy libraries once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import psutil

from prunebench.harness.errors import HarnessError, in_one_line
from prunebench.harness.processes import child, gpus, guard, starting, variables
from prunebench.harness.processes.messages import GarbledError, Inbox

_UNTOLD = "ignore::FutureWarning,ignore::DeprecationWarning,ignore:resource_tracker:UserWarning"
_PATIENCE = 2.0  # seconds between asking a process to end and ending it
_GLANCE = 0.5  # seconds between two looks at what processes with limits have used
_TELLING = 0.3  # seconds that a process has to write where it stands, before it is ended

Function = Callable[..., Any] | str
"""The function of a job: called with ``report`` (sends its plain arguments to the parent) and the job's arguments.

A name, ``package.module:function``, is imported in the process: what the parent must not load itself is sent so."""
Cause = Literal["", "user", "busy", "error", "died", "time", "memory"]
"""Why a job ended without a value: an error of the user's, another process does it, any other error, its process died,
or it went over a limit."""


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """Limits of a job's process; None is no limit.

    Attributes:
        seconds: wall-clock time.
        bytes: resident memory, that of its own children included.
    """

    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Job:
    """A function to run in a process of its own.

    Attributes:
        name: its name in messages and events.
        function: an importable function, or its name.
        args: the function's arguments after ``report``.
        limits: limits of its process.
        log: file that its standard output and error go to; None leaves them where they are.
    """

    name: str
    function: Function
    args: tuple[Any, ...] = ()
    limits: Limits = Limits()
    log: Path | None = None


@dataclass(frozen=True)
class Event:
    """News of a job: the arguments of its ``report``, or None when it has begun."""

    name: str
    values: tuple[Any, ...] | None


@dataclass(frozen=True)
class End:
    """The end of a job's process. ``problem`` says in one line what went wrong; ``details`` may hold a traceback."""

    name: str
    value: Any = None
    problem: str | None = None
    details: str = ""
    cause: Cause = ""


class JobError(HarnessError):
    """A single job failed because of something the user can mend."""


class JobCrash(RuntimeError):
    """A single job failed for another reason; the message is its traceback."""


@dataclass
class _Live:
    """A job whose process is running."""

    job: Job
    process: BaseProcess
    inbox: Inbox
    gpu: str | None = None
    started: float = field(default_factory=time.monotonic)

    def excess(self) -> tuple[Cause, str] | None:
        """The limit that the process went over, and how that is said."""
        limits = self.job.limits
        if limits.seconds is not None and time.monotonic() - self.started > limits.seconds:
            return "time", f"it took longer than the limit of {limits.seconds:g} s"
        if limits.bytes is not None and (used := _resident(self.process.pid)) > limits.bytes:
            return "memory", f"it used {used / 2**30:.1f} GiB of memory, more than its {limits.bytes / 2**30:.1f} GiB"
        return None

    def end_telling_where(self) -> None:
        """Have the process end, and write into its log where it stood, if it still can."""
        if self.job.log is not None and self.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.process.pid, guard.WHERE)
            self.process.join(_TELLING)

    def kill(self) -> None:
        """End the process, and whatever it has started, at once."""
        pid = self.process.pid
        assert pid is not None
        guard.end_family(pid)  # while it is known what belongs to it
        self.process.join(_PATIENCE)  # what the kernel held for it, locks above all, is free then
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self.process.kill()  # also where it is not yet the leader of a group
        self.process.join()


class Processes:
    """Starts processes that share one import of the heavy libraries. The parent imports none of them.

    Args:
        threads: threads of each process, for the libraries that read it from the environment when they are loaded.
        modules: modules that the server imports ahead.
        shared: GPUs that jobs are spread over, each job's process seeing one of them (``gpus.Shares``).
    """

    def __init__(self, threads: int, modules: Iterable[str] = (), shared: Sequence[str] = ()) -> None:
        starting.refuse_within_import()
        variables.limit_threads(threads)
        # Deprecations inside third-party libraries, and what a process that ended at once left to the system, are
        # nothing that a user of this command can act on.
        os.environ.setdefault("PYTHONWARNINGS", _UNTOLD)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(modules))
        self._gpus = gpus.Shares(shared)
        self._live: dict[Connection, _Live] = {}
        self._looked = 0.0  # when limits were last looked at

    def start_up(self, watch: Callable[[str, int, int], None] = lambda *values: None) -> float:
        """Start the server, which ``watch`` is told of; returns the seconds until it was ready."""
        started = time.perf_counter()
        watch("starting", 0, 1)
        self.call(Job("start-up", _nothing))
        watch("starting", 1, 1)
        return time.perf_counter() - started

    def call(self, job: Job, watch: Callable[..., None] = lambda *values: None) -> Any:
        """Run one job to its end; ``watch`` gets what it reports.

        Raises:
            JobError: it raised an error of the user's, or went over a limit.
            JobCrash: it raised anything else, or its process died.
        """
        return self.call_all([job], watch)[0]

    def call_all(self, jobs: Sequence[Job], watch: Callable[..., None] = lambda *values: None) -> list[Any]:
        """Run jobs beside each other, as :meth:`call` does one; returns their values in the order in which they end."""
        values = []
        for event in self.run(jobs, len(jobs)):
            if isinstance(event, End):
                if event.cause in ("user", "busy"):
                    raise JobError(event.problem)
                if event.cause in ("time", "memory"):
                    raise JobError(f"{event.name}: {event.problem}")
                if event.problem is not None:
                    raise JobCrash(f"{event.problem}\n{event.details}")
                values.append(event.value)
            elif event.values is not None:
                watch(*event.values)
        return values

    def run(self, jobs: Iterable[Job], at_once: int | None) -> Iterator[Event | End]:
        """Run jobs, ``at_once`` at a time, and yield what they report, from ``Event(name, None)`` to End."""
        waiting = deque(jobs)
        while waiting or self._live:
            while waiting and (at_once is None or len(self._live) < at_once):
                job = waiting.popleft()
                self._start(job)
                yield Event(job.name, None)
            limited = any(live.job.limits != Limits() for live in self._live.values())
            for connection in wait(list(self._live), _GLANCE if limited else None):
                assert isinstance(connection, Connection)
                yield from self._heard(connection)
            yield from self._over_limits()

    def stop(self) -> None:
        """End every process that is still alive, and whatever it has started."""
        try:
            for live in self._live.values():
                live.process.terminate()
            deadline = time.monotonic() + _PATIENCE
            for live in self._live.values():
                live.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # at once where the user asks a second time
            for live in self._live.values():
                live.kill()
            self._live.clear()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, job: Job) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        log = None if job.log is None else job.log.resolve()  # a job may change its working directory
        gpu = self._gpus.take()
        own = {} if gpu is None else {gpus.VARIABLE: gpu}
        process = self._context.Process(
            target=child.run, args=(theirs, job.function, job.args, log, own), name=job.name
        )
        with (
            variables.safe_path(),
            starting.ready(),
        ):  # of the server, and of multiprocessing's own processes, which start with it
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._live[ours] = _Live(job, process, Inbox(ours.fileno()), gpu)

    def _heard(self, connection: Connection) -> Iterator[Event | End]:
        live = self._live[connection]
        try:
            for kind, *values in live.inbox.read():
                if kind == "event":
                    yield Event(live.job.name, tuple(values))
                else:
                    value, problem, details, cause = values
                    yield self._ended(connection, value=value, problem=problem, details=details, cause=cause)
                    return
        except EOFError:
            live.process.join(_PATIENCE)
            if live.process.exitcode == starting.UNGUARDED:
                yield self._ended(connection, problem=starting.unguarded(), cause="user")
                return
            yield self._died(connection, _death(live.process.exitcode))
        except (GarbledError, TypeError, ValueError) as error:  # no message, or one of another shape
            yield self._died(connection, f"its process wrote into the harness's own pipe ({in_one_line(error)})")

    def _died(self, connection: Connection, problem: str) -> End:
        return self._ended(connection, problem=problem, details=_last_words(self._live[connection].job), cause="died")

    def _over_limits(self) -> Iterator[End]:
        if time.monotonic() - self._looked < _GLANCE:
            return
        self._looked = time.monotonic()
        for connection, live in list(self._live.items()):
            if (found := live.excess()) is not None:
                cause, problem = found
                live.end_telling_where()
                live.kill()
                yield self._ended(connection, problem=problem, details=_last_words(live.job), cause=cause)

    def _ended(self, connection: Connection, **values: Any) -> End:
        connection.close()
        live = self._live.pop(connection)
        self._gpus.give_back(live.gpu)
        live.process.join(_PATIENCE)  # it ends what it started, and itself
        live.kill()
        if values.get("cause") != "busy":  # then it is another process's log
            _drop_empty(live.job.log)
        return End(live.job.name, **values)


def _resident(pid: int | None) -> int:
    """Bytes of a process and of those it started; 0 where it has ended."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(_own_bytes(member) for member in family)
    return 0


def _own_bytes(process: psutil.Process) -> int:
    """Resident bytes that are not of mapped files: those are shared, and go when others need the room."""
    with suppress(psutil.Error):
        used = process.memory_info()
        return int(used.rss - getattr(used, "shared", 0))
    return 0


def _drop_empty(log: Path | None) -> None:
    with suppress(OSError):
        if log is not None and log.stat().st_size == 0:
            log.unlink()


def _last_words(job: Job) -> str:
    return (
        f"no traceback: its process ended; what it printed is in {job.log.name}" if job.log else "no traceback: it died"
    )


def _death(exitcode: int | None) -> str:
    if exitcode is None:
        return "the process closed its connection and did not end"
    if exitcode < 0:
        named = {each.value: each.name for each in signal.Signals}  # most real-time signals have none
        return f"the process was killed by {named.get(-exitcode, f'signal {-exitcode}')}"
    return f"the process ended by itself with exit code {exitcode}"


def _nothing(report: Callable[..., None]) -> None:
    """Do nothing: the process has started."""
