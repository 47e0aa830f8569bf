"""Environment variables that processes are started with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "prunebench"  # Python takes any text for yes; this one is known to be ours


def limit_threads(threads: int) -> None:
    """Limit the threads of libraries that read the number from the environment when they load, in children too."""
    for name in _THREADS:
        os.environ[name] = str(threads)


def safe_path() -> AbstractContextManager[None]:
    """Let processes of multiprocessing start, for a while, without the working folder at the head of their path.

    They run ``python -c``, so that a file of the user's there would be imported instead of a library of that name.
    """
    return changed({_SAFE_PATH: os.environ.get(_SAFE_PATH) or _OURS})


def drop_safe_path() -> None:
    """Undo that in a process so started: a script of the user's that it starts must not inherit it."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


@contextmanager
def changed(changes: dict[str, str | None]) -> Iterator[None]:
    """Set variables (None: unset them) for a while."""
    before = {name: os.environ.get(name) for name in changes}
    try:
        _set(changes)
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
