"""The GPUs of this machine, as far as the command may know them without PyTorch, and who gets which."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""What CUDA reads when a process first uses it: numbers or identifiers, separated by commas."""


def visible() -> list[str]:
    """The GPUs that processes of this one see, named as :data:`VARIABLE` names them; none where nobody knows of any."""
    told = os.environ.get(VARIABLE)
    if told is None:
        return list(_installed())
    names = [name.strip() for name in told.split(",")]
    invalid = next((n for n, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:invalid]  # CUDA too ignores what comes behind one that is none


@cache
def _installed() -> tuple[str, ...]:
    """Their identifiers: numbers are not the same for CUDA and for the driver's tool."""
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return tuple(line.strip() for line in found.stdout.splitlines() if line.startswith("GPU-"))
    return ()


class Shares:
    """Gives every process one of several GPUs: one that the fewest have, of these the one given longest ago.

    Args:
        names: of the GPUs; where there is but one, or none, nothing is given, and processes see what there is.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names) if len(names) > 1 else []
        self._users: Counter[str] = Counter()

    def take(self) -> str | None:
        """A GPU for one more process; None where none is given."""
        if not self._names:
            return None
        name = min(self._names, key=lambda name: self._users[name])
        self._names.remove(name)
        self._names.append(name)
        self._users[name] += 1
        return name

    def give_back(self, name: str | None) -> None:
        """A process with this GPU has ended."""
        if name is not None:
            self._users[name] -= 1
