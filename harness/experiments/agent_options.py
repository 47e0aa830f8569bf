"""Options of agents: named, typed and validated by the constructor that takes them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from prunebench.envs.errors import check_choice, did_you_mean
from prunebench.harness.errors import RegistryError

_SEED = "seed"


def takes(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keywords of a constructor besides ``seed``."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = _signature(constructor).parameters
    return {name: p for name, p in parameters.items() if p.kind in named and name != _SEED}


def typed(agent: str, constructor: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the constructor's annotations want them (of an option without annotation: the type of its default).

    Args:
        agent: its name, for errors.
        constructor: the agent's constructor.
        options: JSON-able values.

    Raises:
        RegistryError, TaskError: an option is unknown, missing or of another type; or the constructor takes no seed.
    """
    parameters, anything = takes(constructor), _takes_anything(constructor)
    if _SEED not in _signature(constructor).parameters and not anything:
        raise RegistryError(f"agent {agent!r} takes no seed: expected a constructor with the keyword seed")
    for name in options:
        _check_name(agent, name, parameters, anything)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise RegistryError(f"agent {agent!r}: option {name!r} is missing: expected {agent}:{name}=...")
    return {
        name: _typed(agent, name, value, annotation(parameters[name])) if name in parameters else value
        for name, value in options.items()
    }


def _signature(constructor: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(constructor, eval_str=True)
    except Exception:  # annotations that exist for a type checker only
        pass
    try:
        return inspect.signature(constructor)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"agent {constructor!r}: expected a class with the keyword seed: {error}") from error


def _takes_anything(constructor: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in _signature(constructor).parameters.values())


def _check_name(agent: str, name: str, parameters: Mapping[str, Any], anything: bool) -> None:
    if name == _SEED:
        raise RegistryError(f"agent {agent!r}: the seed is no option: every agent runs with each of --seeds")
    if anything or name in parameters:
        return
    if not parameters:
        raise RegistryError(f"agent {agent!r} has no options: {name!r} cannot be set")
    check_choice(f"agent {agent!r}: option", name, parameters)


def annotation(parameter: inspect.Parameter) -> Any:
    """The type that an option is validated by: its annotation, else the type of its default, else anything."""
    if parameter.annotation is not parameter.empty and not isinstance(parameter.annotation, str):
        return parameter.annotation
    plain = isinstance(parameter.default, bool | int | float | str | list | tuple | dict)
    return type(parameter.default) if plain else Any


def _typed(agent: str, name: str, value: Any, annotation: Any) -> Any:
    try:
        return fitted(value, annotation)
    except PydanticUserError as error:
        raise RegistryError(
            f"agent {agent!r}: {name} is annotated {annotation!r}: expected a type as JSON has"
        ) from error
    except UnfitError as error:
        raise RegistryError(f"agent {agent!r}: {name} {value!r}: {error}") from error


class UnfitError(ValueError):
    """A value is not of a type; the message says what was expected."""


def fitted(value: Any, annotation: Any) -> Any:
    """A value as an annotation wants it.

    Validated as JSON and strictly: no ``true`` for 1, but a list where a tuple is wanted, 2021 where a text is.

    Raises:
        UnfitError: it is none.
        PydanticUserError: the annotation is nothing to validate by.
    """
    adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except TypeError as error:
        raise UnfitError("expected a number, a text or a list") from error
    except ValidationError as error:
        if type(value) is int:
            with suppress(ValidationError):
                return adapter.validate_json(json.dumps(str(value)), strict=True)
        expected = dict.fromkeys(detail["msg"].removeprefix("Input should be ") for detail in error.errors())
        hint = did_you_mean(str(value), map(str, _choices(annotation)))
        raise UnfitError(f"expected {' or '.join(expected)}{hint}") from error


def _choices(annotation: Any) -> list[Any]:
    """Every value that an annotation spells out."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]
