"""What processes are told by their environment variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "prunebench"  # Python takes any text for yes; this one is known to be ours


def limit_threads(threads: int) -> None:
    """Tell the libraries that read it from the environment, this process's and its children's, before they load."""
    for name in _THREADS:
        os.environ[name] = str(threads)


def safe_path() -> AbstractContextManager[None]:
    """For a while, processes of multiprocessing start without the working folder at the head of their path.

    They run ``python -c``, so that a file of the user's there would be imported instead of a library of that name.
    """
    return changed({_SAFE_PATH: os.environ.get(_SAFE_PATH) or _OURS})


def drop_safe_path() -> None:
    """In a process so started: what it starts itself, a script of the user's, does not inherit that."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


@contextmanager
def changed(changes: dict[str, str | None]) -> Iterator[None]:
    """Variables set (None: unset) for a while."""
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
