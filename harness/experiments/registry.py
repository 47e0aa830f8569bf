"""The agents: by the entry-point group ``prunebench.agents``, or as ``package.module:Class``; imported when needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from prunebench.envs import extras, importing
from prunebench.envs.errors import TaskError, check_choice
from prunebench.harness.errors import RegistryError
from prunebench.harness.experiments import agent_options
from prunebench.harness.experiments.agentspec import CONTROLS as CONTROLS

if TYPE_CHECKING:
    from prunebench.harness.experiments.agentspec import AgentSpec

GROUP = "prunebench.agents"

_DISTRIBUTION = "prunebench"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OWN = importing.Named("agent", "my_pkg.module:MyAgent", "Class")


@lru_cache(maxsize=1)
def registered() -> dict[str, EntryPoint]:
    """Every agent's entry point by its name, sorted.

    Raises:
        RegistryError: two packages use one name, or a name is not made of letters, digits, '_', '-' and '.'.
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


def check_name(name: str) -> None:
    """Raise TaskError, with the nearest name, unless there is such an agent; imports nothing."""
    if ":" not in name:
        check_choice("agent", name, [*registered(), "package.module:Class"])
        return
    try:
        _OWN.check(name)
    except TaskError as error:  # a module may have an agent's name: only where there is none were options meant
        if (agent := name.partition(":")[0]) in registered():
            raise RegistryError(f"agent {name!r}: expected options as {agent}:key=value") from error
        raise


def name_of(constructor: Callable[..., Any]) -> str:
    """The name of an agent's class, by which other processes import it; raises TaskError where there is none."""
    return _OWN.name_of(constructor)


def load(name: str) -> Callable[..., Any]:
    """Import an agent: called with ``seed=...`` it gives an object with ``search(env, evaluations)``.

    Raises:
        TaskError: there is no such agent.
        RegistryError: it cannot be imported.
    """
    check_name(name)
    if ":" in name:
        return _OWN.load(name)
    entry = registered()[name]
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        needed = extras.missing(f"agent {name!r}", absent)
        why = needed or f"agent {name!r} ({entry.value}) cannot be imported: {importing.reason(error)}"
        raise RegistryError(why) from error


def factory(spec: AgentSpec) -> Callable[..., Any]:
    """A function that makes an agent with its options: called with ``seed=...``.

    Raises:
        TaskError, RegistryError: there is no such agent, it cannot be imported, or its options are not its
            constructor's.
    """
    constructor = load(spec.name)
    return partial(constructor, **agent_options.typed(spec.name, constructor, dict(spec.options)))


def check(spec: AgentSpec) -> Any:
    """Make an agent once and return it, so that whatever is wrong with its options is found before anything runs.

    Raises:
        TaskError, RegistryError: as :func:`factory`; or its constructor raises.
    """
    make = factory(spec)
    try:
        return make(seed=0)
    except (Exception, SystemExit) as error:
        text = str(error) if isinstance(error, ValueError) else importing.reason(error)
        raise RegistryError(f"agent {spec.name!r}: {text}") from error


def own_modules(agents: Iterable[AgentSpec]) -> list[str]:
    """The modules of those agents that come with prunebench: safe to import ahead of every run."""
    entries = (registered()[agent.name] for agent in agents if agent.name in registered())
    return [entry.module for entry in entries if entry.dist is not None and entry.dist.name == _DISTRIBUTION]


def versions(agents: Iterable[AgentSpec]) -> dict[str, str | None]:
    """The versions of agents that do not come with prunebench: their package's version, and their file's hash.

    A package under development keeps its version while its code changes.
    """
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(agent.name for agent in agents):
        entry = registered().get(name)
        package = entry.dist if entry else None
        if package is not None and package.name == _DISTRIBUTION:
            continue
        if package is not None:
            found[package.name] = package.version
        value = entry.value if entry else name
        found[value] = importing.file_hash(value.partition(":")[0])
    return found


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'an unknown package'} ({entry.value})"
