"""Experiments put into words, the same words everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunebench.envs.tasks import costs
from prunebench.harness import seeds as sets

if TYPE_CHECKING:
    from prunebench.envs.tasks.task import TaskConfig
    from prunebench.harness.experiments.config import ExperimentConfig

_SHOWN = 5  # layers that are named one by one


def budget(config: ExperimentConfig) -> str:
    """The budget as it is asked for."""
    return f"{config.preserve:g} of {config.cost}" if config.absolute is None else str(config.absolute)


def cell(config: ExperimentConfig) -> str:
    """One experiment of a grid: what tells it from the others."""
    task, preserve = config.task, "preserve " if config.absolute is None else "at most "
    return f"{task.model} on {task.dataset}, {preserve}{budget(config)}, split seed {task.split_seed}"


def comparison(config: ExperimentConfig) -> str:
    """What agents are compared on, for a headline."""
    return f"{config.task.model} ({config.task.dataset}, {limit(config)})"


def limit(config: ExperimentConfig) -> str:
    """The budget of a prepared task: ``50 % of the MACs``; ``150,000,000 MACs, 49.2 % of the dense network's``."""
    share = 100 * config.preserve
    if config.absolute is None:
        return f"{share:g} % of the {costs.named(config.cost).label}"
    return f"{config.absolute}, {share:.3g} % of the dense network's"


def efforts(configs: Sequence[ExperimentConfig]) -> list[str]:
    """How many runs of how many evaluations, for a headline: a phrase for every number of evaluations."""
    phrases = []
    for each in dict.fromkeys(config.evaluations for config in configs):
        seeds = counts([config for config in configs if config.evaluations == each])
        phrases.append(f"{seeds} seed{'' if seeds == '1' else 's'} of {each} evaluation{'s' if each > 1 else ''}")
    return phrases


def evaluations(config: ExperimentConfig) -> str:
    """What a run may spend: ``100 evaluations per run, 5 of them to confirm its best policies``."""
    confirm = f", {config.task.confirm} of them to confirm its best policies" if config.task.confirm else ""
    return f"{config.evaluations} evaluations per run{confirm}"


def counts(configs: Sequence[ExperimentConfig]) -> str:
    """How many seeds an agent has: ``5``, or ``3 to 5`` where agents differ."""
    found = [len(config.seeds_of(agent.label)) for config in configs for agent in config.agents]
    return f"{min(found)}" if min(found) == max(found) else f"{min(found)} to {max(found)}"


def seeds(config: ExperimentConfig) -> str:
    """Which seeds were asked for: ``seeds 0 to 4, 7``."""
    every = {seed for _, seed in config.runs()}
    some = any(set(config.seeds_of(agent.label)) < every for agent in config.agents)
    shard = "" if config.shard == "1/1" else f"shard {config.shard}"
    remarks = ", ".join(filter(None, [shard, "not every agent has all" if some else ""]))
    return f"seed{'s' if len(every) > 1 else ''} {ranges(every)}{f' ({remarks})' if remarks else ''}"


def ranges(seeds: Iterable[int]) -> str:
    """Seeds in words: ``0 to 4, 7``."""
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in sets.ranges(seeds))


def pruning(task: TaskConfig) -> str:
    """How networks are pruned, as far as the user has a choice."""
    return ", ".join(f"{name} {getattr(task, name)}" for name in ("scope", "importance", "reconstruction"))


def bounds(config: ExperimentConfig) -> str:
    """What every layer must keep: ``lower bound 0.1, channels in multiples of 8``."""
    multiples = f", channels in multiples of {config.round_to}" if config.round_to > 1 else ""
    return f"lower bound {config.lower_bound:g}{multiples}"


def settings(config: ExperimentConfig) -> list[str]:
    """Everything that was asked for, in a few lines."""
    task = config.task
    weights = "published or trained" if task.weights is None else task.weights
    return [
        f"{task.model} ({weights}) on {task.dataset}{f' in {task.data}' if task.data else ''}, "
        f"split seed {task.split_seed}, {task.device}",
        f"budget: {limit(config)}, {config.budget}, {bounds(config)}",
        f"{pruning(task)}, reward {config.reward}",
        f"agents: {', '.join(agent.label for agent in config.agents)}",
        f"{evaluations(config)}, {seeds(config)}",
    ]


_ALWAYS = ("model", "preserve")


def names(configs: Sequence[ExperimentConfig], same: bool = False, budgets: bool = True) -> list[str]:
    """A short name for each experiment: network and budget, and whatever else tells it from the others here.

    Args:
        configs: of the experiments.
        same: whether experiments that nothing tells apart may share a name; else they are numbered.
        budgets: whether to name the budgets.
    """
    always = _ALWAYS if budgets else _ALWAYS[:1]
    parts = [_parts(config) for config in configs]
    varying = [key for key in parts[0] if key not in _ALWAYS and len({values[key] for values in parts}) > 1]
    found = [", ".join(values[key] for key in (*always, *varying)) for values in parts]
    if same:
        return found
    return [name if found.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(found)]


def _parts(config: ExperimentConfig) -> dict[str, str]:
    task = config.task
    return {
        "model": task.model,
        "preserve": _budget(config),
        "dataset": task.dataset,
        "split": f"split {task.split_seed}",
        "evaluations": f"{config.evaluations} evaluations",
        "scope": f"scope {task.scope}",
        "importance": task.importance,
        "reconstruction": task.reconstruction,
        "budget": f"budget {config.budget}",
        "reward": f"reward {config.reward}",
    }


def _budget(config: ExperimentConfig) -> str:
    return str(config.absolute or f"{100 * config.preserve:g} % of {costs.named(config.cost).label}")


def left_alone(facts: Mapping[str, Any]) -> list[str]:
    """What of a network is not pruned or not refitted, of those facts that a task's preparation found; few lines."""
    left_out, kept = facts.get("left_out", {}), facts.get("not_refitted", [])
    shown = list(left_out.items())[:_SHOWN]
    lines = [f"{name} and what goes with it stays whole: {reason}" for name, reason in shown]
    if len(left_out) > len(shown):
        lines.append(f"{len(left_out) - len(shown)} more stay whole: the manifest says which, and why")
    if kept:
        lines.append(f"not refitted by least squares: {', '.join(kept[:_SHOWN])}{', ...' * (len(kept) > _SHOWN)}")
    return lines
