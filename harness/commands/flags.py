"""The options that describe an experiment, and the configuration that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from prunebench.envs.choices import DEVICES
from prunebench.envs.environment.channel_pruning import BUDGET_MODES
from prunebench.envs.environment.rewards import REWARDS
from prunebench.envs.tasks import budgets
from prunebench.envs.tasks.budgets import Form, Limit
from prunebench.envs.tasks.costs import COSTS
from prunebench.envs.tasks.options import Option, options
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.commands import completion
from prunebench.harness.commands.completion import Choice
from prunebench.harness.dense import train_settings
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import agentspec, registry
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import ENGINES, Execution
from prunebench.harness.experiments.grid import TASK
from prunebench.harness.seeds import LOOKS

if TYPE_CHECKING:
    from prunebench.harness.experiments.agentspec import AgentSpec

_DEFAULT = ExperimentConfig()
_EXECUTION = Execution()


def _agents(context: click.Context, parameter: click.Parameter, text: str) -> tuple[AgentSpec, ...]:
    named = agentspec.parse(text)
    if context.params.get("add_agents"):
        return tuple(named)  # the experiment has its controls
    return configs.with_controls(named) if named else ()


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{parameter.name} {text!r}: expected numbers separated by commas, as 0.4,0.4,0.4") from None


def _texts(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


elsewhere = click.option(
    "--device", type=Choice("device", DEVICES), help="Where networks run here, if not where they were searched."
)
"""Decorates a command that builds the networks of an experiment again."""


def _choice(name: str, choices: Iterable[str], default: str, text: str) -> Callable[..., Any]:
    flag = f"--{name.replace('_', '-')}"
    return click.option(flag, type=Choice(name, choices), default=default, show_default=True, help=text)


_BY_TYPE: dict[Any, dict[str, Any]] = {
    int: {"type": int},
    int | None: {"type": int},
    tuple[float, ...] | None: {"callback": _numbers},
    tuple[str, ...] | None: {"callback": _texts},
}
_BY_FORM: dict[str | None, dict[str, Any]] = {
    "NAME": {"shell_complete": completion.network},
    "DATASET": {"shell_complete": completion.dataset},
    "FILE": {"type": click.Path()},
    "FOLDER": {"shell_complete": completion.folder},
}


def _task_option(name: str, known: Option) -> Callable[..., Any]:
    """The flag of a task's option."""
    default, kind = getattr(_DEFAULT.task, name), TASK[name]
    if known.choices:
        return _choice(name, known.choices, default, known.text)
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        return click.option(flag, is_flag=True, help=known.text)
    if kind == bool | None:
        return click.option(f"{flag}/--no-{flag[2:]}", default=None, help=known.text)
    attributes = _BY_TYPE.get(kind, {}) | _BY_FORM.get(known.form, {})
    return click.option(flag, default=default, show_default=True, metavar=known.form, help=known.text, **attributes)


def _absolute(name: str, form: Form) -> Callable[..., Any]:
    """The flag of an absolute budget."""

    def limit(context: click.Context, parameter: click.Parameter, text: str | None) -> Limit | None:
        return None if text is None else budgets.read(name, text)

    flag = f"--{name.replace('_', '-')}"
    return click.option(flag, metavar="N", callback=limit, help=f"{form.text} Instead of --preserve and --cost.")


TASK_OPTIONS = tuple(_task_option(name, known) for name, known in options(TaskConfig).items())
"""Options of a task: what is pruned, and how it is scored."""

TRAINING_OPTIONS = tuple(_task_option(name, options(TaskConfig)[name]) for name in train_settings.TASK)
"""Those of them that the dense network's training has."""

SEARCH_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--agents",
        metavar="NAMES",
        default=" ".join(agent.label for agent in _DEFAULT.agents),
        show_default=True,
        callback=_agents,
        shell_complete=completion.agents,
        help="Agents to compare, separated by spaces or commas; options as in bo:preset=gpyopt2021,initial=5; a class "
        f"that is not installed as my_pkg.module:MyAgent. The controls {', '.join(registry.CONTROLS)} always join.",
    ),
    click.option(
        "--seeds",
        metavar="N",
        default=str(_DEFAULT.seeds),
        show_default=True,
        help="Runs per agent, each with a seed of its own: how many, as 5 (seeds 0 to 4), or which, as 5-9 or 0-2,7. "
        "More may be added later.",
    ),
    click.option(
        "--until-decided",
        is_flag=True,
        help="Add seeds, at looks that are fixed beforehand, until every comparison with the last agent is decided.",
    ),
    click.option(
        "--max-seeds",
        type=int,
        metavar="N",
        default=LOOKS[-1],
        show_default=True,
        help="The most seeds of --until-decided.",
    ),
    click.option(
        "--claims",
        metavar="FILE",
        type=click.Path(),
        help="A YAML file of your own claims: its hash is kept, so that a report can say they came before the runs.",
    ),
    click.option(
        "--evaluations",
        type=int,
        metavar="N",
        default=_DEFAULT.evaluations,
        show_default=True,
        help="Policies that an agent may try in one run.",
    ),
)
"""Options of the search: who searches, and for how long."""

BUDGET_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--preserve",
        type=float,
        metavar="FRACTION",
        default=_DEFAULT.preserve,
        show_default=True,
        help="The budget: the fraction of the dense network's cost that may be kept.",
    ),
    *(_absolute(name, form) for name, form in budgets.FORMS.items()),
    _choice("cost", COSTS, _DEFAULT.cost, "The cost that the budget limits."),
    _choice(
        "budget",
        BUDGET_MODES,
        _DEFAULT.budget,
        "How the budget is kept: wall limits every layer in turn (AMC), project moves a whole policy onto the budget.",
    ),
    click.option(
        "--lower-bound",
        type=float,
        metavar="RATIO",
        default=_DEFAULT.lower_bound,
        show_default=True,
        help="The smallest fraction of its channels that a layer may keep.",
    ),
    click.option(
        "--round-to",
        type=int,
        metavar="N",
        default=_DEFAULT.round_to,
        show_default=True,
        help="Keep channels in multiples of N, as fast kernels like them; of a layer whose channels N does not divide, "
        "in multiples of the largest common divisor.",
    ),
    _choice(
        "reward",
        REWARDS,
        _DEFAULT.reward,
        "What agents maximise; accuracy-guaranteed also rewards fewer MACs: the budget need not be spent then.",
    ),
    click.option(
        "--threads",
        type=int,
        metavar="N",
        default=_DEFAULT.threads,
        show_default=True,
        help="Threads of a run's process; they change the last digits of an accuracy.",
    ),
)
"""Options of the budget, and of what a run's process may use."""

EXECUTION_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: cores / threads; on GPUs one each]"),
    click.option(
        "--time-limit", type=float, metavar="SECONDS", help="Time after which a run is ended.  [default: none]"
    ),
    click.option(
        "--memory-limit",
        type=float,
        metavar="GIB",
        help="Memory of a run, or of the preparation, beyond which it is ended.  [default: none]",
    ),
    click.option(
        "--attempts",
        type=int,
        metavar="N",
        default=_EXECUTION.attempts,
        show_default=True,
        help="How often a run may fail before it is given up.",
    ),
    _choice("engine", ENGINES, _EXECUTION.engine, "Where runs are executed: on this machine, or on a Ray cluster."),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster to use.  [default: one on this machine, for the time of the command]",
    ),
    click.option(
        "--gpus",
        type=float,
        metavar="N",
        default=_EXECUTION.gpus,
        show_default=True,
        help="GPUs that Ray reserves for a run; 0.5 lets two runs share one.",
    ),
)
"""Options of execution; none of them decides a number of a run."""

OPTIONS = (
    *TASK_OPTIONS,
    *SEARCH_OPTIONS,
    *BUDGET_OPTIONS,
    *EXECUTION_OPTIONS,
    click.option(
        "--shard",
        metavar="I/N",
        help="Do every N-th run only, from the I-th on, in a folder of its own: a job array does the parts, and "
        "`prunebench merge` joins them.",
    ),
    click.option(
        "--add-agents",
        is_flag=True,
        is_eager=True,  # what --agents means depends on it
        help="Add the agents of --agents, and no controls, to the experiment in --out, whose settings are taken.",
    ),
    click.option(
        "--out",
        metavar="FOLDER",
        shell_complete=completion.folder,
        help="Where the experiment is written.  [default: results/<made from the settings>]",
    ),
)


def explicit(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user named on the command line."""
    sources = {name: context.get_parameter_source(name) for name in options}
    return {name: value for name, value in options.items() if sources[name] not in (None, ParameterSource.DEFAULT)}
