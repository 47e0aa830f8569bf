"""A user's own network: ``package.module:function``, called as ``function(num_classes=...)``.

An installed package names its networks by entry points in the group ``prunebench.networks``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from prunebench.envs import importing
from prunebench.envs.errors import TaskError

if TYPE_CHECKING:
    from torch import nn

GROUP = "prunebench.networks"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HERE: dict[str, str] = {}  # what was registered in this process
_NAMED = importing.Named("model", "mynets.small:build", "function")


@lru_cache(maxsize=1)
def registered() -> dict[str, EntryPoint]:
    """The networks that other packages bring, by their names, sorted; nothing is imported.

    Raises:
        TaskError: a name is there twice, or not made of letters, digits, '_', '-' and '.'.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if not _NAME.fullmatch(entry.name):
            raise TaskError(f"model {entry.name!r} ({entry.value}): expected letters, digits, '_', '-' and '.'")
        if found.get(entry.name, entry) != entry:
            raise TaskError(f"model {entry.name!r} ({entry.value}): another one is registered under this name")
        found[entry.name] = entry
    return dict(sorted(found.items()))


def register(name: str, function: Callable[..., nn.Module]) -> str:
    """See :func:`prunebench.envs.networks.models.register`."""
    value = _NAMED.name_of(function)
    if not _NAME.fullmatch(name):
        raise TaskError(f"model {name!r} ({value}): expected letters, digits, '_', '-' and '.'")
    if name in registered() or _HERE.get(name, value) != value:
        raise TaskError(f"model {name!r} ({value}): another one is registered under this name")
    _HERE[name] = value
    return value


def named(model: Any) -> Any:
    """See :func:`prunebench.envs.networks.models.named`."""
    if isinstance(model, str):
        return _HERE.get(model, model)
    return _NAMED.name_of(model) if callable(model) else model


def check_name(name: str) -> None:
    """Raise TaskError unless the name is registered, or of that form and its package exists; imports nothing."""
    if ":" in name:
        _NAMED.check(name)


def _load(name: str) -> Callable[..., Any]:
    if ":" in name:
        return _NAMED.load(name)
    entry = registered()[name]
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        raise TaskError(f"model {name!r} ({entry.value}) cannot be imported: {importing.reason(error)}") from error
    if not callable(found):
        raise TaskError(f"model {name!r} ({entry.value}): expected a function")
    return found


def build(name: str, classes: int) -> nn.Module:
    """Call the user's function and return its network.

    Raises:
        TaskError: there is no such module or function, it cannot be called with ``num_classes``, it raises, or it
            returns anything else than a module.
    """
    from torch import nn

    from prunebench.envs.networks.baked import unwrapped

    function = _load(name)
    call = f"{name.rpartition(':')[2]}(num_classes={classes})"
    try:
        inspect.signature(function).bind(num_classes=classes)
    except (TypeError, ValueError) as error:
        raise TaskError(f"model {name!r} cannot be called as {call}: {error}") from error
    try:
        model = function(num_classes=classes)
    except Exception as error:
        raise TaskError(f"model {name!r}: {call} fails: {importing.reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise TaskError(f"model {name!r}: {call} returns {type(model).__name__}, expected a torch.nn.Module")
    try:
        return unwrapped(model)
    except TaskError as error:
        raise TaskError(f"model {name!r}: {call}: {error}") from error


def version(name: str) -> str:
    """SHA-256 of the file that the function stands in; what that file imports is not part of it."""
    return importing.source_hash(_NAMED.load(name))
