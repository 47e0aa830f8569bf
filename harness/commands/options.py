"""The options that describe an experiment, and the configuration that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.core import ParameterSource

from prunebench.envs.choices import CRITERIA, DEVICES, RECONSTRUCTIONS, SCOPES
from prunebench.envs.environment.channel_pruning import BUDGET_MODES, COSTS
from prunebench.envs.environment.rewards import REWARDS
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import agentspec, registry
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import ENGINES, Execution

_DEFAULT = ExperimentConfig()
_EXECUTION = Execution()


def _agents(context: click.Context, parameter: click.Parameter, text: str) -> tuple[AgentSpec, ...]:
    named = agentspec.parse(text)
    return configs.with_controls(named) if named else ()


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{parameter.name} {text!r}: expected numbers separated by commas, as 0.4,0.4,0.4") from None


def _classes(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _or(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _task_option(name: str, text: str) -> Callable[..., Any]:
    default = getattr(_DEFAULT.task, name)
    return click.option(
        f"--{name.replace('_', '-')}", type=type(default), default=default, show_default=True, help=text
    )


TASK_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--model", default=_DEFAULT.task.model, show_default=True, help="Network, see `prunebench list`."),
    click.option("--weights", help="Checkpoint of the dense network.  [default: published, or trained]"),
    click.option("--dataset", default=_DEFAULT.task.dataset, show_default=True, help="Data set."),
    click.option("--data", help="Folder of the images (imagefolder, imagenet; cifar: where it is kept)."),
    click.option("--image-size", type=int, help="Pixels per side (imagefolder, imagenet)."),
    click.option("--mean", callback=_numbers, help="Of normalisation, as 0.4,0.4,0.4 (cifar, imagefolder)."),
    click.option("--std", callback=_numbers, help="Likewise."),
    click.option(
        "--classes", callback=_classes, help="Class folders in the network's order, with commas (imagefolder)."
    ),
    click.option("--split-seed", type=int, default=_DEFAULT.task.split_seed, show_default=True, help="Of the splits."),
    click.option("--reward-images", type=int, help="Size of the reward split.  [default: the data set's own]"),
    _task_option("calibration_images", "For least squares, at most."),
    _task_option("batch_size", "Images per forward pass."),
    _task_option("scope", f"Channels that may be pruned: {_or(SCOPES)}."),
    _task_option("importance", f"Which channels are kept first: {_or(CRITERIA)}."),
    _task_option("reconstruction", f"Before a policy is scored: {_or(RECONSTRUCTIONS)}."),
    _task_option("device", f"{_or(DEVICES)}.".capitalize()),
    click.option("--tf32", is_flag=True, help="Let a GPU round products to TensorFloat-32."),
)
"""What is pruned and how it is scored."""

SEARCH_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--agents",
        default=" ".join(agent.label for agent in _DEFAULT.agents),
        show_default=True,
        callback=_agents,
        help="Names, with options as bo:preset=gpyopt2021,initial=5; classes that are not installed as "
        f"my_pkg.module:MyAgent. Those of {', '.join(registry.CONTROLS)} that are not named run too.",
    ),
    click.option(
        "--seeds", type=int, default=_DEFAULT.seeds, show_default=True, help="Runs per agent; may grow later."
    ),
    click.option("--evaluations", type=int, default=_DEFAULT.evaluations, show_default=True, help="Per run."),
)
"""Who searches, and for how long."""

BUDGET_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--preserve", type=float, default=_DEFAULT.preserve, show_default=True, help="Fraction of the cost."),
    click.option("--cost", default=_DEFAULT.cost, show_default=True, help=f"What is limited: {_or(COSTS)}."),
    click.option("--budget", default=_DEFAULT.budget, show_default=True, help=f"How: {_or(BUDGET_MODES)}."),
    click.option("--lower-bound", type=float, default=_DEFAULT.lower_bound, show_default=True, help="Of every ratio."),
    click.option("--reward", default=_DEFAULT.reward, show_default=True, help=f"{_or(REWARDS)}.".capitalize()),
    click.option("--threads", type=int, default=_DEFAULT.threads, show_default=True, help="Per run."),
)
"""What a policy may cost, and what a run's process may use."""

EXECUTION_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--jobs", type=int, help="Runs at a time.  [default: cores / threads; 1 on a GPU]"),
    click.option("--time-limit", type=float, help="Seconds of a run.  [default: none]"),
    click.option("--memory-limit", type=float, help="GiB of a run and of what it starts.  [default: none]"),
    click.option(
        "--attempts",
        type=int,
        default=_EXECUTION.attempts,
        show_default=True,
        help="How often a run may fail before it is not begun again.",
    ),
    click.option("--engine", default=_EXECUTION.engine, show_default=True, help=f"{_or(ENGINES)}.".capitalize()),
    click.option("--address", help="Of a Ray cluster.  [default: a local one, for the time of the command]"),
    click.option("--gpus", type=float, default=_EXECUTION.gpus, show_default=True, help="Per run, as 0.5 (Ray)."),
)
"""How runs are executed; none of this decides their numbers."""

OPTIONS = (
    *TASK_OPTIONS,
    *SEARCH_OPTIONS,
    *BUDGET_OPTIONS,
    *EXECUTION_OPTIONS,
    click.option("--out", help="Folder of the experiment.  [default: results/<made from the settings>]"),
)


def explicit(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Those options that were named by the user."""
    sources = {name: context.get_parameter_source(name) for name in options}
    return {name: value for name, value in options.items() if sources[name] not in (None, ParameterSource.DEFAULT)}
