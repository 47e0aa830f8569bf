"""The error of a task that cannot be set up, and the answer to a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


class TaskError(ValueError):
    """A network, weights, data set or option cannot be used; the message is one line that names the value."""


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise TaskError unless ``value`` is one of ``choices``, naming them and the nearest."""
    choices = sorted(choices)
    if value not in choices:
        raise TaskError(
            f"{what} {value!r} is unknown: expected one of {', '.join(choices)}{did_you_mean(value, choices)}"
        )


def did_you_mean(value: str, choices: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """The end of a message about a wrong value: the nearest of the choices, as it is shown; empty if none is near."""
    near = difflib.get_close_matches(value, list(choices), n=1)
    return f"; did you mean {shown(near[0])!r}?" if near else ""
