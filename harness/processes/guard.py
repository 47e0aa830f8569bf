"""A process that watches over the one a job runs in: nothing that the job starts outlives it, however either ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 2.0  # seconds for all of them to be gone
WHERE = signal.SIGABRT
"""Ends a job's process once it has written the stacks of its threads into its log."""


def enter() -> None:
    """Go on in a copy of this process. This one waits, ends what the copy leaves behind, and ends in the same way.

    The copy may do anything: hold the interpreter's lock for ever, die, start processes in sessions of their own.
    """
    os.setsid()  # whatever the job starts is found, and ended, by the group
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _adopt_orphans()
    copy = os.fork()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if copy:
        _watch(copy)


def end_family(pid: int) -> None:
    """End what a process has started, its orphans included where the system hands them to it, and wait until it is so.

    Returns at once where the process itself is gone.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (family := _alive_below(pid)):
        for member in family:
            with suppress(psutil.Error):
                member.kill()
        time.sleep(0.01)


def _alive_below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children(recursive=True) if _alive(child)]
    return []


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _watch(copy: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(copy, signal.SIGTERM))
    signal.signal(WHERE, lambda *_: _end_without_core(copy))
    _, status = os.waitpid(copy, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing to hand it on to
    end_family(os.getpid())
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the copy has left one, where that is wanted
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


def _end_without_core(copy: int) -> None:
    with suppress(OSError, AttributeError):  # not every system can
        resource.prlimit(copy, resource.RLIMIT_CORE, (0, 0))
    os.kill(copy, WHERE)


def _adopt_orphans() -> None:
    """On Linux a process whose parent has ended becomes this one's child. Elsewhere only the group is ended."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    """Without this a run would go on, and keep its lock, when the command itself is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    end_family(os.getpid())
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
