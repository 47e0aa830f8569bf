"""Lists what there is to choose from, section by section, for ``prunebench list``."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

from prunebench.envs.choices import CRITERIA, RECONSTRUCTIONS, SCOPES
from prunebench.envs.data import datasets
from prunebench.envs.networks import models
from prunebench.harness.errors import USER_ERRORS
from prunebench.harness.experiments import agent_options, registry

_INDENT = "  "

MEANINGS = {
    "scope": SCOPES,
    "importance": {name: criterion.meaning for name, criterion in CRITERIA.items()},
    "reconstruction": {name: way.meaning for name, way in RECONSTRUCTIONS.items()},
}
"""The choices of a task's options, and what each means."""


def agents() -> Iterator[str]:
    """Every agent and below it its options; importing all of them takes seconds. One that fails is listed with why."""
    for name in registry.names():
        try:
            taken = agent_options.takes(registry.load(name))
        except USER_ERRORS as error:
            yield f"{name}: cannot be used: {' '.join(str(error).split())}"
            continue
        yield f"{name}{' (a control: part of every table)' if name in registry.CONTROLS else ''}"
        yield from (f"{_INDENT}{_option(parameter)}" for parameter in taken.values())


def networks() -> Iterator[str]:
    """Every network's name, and the forms of names."""
    yield from models.names()
    yield from (f"{name}: of another package; needs --weights" for name in models.registered())
    yield from (f"{pattern}: {meaning}" for pattern, meaning in models.PATTERNS.items())


def data_sets() -> Iterator[str]:
    """Every data set and below it the options that it needs or leaves open. One that fails is listed with why."""
    for name in datasets.names():
        try:
            entry = datasets.known(name)
        except USER_ERRORS as error:
            yield f"{name}: cannot be used: {' '.join(str(error).split())}"
            continue
        yield name
        yield from _open(entry)
    yield f"{datasets.PATTERN}: your own arrays, of a function without arguments"
    yield from _open(datasets.ARRAYS)


def _open(entry: datasets.DataSet) -> Iterator[str]:
    if not entry.options:
        yield f"{_INDENT}no options{': embedded' if entry == datasets.DATASETS['digits'] else ''}"
    for option in entry.options:
        needed = option == "data" and entry.folders
        what = f"needed, a folder with {entry.expected}" if needed else "optional"
        yield f"{_INDENT}--{option.replace('_', '-')}: {what}"


def choices() -> Iterator[str]:
    """The choices of a task's options, and what each means."""
    for name, meanings in MEANINGS.items():
        yield f"--{name}"
        yield from (f"{_INDENT}{choice}: {meaning}" for choice, meaning in meanings.items())


SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "agents": agents,
    "models": networks,
    "datasets": data_sets,
    "options": choices,
}


def text(section: str) -> str:
    """A section as an indented list under its name."""
    return "\n".join([f"{section}:", *(f"{_INDENT}{line}" for line in SECTIONS[section]())])


def _option(parameter: inspect.Parameter) -> str:
    spoken = type_text(agent_options.annotation(parameter))
    default = "needed" if parameter.default is parameter.empty else f"default {_value(parameter.default)}"
    return f"{parameter.name}: {spoken}, {default}"


def type_text(annotation: Any) -> str:
    """A type as one would write the values: ``int or none``, ``modern | paper``."""
    origin = get_origin(annotation)
    if annotation is Any:
        return "anything"
    if origin is Literal:
        return " | ".join(map(_value, get_args(annotation)))
    if origin in (Union, types.UnionType):
        parts = [type_text(part) for part in get_args(annotation)]
        return (" | " if all(get_origin(part) is Literal for part in get_args(annotation)) else " or ").join(parts)
    if annotation is type(None):
        return "none"
    return annotation.__name__ if isinstance(annotation, type) and origin is None else str(annotation)


def _value(value: Any) -> str:
    """A default or a choice; what stands for "not given" is the agent's to decide."""
    return "none" if value is None else str(value)
