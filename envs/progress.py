"""Progress of long work: how it is told, wherever a function has an argument ``progress`` or ``report``.

It is called again and again while the work goes on, with three plain values:

- ``what``: the part of the work that is going on, in a few words (``training the dense network``);
- ``done``: how much of this part is done;
- ``total``: how much there is of it, in the same unit (steps, images, networks).

When ``done`` equals ``total`` the part is over. Whoever listens may show it or ignore it; the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with ``what``, ``done`` and ``total``, in this order."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
