"""Processes on this machine: started from a server that has imported the heavy libraries once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from harness.errors import USER_ERRORS, HarnessError

HEAVY_MODULES = (
    *("torch", "torchvision", "gymnasium", "sklearn.datasets", "harness.runner", "envs.preparation"),
    *("envs.digits", "envs.imagefolder", "envs.imagenet", "envs.cifar", "envs.resnet"),
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE = 5.0  # seconds between asking a process to end and ending it

Function = Callable[..., Any]
"""What a process runs, called with ``report`` (sends its plain arguments to the parent) and the job's arguments."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Tell the libraries that read it from the environment, this process's and its children's, before they load."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)


@dataclass(frozen=True)
class Job:
    """A function to run in a process of its own, and the name under which it is spoken of."""

    name: str
    function: Function
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Event:
    """What a job reported: its ``report`` arguments, or that it began (None)."""

    name: str
    values: tuple[Any, ...] | None


@dataclass(frozen=True)
class End:
    """A job's process has ended. ``problem`` says in one line what went wrong; ``details`` may hold a traceback."""

    name: str
    value: Any = None
    problem: str | None = None
    details: str = ""


class JobError(HarnessError):
    """A single job failed because of something the user can mend."""


class JobCrash(RuntimeError):
    """A single job failed for another reason; the message is its traceback."""


class Processes:
    """Starts processes that share one import of the heavy libraries. The parent imports none of them.

    Args:
        threads: of each process, for the libraries that read it from the environment when they are loaded.
        modules: to import ahead, besides :data:`HEAVY_MODULES`.
    """

    def __init__(self, threads: int, modules: Iterable[str] = ()) -> None:
        limit_threads(threads)
        # Deprecations inside third-party libraries are nothing that a user of this command can act on.
        os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning,ignore::DeprecationWarning")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*HEAVY_MODULES, *modules])
        self._live: dict[Connection, tuple[str, BaseProcess]] = {}

    def start_up(self) -> float:
        """Start the server; returns the seconds until it was ready."""
        started = time.perf_counter()
        self.call(Job("start-up", _nothing))
        return time.perf_counter() - started

    def call(self, job: Job, watch: Callable[..., None] = lambda *values: None) -> Any:
        """Run one job to its end; ``watch`` gets what it reports.

        Raises:
            JobError: it raised an error of the user's.
            JobCrash: it raised anything else, or its process died.
        """
        for event in self.run([job], 1):
            if isinstance(event, End):
                if event.problem is None:
                    return event.value
                raise JobCrash(f"{event.problem}\n{event.details}") if event.details else JobError(event.problem)
            if event.values is not None:
                watch(*event.values)
        raise AssertionError("a job ends with End")

    def run(self, jobs: Iterable[Job], at_once: int) -> Iterator[Event | End]:
        """Run jobs, ``at_once`` at a time, and yield what they report, from ``Event(name, None)`` to End."""
        waiting = deque(jobs)
        while waiting or self._live:
            while waiting and len(self._live) < at_once:
                job = waiting.popleft()
                self._start(job)
                yield Event(job.name, None)
            for connection in wait(list(self._live)):
                assert isinstance(connection, Connection)
                yield from self._heard(connection)

    def stop(self) -> None:
        """End every process that is still alive."""
        for _, process in self._live.values():
            process.terminate()
        for _, process in self._live.values():
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._live.clear()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, job: Job) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_child, args=(theirs, job.function, job.args), name=job.name)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._live[ours] = (job.name, process)

    def _heard(self, connection: Connection) -> Iterator[Event | End]:
        name, process = self._live[connection]
        try:
            kind, *values = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            yield self._ended(connection, End(name, problem=_death(process.exitcode), details="no traceback: it died"))
            return
        if kind == "event":
            yield Event(name, tuple(values))
        else:
            process.join()
            yield self._ended(connection, End(name, *values))

    def _ended(self, connection: Connection, end: End) -> End:
        connection.close()
        del self._live[connection]
        return end


def _child(connection: Connection, function: Function, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    message: tuple[Any, ...]
    try:
        message = ("end", function(lambda *values: connection.send(("event", *values)), *args))
    except (*USER_ERRORS, OSError) as error:
        message = ("end", None, " ".join(str(error).split()))
    except Exception as error:
        message = ("end", None, f"{type(error).__name__}: {' '.join(str(error).split())}", traceback.format_exc())
    connection.send(message)
    connection.close()


def _die_with_parent() -> None:
    """Without this a run would go on, and keep its lock, when the command itself is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"the process was killed by {signal.Signals(-exitcode).name}"
    return f"the process ended by itself with exit code {exitcode}"


def _nothing(report: Function) -> None:
    """A process that has started."""
