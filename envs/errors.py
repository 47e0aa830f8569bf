"""The error of a task that cannot be set up, and how a wrong name is answered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TaskError(ValueError):
    """A network, weights, data set or option cannot be used; the message is one line that names the value."""


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise TaskError unless ``value`` is one of ``choices``, naming them and the nearest."""
    choices = sorted(choices)
    if value not in choices:
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{what} {value!r} is unknown: expected one of {', '.join(choices)}{hint}")
