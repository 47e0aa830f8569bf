"""The options of a task: what is known of one stands with its field, and the check and the command line ask it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from prunebench.envs.errors import TaskError, check_choice

_KEY = "option"
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
