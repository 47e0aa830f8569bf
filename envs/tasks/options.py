"""The options of a task: what is known of one stands with its field, and the check and the command line ask it."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from prunebench.envs.errors import TaskError, check_choice

_KEY = "option"
_PATHS = ("FILE", "FOLDER")  # forms of values that are paths
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Option:
    """What a field's name, type and default do not say.

    Attributes:
        text: for the command line's help: a sentence, and what no value stands for.
        form: of a value on the command line, as ``N`` or ``FOLDER``.
        choices: that a value is one of, where there are any.
        least: number that a value may be.
        most: number that a value may be.
    """

    text: str
    form: str | None = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise TaskError where a value is none of the choices, or out of bounds; None never is."""
        if value is None:
            return
        if self.choices:
            check_choice(name, value, self.choices)
        low, high = self.least is not None and value < self.least, self.most is not None and value > self.most
        if low or high:
            raise TaskError(f"{name.replace('_', '-')} {value}: expected {self._bounds()}")

    def _bounds(self) -> str:
        if self.most is not None:
            return f"a number from {self.least} to {self.most}"
        return "a positive number" if self.least == 1 else f"a number, at least {self.least}"


def option(
    default: _Value,
    text: str,
    form: str | None = None,
    *,
    choices: Iterable[str] = (),
    least: int | None = None,
    most: int | None = None,
) -> _Value:
    """A field of a dataclass with what an :class:`Option` says of it."""
    return dataclasses.field(default=default, metadata={_KEY: Option(text, form, tuple(choices), least, most)})


def options(config: Any) -> dict[str, Option]:
    """The options of a dataclass, or of an instance, by the names of its fields."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(config)}


def normalise(config: Any) -> None:
    """Give the fields of a new dataclass values of Python's own types; those that cannot be given one stay.

    Lists and arrays become tuples, NumPy's numbers numbers, paths texts; ``~`` in a path is the home folder.
    """
    for field in dataclasses.fields(config):
        with suppress(TypeError, ValueError, OverflowError):
            found = _plain(field, getattr(config, field.name))
            at_home = found is not None and field.metadata[_KEY].form in _PATHS
            object.__setattr__(config, field.name, os.path.expanduser(found) if at_home else found)


def check_types(config: Any) -> None:
    """Raise TaskError where a field's value is nothing of the field's type."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        try:
            _plain(field, value)
        except (TypeError, ValueError, OverflowError):
            expected, _ = _PLAIN[_kind(field)]
            raise TaskError(f"{field.name.replace('_', '-')} {value!r}: expected {expected}") from None


def _plain(field: dataclasses.Field[Any], value: Any) -> Any:
    optional = str(field.type).endswith(" | None")
    return None if value is None and optional else _PLAIN[_kind(field)][1](value)


def _kind(field: dataclasses.Field[Any]) -> str:
    return str(field.type).removesuffix(" | None")


def _text(value: Any) -> str:
    if not isinstance(path := os.fspath(value), str):
        raise TypeError
    return str(path)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # NumPy's
        raise TypeError
    return bool(value)


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, str | bytes):
        raise TypeError
    return tuple(float(part) for part in value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes):
        raise TypeError
    return tuple(_text(part) if isinstance(part, str) else str(_whole(part)) for part in value)


_PLAIN: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "str": ("a text", _text),
    "int": ("a whole number", _whole),
    "bool": ("true or false", _yes_or_no),
    "tuple[float, ...]": ("three numbers", _numbers),
    "tuple[str, ...]": ("a list of names", _texts),
}
"""By the type of a field what is expected, and what makes a value of it."""
