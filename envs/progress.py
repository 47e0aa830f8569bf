"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
