"""A user's own network: ``package.module:function``, called as ``function(num_classes=...)``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs import cache
from envs.errors import TaskError

if TYPE_CHECKING:
    from torch import nn

_NAME = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


def check_name(name: str) -> None:
    """Raise TaskError unless the name is of that form and its package exists; imports nothing."""
    package = _split(name)[0].partition(".")[0]
    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a specification, as __main__
        found = False
    if not found:
        raise _missing(name, package)


def build(name: str, classes: int) -> nn.Module:
    """What the user's function returns.

    Raises:
        TaskError: there is no such module or function, it cannot be called with ``num_classes``, it raises, or it
            returns anything else than a module.
    """
    from torch import nn

    function = _function(name)
    call = f"{name.partition(':')[2]}(num_classes={classes})"
    try:
        inspect.signature(function).bind(num_classes=classes)
    except (TypeError, ValueError) as error:
        raise TaskError(f"model {name!r} cannot be called as {call}: {error}") from error
    try:
        model = function(num_classes=classes)
    except Exception as error:
        raise TaskError(f"model {name!r}: {call} fails: {_reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise TaskError(f"model {name!r}: {call} returns {type(model).__name__}, expected a torch.nn.Module")
    return model


def version(name: str) -> str:
    """SHA-256 of the file that the function stands in; what that file imports is not part of it."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(_function(name)))
    except TypeError:  # a callable object, or built in
        file = inspect.getsourcefile(type(_function(name)))
    return "" if file is None else cache.sha256(Path(file))


def _function(name: str) -> Callable[..., Any]:
    module_name, function_name = _split(name)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise _missing(name, error.name) from error
        raise TaskError(f"model {name!r}: importing {module_name} fails: {_reason(error)}") from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"model {name!r}: importing {module_name} fails: {_reason(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise TaskError(f"model {name!r}: module {module_name} has no function {function_name!r}")
    return function


def _split(name: str) -> tuple[str, str]:
    """Module and function; makes the working directory importable, as ``python -m`` does."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise TaskError(f"model {name!r}: expected package.module:function, as mynets.small:build")
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    return match[1], match[2]


def _missing(name: str, module: str) -> TaskError:
    return TaskError(f"model {name!r}: no module {module!r} among the installed packages or in {os.getcwd()!r}")


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
