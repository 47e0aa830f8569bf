"""What goes on in a process of its own around the function that it was started for."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.errors import USER_ERRORS, BusyError

LOG_BYTES = 1 << 20
"""What is kept of a process's output at most; the rest is counted."""


def run(connection: Connection, function: Callable[..., Any], args: tuple[Any, ...], log: Path | None) -> None:
    """Call a function with ``report`` and its arguments, send what comes of it, and end, whatever threads are left.

    The last message is ``("end", value, problem, details, cause)``, see :class:`harness.executors.End`.

    Args:
        connection: to the parent.
        function: to be called.
        args: after ``report``.
        log: file for standard output and error.
    """
    os.setsid()  # whatever the function starts is found, and ended, by the group
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    output = None if log is None else _Output(log)
    lock = threading.Lock()

    def send(*message: Any) -> None:
        with lock:
            connection.send(message)

    send("end", *_outcome(function, lambda *values: send("event", *values), args))
    connection.close()
    if output is not None:
        output.close()
    os._exit(0)  # threads that an agent left behind do not keep it alive


def _outcome(
    function: Callable[..., Any], report: Callable[..., None], args: tuple[Any, ...]
) -> tuple[Any, str | None, str, str]:
    """Value, problem, details and cause."""
    try:
        return function(report, *args), None, "", ""
    except BusyError as error:
        return None, str(error), "", "busy"
    except (*USER_ERRORS, OSError) as error:
        return None, " ".join(str(error).split()), "", "user"
    except BaseException as error:  # also SystemExit and what derives from nothing else
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return None, text, traceback.format_exc(), "error"


def _die_with_parent() -> None:
    """Without this a run would go on, and keep its lock, when the command itself is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Output:
    """Standard output and error, of C libraries too, in a file that does not grow beyond :data:`LOG_BYTES`.

    What Python knows of a crash is written past that limit. A process that prints nothing leaves no file.

    Args:
        path: of the file; appended to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dropped = 0
        reading, writing = os.pipe()
        for stream in (1, 2):
            os.dup2(writing, stream)
        os.close(writing)
        sys.stdout = open(1, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115 - as long as the process
        sys.stderr = open(2, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115
        self._thread = threading.Thread(target=self._copy, args=(reading,), daemon=True)
        self._thread.start()
        with suppress(OSError):
            self._crash = path.open("ab")
            faulthandler.enable(self._crash)

    def close(self) -> None:
        """Write what is still on its way."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)  # the pipe's last writers: its reader comes to the end
        self._thread.join(1.0)
        faulthandler.disable()
        with suppress(OSError):
            if self._path.stat().st_size == 0:
                self._path.unlink()

    def _copy(self, reading: int) -> None:
        left = LOG_BYTES
        while chunk := os.read(reading, 1 << 16):
            kept = chunk[:left]
            left -= len(kept)
            self._dropped += len(chunk) - len(kept)
            self._append(kept)
        if self._dropped:
            self._append(f"\n[{self._dropped} bytes more were printed and not kept]\n".encode())

    def _append(self, content: bytes) -> None:
        with suppress(OSError), self._path.open("ab") as file:  # a full disk must not stop whoever prints
            file.write(content)
