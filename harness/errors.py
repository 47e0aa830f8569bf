"""The errors that are the user's to mend: each is one line, and the command ends with exit code 2 (1 where said)."""

from __future__ import annotations

import math
from numbers import Real

from prunebench.envs.environment.budget import BudgetError
from prunebench.envs.errors import TaskError


class HarnessError(ValueError):
    """Something outside the program is wrong; the message is one line that says what."""


class ConfigError(HarnessError):
    """A setting is wrong, or is not the existing experiment's; the message names the value and what was expected."""


class RegistryError(HarnessError):
    """Two packages register an agent under one name, or an agent cannot be imported."""


class StoreError(HarnessError):
    """A file of an experiment cannot be used; the message names the file and, where it has them, the line."""


class DamagedError(StoreError):
    """A file of an experiment is not what was written; the run that it belongs to can be begun afresh."""


class BusyError(StoreError):
    """A run is being done by another process."""


class UnmetError(HarnessError):
    """What was asked for was tried and cannot be had on this machine: the command ends with exit code 1."""


def check_count(name: str, value: int) -> None:
    """Raise ConfigError unless ``value`` is at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} {value}: expected a whole number, at least 1")


def check_positive(name: str, value: float) -> None:
    """Raise ConfigError unless ``value`` is a finite number above 0."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} {f'{value:g}' if number else repr(value)}: expected a positive number")


_MESSAGE = 1000  # characters of a message that are kept


def in_one_line(error: BaseException) -> str:
    """An error's message, whatever it is made of: a line that can be written anywhere."""
    try:
        return plain_line(str(error))
    except Exception as second:
        return f"(no message: {type(second).__name__} while it was made)"


def plain_line(text: str) -> str:
    """A text as one line of bounded length that UTF-8 can hold."""
    line = " ".join(plain(text).split())
    return line if len(line) <= _MESSAGE else f"{line[:_MESSAGE]} ..."


def plain(text: str) -> str:
    """A text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


USER_ERRORS = (HarnessError, TaskError, BudgetError)
