"""Sets of seeds (``5``: 0 to 4, ``5-9``, ``0-2,7``), shards of runs (``2/6``), and looks at what seeds have shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prunebench.envs.errors import did_you_mean
from prunebench.harness.errors import ConfigError

Written = int | str
"""A set of seeds as it is written."""

PerAgent = Written | tuple[tuple[str, Written], ...]
"""The seeds of several agents, in the shortest form: of all of them, or pairs of label and seeds."""

LOOKS = (5, 8, 12, 20, 30)
"""Numbers of seeds at which is looked whether more are needed, unless fewer are the most."""

_HIGHEST = 999_999  # so that a slip of the finger does not fill the memory
_NUMBER = re.compile(r"\s*-?[0-9]+\s*")
_RANGE = re.compile(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?")


def parse(written: Written) -> tuple[int, ...]:
    """The seeds, in order, each once.

    Raises:
        ConfigError: it is no such set, an empty one, or has a seed above 999999.
    """
    value = int(written) if isinstance(written, str) and _NUMBER.fullmatch(written) else written
    if isinstance(value, str):
        parts = [_RANGE.fullmatch(part) for part in value.split(",")]
        found = [(int(part[1]), int(part[2] or part[1])) for part in parts if part is not None]
        if len(found) == len(parts) and all(first <= last <= _HIGHEST for first, last in found):
            return tuple(sorted({seed for first, last in found for seed in range(first, last + 1)}))
    elif isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _HIGHEST + 1:
        return tuple(range(value))
    raise ConfigError(f"seeds {value!r}: expected how many, as 5, or which, as 5-9 or 0-2,7 (at most {_HIGHEST})")


def looks_up_to(most: int) -> tuple[int, ...]:
    """The looks of an experiment that ends at ``most`` seeds, at least one."""
    return (*(look for look in LOOKS if look < most), most)


def write(seeds: Iterable[int]) -> Written:
    """The shortest form that :func:`parse` reads as these seeds, of which there is at least one."""
    found = ranges(seeds)
    if len(found) == 1:
        ((first, last),) = found
        return last + 1 if first == 0 else f"{first}-{last}"
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in found)


def ranges(seeds: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of every unbroken row of seeds, in order."""
    found: list[tuple[int, int]] = []
    for seed in sorted(set(seeds)):
        if found and found[-1][1] == seed - 1:
            found[-1] = (found[-1][0], seed)
        else:
            found.append((seed, seed))
    return found


def in_short(seeds: Any, labels: Sequence[str]) -> PerAgent:
    """Seeds of agents, given as one set or by label, in their shortest form.

    Raises:
        ConfigError: they are none, or not those of each of the agents.
    """
    pairs = isinstance(seeds, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in seeds)
    if not (pairs or isinstance(seeds, Mapping)):
        return write(parse(seeds))
    found = {str(label): write(parse(own)) for label, own in dict(seeds).items()}
    for label in found:
        if label not in labels:
            raise ConfigError(f"seeds of {label!r}: there is no such agent{did_you_mean(label, labels)}")
    for label in labels:
        if label not in found:
            raise ConfigError(f"seeds: expected those of every agent, {label!r} has none")
    return found[labels[0]] if len(set(found.values())) == 1 else tuple((label, found[label]) for label in labels)


def parse_shard(shard: str) -> tuple[int, int]:
    """Which part of how many; raises ConfigError where it is none."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(f"shard {shard!r}: expected which part of how many, as 1/6 to 6/6")
    return part, parts


def of_shard(seeds: Iterable[int], number: int, agents: int, shard: str) -> tuple[int, ...]:
    """Those of an agent's seeds whose runs are a shard's.

    Runs are dealt to the shards one by one, the agents of seed 0, then those of seed 1, and so on. A shard is passed
    over where an agent would come to the same one again. So all shards have about as many runs, and about as many of
    every agent. To whom a run is dealt does not depend on how many seeds there are.

    Args:
        seeds: of all shards.
        number: of the agent among them all, from 0.
        agents: how many there are.
        shard: ``i/n``.
    """
    part, parts = parse_shard(shard)
    again = parts // math.gcd(agents, parts)  # seeds after which an agent would come to the same shard
    return tuple(seed for seed in seeds if (seed * agents + number + seed // again) % parts == part - 1)
