"""What multiprocessing needs of the process that it starts others from, and does not say when it lacks it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import process, util
from pathlib import Path
from typing import Any

from prunebench.harness.errors import HarnessError

UNGUARDED = 78
"""Exit code of a process that was to import the script that started it, and found that it would begin it again."""

_LONGEST = 103 - len("/pymp-12345678/listener-12345678")  # bytes of a folder: a socket's path has 103 on every system
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def refuse_within_import() -> None:
    """End a process, with :data:`UNGUARDED`, that starts processes while it imports the script that started it."""
    if getattr(process.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def unguarded() -> str:
    """What to say of a script whose processes ended so."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return (
        f"script {str(script)!r} would begin its work again in every process that it starts: "
        'put its calls under `if __name__ == "__main__":`'
    )


@contextmanager
def ready() -> Iterator[None]:
    """Let processes start, for a while: where their sockets' paths are short, and importing a script that is there.

    A process imports the script that started it, for what that defines. Where the script is no file (``python -``), or
    one that has gone, there is nothing to import.

    Raises:
        HarnessError: there is no folder whose path is short enough for sockets.
    """
    _shorten_sockets()
    main = vars(sys.modules["__main__"])
    file = main.get("__file__")
    if file is None or Path(process.ORIGINAL_DIR or "", file).exists():  # type: ignore[attr-defined]
        yield
        return
    hidden = {name: main[name] for name in ("__file__", "__spec__")}
    try:
        del main["__file__"]
        main["__spec__"] = None
        yield
    finally:
        main.update(hidden)


def _shorten_sockets() -> None:
    """Have multiprocessing's own folder, which only this user can read and which goes at the end, where it is short."""
    config: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    usual = tempfile.gettempdir()
    if len(os.fsencode(config.get("tempdir") or usual)) <= _LONGEST:
        return
    short = next((folder for folder in _SHORT if os.access(folder, os.W_OK | os.X_OK)), None)
    if short is None:
        raise HarnessError(
            f"TMPDIR {usual!r}: its path has {len(os.fsencode(usual))} bytes, and sockets allow {_LONGEST}: "
            "expected a folder whose path is shorter"
        )
    before, tempfile.tempdir = tempfile.tempdir, short
    try:
        config["tempdir"] = None
        util.get_temp_dir()
    finally:
        tempfile.tempdir = before
