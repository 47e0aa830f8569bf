"""The agents, by the entry-point group ``prunebench.agents``; each is imported when a run needs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from envs.errors import check_choice
from harness.errors import RegistryError

GROUP = "prunebench.agents"
_DISTRIBUTION = "prunebench"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # a name is also a folder of an experiment


@lru_cache(maxsize=1)
def registered() -> dict[str, EntryPoint]:
    """Every agent's entry point by its name, sorted.

    Raises:
        RegistryError: two packages use one name, or a name is no folder's name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if not _NAME.fullmatch(entry.name):
            raise RegistryError(f"agent {entry.name!r} of {_origin(entry)}: expected letters, digits, '_', '-' and '.'")
        if entry.name in found and found[entry.name] != entry:
            raise RegistryError(
                f"agent {entry.name!r} is registered by both {_origin(found[entry.name])} and {_origin(entry)}"
            )
        found[entry.name] = entry
    return dict(sorted(found.items()))


def names() -> list[str]:
    """Names of the agents."""
    return list(registered())


def load(name: str) -> Callable[..., Any]:
    """Import an agent: called with ``seed=...`` it gives an object with ``search(env, evaluations)``.

    Raises:
        TaskError: there is no such agent.
        RegistryError: it cannot be imported.
    """
    check_choice("agent", name, registered())
    entry = registered()[name]
    try:
        return entry.load()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RegistryError(f"agent {name!r} ({entry.value}) cannot be imported: {reason}") from error


def own_modules(agents: tuple[str, ...]) -> list[str]:
    """The modules of those agents that come with prunebench: safe to import ahead of every run."""
    entries = (registered()[agent] for agent in agents)
    return [entry.module for entry in entries if entry.dist is not None and entry.dist.name == _DISTRIBUTION]


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'an unknown package'} ({entry.value})"
