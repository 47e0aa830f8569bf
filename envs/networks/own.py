"""A user's own network: ``package.module:function``, called as ``function(num_classes=...)``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from prunebench.envs import importing
from prunebench.envs.errors import TaskError

if TYPE_CHECKING:
    from torch import nn

_NAMED = importing.Named("model", "mynets.small:build", "function")


def check_name(name: str) -> None:
    """Raise TaskError unless the name is of that form and its package exists; imports nothing."""
    _NAMED.check(name)


def build(name: str, classes: int) -> nn.Module:
    """Call the user's function and return its network.

    Raises:
        TaskError: there is no such module or function, it cannot be called with ``num_classes``, it raises, or it
            returns anything else than a module.
    """
    from torch import nn

    from prunebench.envs.networks.baked import unwrapped

    function = _NAMED.load(name)
    call = f"{name.partition(':')[2]}(num_classes={classes})"
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
