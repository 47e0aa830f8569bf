"""Experiments of one task that lie in several folders, taken as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from prunebench.harness import seeds as sets
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.agentspec import folder_name
from prunebench.harness.record import manifest

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.journal import Line
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Status
    from prunebench.harness.record.store import Experiment


class _Copy(NamedTuple):
    """A copy of a run as it is on disk."""

    run: Run
    status: Status
    lines: list[Line]

    @property
    def done(self) -> bool:
        """Whether it is finished."""
        return self.status.state == "done"


def together(experiments: Sequence[Experiment]) -> list[Experiment]:
    """The experiments, those of one task as one, in the order of the first of each.

    Raises:
        ConfigError: two finished copies of a run contradict each other.
        StoreError: a file that this needs is damaged.
    """
    groups: list[list[Experiment]] = []
    for experiment in experiments:
        group = next((group for group in groups if not differences(group[0], experiment)), None)
        if group is None:
            groups.append([experiment])
        else:
            group.append(experiment)
    return [join(group) if len(group) > 1 else group[0] for group in groups]


def differences(first: Experiment, second: Experiment) -> list[str]:
    """What makes two experiments be of different tasks; where their settings do, their manifests are not read."""
    if told := configs.task_differences(first.config, second.config):
        return told
    one, other = (experiment.manifest()["task"] for experiment in (first, second))
    return [f"other {what}" for what in manifest.differences(one, other, first.config.cost)]


def join(parts: Sequence[Experiment]) -> Experiment:
    """Experiments of one task as one; raises as :func:`together`.

    The finished copy of a run counts, else the longest; of equal ones that of the first part.
    """
    found: defaultdict[tuple[str, int], list[Run]] = defaultdict(list)
    for part in parts:
        for run in part.runs():
            found[run.agent, run.seed].append(run)
    name = folder_name(",".join(part.folder.resolve().name for part in parts))
    copies = {which: _counting(runs) for which, runs in found.items()}
    folder, config = parts[0].folder.parent / name, _config(parts, found)
    return replace(parts[0], folder=folder, config=config, parts=tuple(parts), copies=copies)


def _config(parts: Sequence[Experiment], runs: Mapping[tuple[str, int], object]) -> ExperimentConfig:
    """The first part's configuration, with the agents that have runs in any of them, and their seeds."""
    known = {agent.label: agent for part in parts for agent in part.config.agents}
    own = {label: [seed for other, seed in runs if other == label] for label in known}
    seeds = {label: sets.write(found) for label, found in own.items() if found}
    agents = tuple(known[label] for label in seeds)
    # What all parts were begun with is kept; what one was, says nothing of the others' runs.
    looks, claims = ({getattr(part.config, name) for part in parts} for name in ("looks", "claims"))
    return replace(
        parts[0].config,
        agents=agents,
        seeds=sets.in_short(seeds, list(seeds)),
        shard="1/1",
        looks=looks.pop() if len(looks) == 1 else (),
        claims=claims.pop() if len(claims) == 1 else "",
    )


def _counting(copies: Sequence[Run]) -> Run:
    """The copy of a run that counts; raises ConfigError where finished ones contradict each other."""
    if len(copies) == 1:
        return copies[0]
    read = [_Copy(run, *run.read()) for run in copies]
    for first, second in combinations([copy for copy in read if copy.done], 2):
        if told := next(_contradictions(first, second), None):
            paths = " and ".join(repr(str(copy.run.lines_path)) for copy in (first, second))
            raise ConfigError(f"{first.run.name}: {paths} contradict each other: {told}")
    return max(read, key=lambda copy: (copy.done, len(copy.lines))).run


def _contradictions(first: _Copy, second: _Copy) -> Iterator[str]:
    """In what two copies of a run differ: policies and accuracies, not times."""
    if len(first.lines) != len(second.lines):
        yield f"{len(first.lines)} evaluations, and {len(second.lines)}"
    for one, other in zip(first.lines, second.lines, strict=False):
        if (one.channels, one.probe) != (other.channels, other.probe):
            yield f"evaluation {one.index} is of another policy"
        if one.accuracy != other.accuracy:
            yield f"evaluation {one.index} has accuracy {one.accuracy:g}, and {other.accuracy:g}"
    tests = [copy.status.test.accuracy for copy in (first, second) if copy.status.test is not None]
    if len(set(tests)) > 1:
        yield f"the test accuracy is {tests[0]:g}, and {tests[1]:g}"
