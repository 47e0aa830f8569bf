"""Agents as they are named: ``bo``, ``bo:preset=gpyopt2021,initial=5``, ``my_pkg.module:MyAgent:step=0.1``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from prunebench.harness.errors import ConfigError

CONTROLS = ("uniform", "global", "random", "greedy")
"""The agents that stand in every table: one that does not beat them has not shown anything."""

_TEXT = r'"(?:[^"\\]|\\.)*"'
_INNER = rf"\[(?:{_TEXT}|[^\[\]\"])*\]"  # a list of plain values
_LIST = rf"\[(?:{_TEXT}|{_INNER}|[^\[\]\"])*\]"  # and of such lists
_PIECE = re.compile(
    rf'(?:{_TEXT}|{_LIST}|[^\s,"\[]|\[)+'
)  # between spaces and commas, which quotes and brackets protect
_OPTION = re.compile(r"(?:(?P<agent>[^=]*):)?(?P<key>[^:=]*)=(?P<value>.*)", re.DOTALL)
_PYTHON = {"True": True, "False": False, "None": None}
_LONGEST = 100  # characters of a folder's name


@dataclass(frozen=True)
class AgentSpec:
    """An agent and what its constructor is given besides the seed.

    Attributes:
        name: its name in the registry, or ``package.module:Class``.
        options: pairs of keyword and JSON-able value, sorted by keyword.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def make(cls, name: str, options: Mapping[str, Any]) -> AgentSpec:
        """From options in any order.

        Raises:
            ConfigError: a value is none that JSON has.
        """
        for key, value in options.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise ConfigError(f"agent {name!r}: {key} {value!r}: expected a number, a text or a list") from None
        return cls(name, tuple(sorted(options.items())))

    @property
    def label(self) -> str:
        """Its name in tables and messages: what one would write on the command line."""
        options = ",".join(f"{key}={_text(value)}" for key, value in self.options)
        return f"{self.name}:{options}" if options else self.name

    def to_plain(self) -> Any:
        """The form in an experiment's file: the name, or the name with its options as a mapping."""
        return {self.name: dict(self.options)} if self.options else self.name

    @classmethod
    def from_plain(cls, item: Any) -> AgentSpec:
        """From what stands in an experiment's file, or text as on the command line; specs are returned as they are.

        Raises:
            ConfigError: it is neither one agent's text nor such a mapping.
        """
        if isinstance(item, AgentSpec):
            return item
        if isinstance(item, str) and len(specs := parse(item)) == 1:
            return specs[0]
        if isinstance(item, Mapping) and len(item) == 1:
            ((name, options),) = item.items()
            if isinstance(name, str) and isinstance(options or {}, Mapping):
                return cls.make(name, {str(key): value for key, value in (options or {}).items()})
        raise ConfigError(f"agent {item!r}: expected one agent's name, or its name and a mapping of its options")


def folder_name(label: str) -> str:
    """A label as a folder's name; different labels have different ones."""
    name = quote(label, safe=":,=").replace(":", "@")
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def parse(text: str) -> list[AgentSpec]:
    """The agents of a command line, between spaces or commas; a piece ``key=value`` belongs to the agent before it.

    A value is JSON (or ``True``, ``False``, ``None``) where it can be read so, else text; ``"..."`` always is text.

    Raises:
        ConfigError: an option stands before any agent, has no name, or is given twice.
    """
    agents: list[tuple[str, dict[str, Any]]] = []
    for piece in _PIECE.findall(text):
        option = _OPTION.fullmatch(piece)
        name = piece if option is None else option["agent"]
        if name is not None:
            agents.append((name, {}))
        if option is not None:
            _add_option(agents, option["key"], _value(option["value"]), piece)
    return [AgentSpec.make(name, options) for name, options in agents]


def _add_option(agents: list[tuple[str, dict[str, Any]]], key: str, value: Any, piece: str) -> None:
    if not agents:
        raise ConfigError(f"agents: option {piece!r} stands before any agent: expected name:key=value")
    name, options = agents[-1]
    if not key:
        raise ConfigError(f"agent {name!r}: {piece!r}: expected key=value")
    if key in options:
        raise ConfigError(f"agent {name!r}: option {key!r} is given twice")
    options[key] = value


def _value(text: str) -> Any:
    if text in _PYTHON:
        return _PYTHON[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(value: Any) -> str:
    """The shortest text that is read as this value."""
    if (
        isinstance(value, str)
        and value
        and _value(value) == value
        and _PIECE.fullmatch(value)
        and not set('"[]') & set(value)
    ):
        return value
    return json.dumps(value, separators=(",", ":"))
