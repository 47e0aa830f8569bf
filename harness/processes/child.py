"""Runs one job in a process of its own and reports what became of it."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from prunebench.envs.files import make_folder
from prunebench.harness.errors import USER_ERRORS, BusyError, in_one_line
from prunebench.harness.processes import guard, messages, variables

LOG_BYTES = 1 << 20
"""Bytes of a process's output that are kept at most; the rest is counted."""


def run(
    connection: Connection,
    function: Callable[..., Any] | str,
    args: tuple[Any, ...],
    log: Path | None,
    own: Mapping[str, str],
) -> None:
    """Call a function with ``report`` and its arguments, send its result, and end, whatever threads are left.

    The last message is ``("end", value, problem, details, cause)``, see
    :class:`prunebench.harness.processes.local.End`.

    Args:
        connection: the writing end of the pipe to the parent.
        function: the function to call, or its name as ``package.module:function``.
        args: the function's arguments after ``report``.
        log: file for standard output and error; None leaves them where they are.
        own: environment variables of this process, beside those that all have.
    """
    os.environ.update(own)
    variables.drop_safe_path()
    guard.enter()
    output = None if log is None else _Output(log)
    lock = threading.Lock()

    def send(*message: Any) -> None:
        with lock:
            try:
                messages.send(connection.fileno(), message)
            except BrokenPipeError:
                os._exit(1)  # whoever wanted it is gone, and the guard is about to end this: no failure of the job's

    code = 1
    try:
        send("end", *_outcome(function, lambda *values: send("event", *values), args))
        code = 0
    except OSError:  # the function has closed what is not its own
        traceback.print_exc()
    finally:
        if output is not None:
            output.close()
        os._exit(code)  # threads that an agent left behind do not keep it alive


def resolved(function: Callable[..., Any] | str) -> Callable[..., Any]:
    """What a job's function is, where it may be sent by its name."""
    return resolve_name(function) if isinstance(function, str) else function


def _outcome(
    function: Callable[..., Any] | str, report: Callable[..., None], args: tuple[Any, ...]
) -> tuple[Any, str | None, str, str]:
    """The function's value, or problem, details and cause of its failure."""
    try:
        return resolved(function)(report, *args), None, "", ""
    except BusyError as error:
        return None, str(error), "", "busy"
    except (*USER_ERRORS, OSError) as error:
        return None, in_one_line(error), "", "user"
    except BaseException as error:  # also SystemExit and what derives from nothing else
        return None, f"{type(error).__name__}: {in_one_line(error)}", traceback.format_exc(), "error"


class _Output:
    """Standard output and error, of C libraries too, in a file that does not grow beyond :data:`LOG_BYTES`.

    What Python knows of a crash is written past that limit, :data:`prunebench.harness.processes.guard.WHERE` included.

    Args:
        path: the file, which is appended to.
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
            make_folder(path.parent)
            self._crash = path.open("ab")
            faulthandler.enable(self._crash)

    def close(self) -> None:
        """Write what is still on its way."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # an agent may have put anything there
                stream.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)  # the pipe's last writers: its reader comes to the end
        self._thread.join(1.0)
        faulthandler.disable()

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
