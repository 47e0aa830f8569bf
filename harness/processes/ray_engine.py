"""Runs on a Ray cluster: the surface of :class:`prunebench.harness.processes.local.Processes`, on several machines.

A task of Ray's is only a supervisor. It starts the job in a process of its own, as this machine's engine does, so that
limits, log and end of a job are the same; Ray's own worker never runs anything of a plug-in's.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from prunebench.envs import cache
from prunebench.harness.errors import BusyError
from prunebench.harness.processes import child, ray_cluster, variables
from prunebench.harness.processes.local import Cause, End, Event, Job, Processes

_GLANCE = 0.5  # seconds between two looks at the mailbox
_GATHERED = 0.2  # seconds for which a job's events are gathered before they are sent
_PATIENCE = 10.0  # seconds that a run waits for the process of an earlier attempt to let go of it


class RayProcesses:
    """Runs jobs as tasks of a Ray cluster. What is lost with a worker or a node is begun again by Ray.

    Args:
        threads: threads of each job's process; as many CPUs are asked for.
        attempts: how often a job is begun at most when its worker or node is lost.
        gpus: GPUs of each job; a fraction where jobs share one.
        address: ``host:port`` of an existing cluster; None starts one on this machine for as long as this is open.

    Raises:
        ConfigError: Ray is not installed, there is no token for an existing cluster. When this is entered: there is no
            cluster to be had, or none that asks for a token.
    """

    def __init__(self, threads: int, *, attempts: int = 3, gpus: float = 0.0, address: str | None = None) -> None:
        ray_cluster.check(address)
        variables.limit_threads(threads)
        self._threads, self._attempts, self._gpus, self._address = threads, attempts, gpus, address
        self._stack = ExitStack()

    def __enter__(self) -> RayProcesses:
        connected = ray_cluster.connected(self._address, self._threads, self._gpus, _variables())
        with ExitStack() as stack:
            self._ray = stack.enter_context(connected)
            self._mailbox = _mailbox(self._ray)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, jobs: Iterable[Job], at_once: int | None = None) -> Iterator[Event | End]:
        """Run jobs, ``at_once`` at a time (None: as many as the cluster holds), and yield what they report."""
        waiting = deque(jobs)
        live: dict[Any, Job] = {}
        begun: set[str] = set()
        try:
            while waiting or live:
                while waiting and (at_once is None or len(live) < at_once):
                    job = waiting.popleft()
                    live[self._submit(job)] = job
                ended, _ = self._ray.wait(list(live), timeout=_GLANCE)
                yield from self._news({job.name for job in live.values()}, begun)
                for reference in ended:
                    yield self._end(reference, live.pop(reference))
        finally:
            if self._ray.is_initialized():  # or Ray would start a cluster of its own accord
                for reference in live:
                    self._ray.cancel(reference, force=True)

    def _submit(self, job: Job) -> Any:
        options = {"num_cpus": self._threads, "num_gpus": self._gpus, "max_retries": self._attempts - 1}
        task = self._ray.remote(**options, max_calls=1, retry_exceptions=False)(_supervise)
        # Pickled here, for the job's process: the supervisor needs nothing of what these import.
        packed = replace(job, function=_unpacked, args=(pickle.dumps((job.function, job.args)),))
        return task.options(name=job.name).remote(packed, self._threads, Path.cwd(), self._mailbox)

    def _news(self, names: set[str], begun: set[str]) -> Iterator[Event]:
        """The events that jobs have reported; that a job began comes once, also where Ray began it again."""
        events: list[Event] = []
        with suppress(self._ray.exceptions.RayError):  # progress is lost with the mailbox's node, and nothing else
            events = self._ray.get(self._mailbox.take.remote(), timeout=_PATIENCE)
        for event in events:
            if event.name in names and not (event.values is None and event.name in begun):
                begun.add(event.name)
                yield event

    def _end(self, reference: Any, job: Job) -> End:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.OutOfMemoryError:
            return _failed(job, "Ray ended it: its machine ran out of memory", "memory")
        except errors.RayTaskError as error:  # the supervisor's own: this package is not there, or not the same
            return _failed(job, f"its Ray task failed: {str(error).strip().splitlines()[-1]}", "error", str(error))
        except errors.RayError as error:
            # Not "died": Ray has begun it again already.
            text = f"its Ray worker was lost, attempts: {self._attempts} ({type(error).__name__})"
            return _failed(job, text, "error", str(error))


def _failed(job: Job, problem: str, cause: Cause, details: str = "") -> End:
    return End(job.name, problem=problem, details=details, cause=cause)


def _variables() -> dict[str, str]:
    """The environment variables with which a job's process finds the same modules and data as this one."""
    ours = {k: v for k, v in os.environ.items() if k.startswith("PRUNEBENCH_") or k.endswith("_NUM_THREADS")}
    installed = (sys.prefix, sys.base_prefix)
    paths = [os.path.abspath(p) for p in sys.path if os.path.exists(p or ".") and not p.startswith(installed)]
    paths = [path for path in paths if path != os.getcwd()]  # the supervisor puts it after what is installed
    return {
        **ours,
        "PRUNEBENCH_CACHE": str(cache.directory().absolute()),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }


def _mailbox(ray: Any) -> Any:
    """Where events wait for the driver, on its own node where that is possible."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    here = affinity(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Mailbox).remote()


class _Mailbox:
    """An actor's state: events that nobody has taken yet."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, events: list[Event]) -> None:
        self._events += events

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _supervise(job: Job, threads: int, folder: Path, mailbox: Any) -> End:
    """Run the job in a process of its own, and pass on what that reports; what a Ray worker does."""
    try:
        os.chdir(folder)
    except OSError as error:
        where = f"{os.uname().nodename} lacks the working directory of the command"
        return _failed(job, f"{where}: {error}: it, results and cache have to be shared by all nodes", "user")
    sys.path.append(str(folder))  # of the job's process too; last, so that it hides nothing
    courier = _Courier(mailbox)
    try:
        with _Spawned(threads) as processes:
            for event in processes.run([job], 1):
                if isinstance(event, End):
                    return event
                courier.send(event)
        raise AssertionError("a job ends with End")
    finally:
        courier.close()


class _Spawned(Processes):
    """One process that imports what it needs and nothing ahead; so it is not started from the server."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._context = multiprocessing.get_context("spawn")  # type: ignore[assignment]
        vars(sys.modules["__main__"]).pop("__file__", None)  # or the process would run Ray's own script once more


class _Courier:
    """Takes events to the mailbox, several at a time, on a thread of its own: a job that reports never waits."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Put it on its way."""
        self._events.put(event)

    def close(self) -> None:
        """Wait, not for ever, until everything has arrived."""
        self._events.put(None)
        self._thread.join(2 * _PATIENCE)

    def _carry(self) -> None:
        ray, last = importlib.import_module("ray"), None
        batch: list[Event | None] = []
        while None not in batch:
            batch = [self._events.get()]
            time.sleep(_GATHERED)
            with suppress(queue.Empty):
                while True:
                    batch.append(self._events.get_nowait())
            # Not waited for before the end: a task that waits gives its CPU to another one.
            last = self._mailbox.add.remote([event for event in batch if event is not None])
        with suppress(ray.exceptions.RayError):
            ray.get(last, timeout=_PATIENCE)


def _unpacked(report: Any, packed: bytes) -> Any:
    """Call the job's function, in its process; wait for what is left of an attempt that Ray has lost."""
    function, args = pickle.loads(packed)
    function = child.resolved(function)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return function(report, *args)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_GLANCE)
