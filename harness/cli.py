"""The command ``prunebench``."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from envs import datasets, models
from envs.choices import CRITERIA, DEVICES, RECONSTRUCTIONS, SCOPES
from envs.errors import check_choice
from envs.pruning_env import BUDGET_MODES, COSTS
from envs.rewards import REWARDS
from envs.task import TaskConfig
from harness import agentspec, registry, store
from harness import config as configs
from harness.agentspec import AgentSpec
from harness.bench import Session, bench
from harness.config import ExperimentConfig
from harness.errors import USER_ERRORS, ConfigError
from harness.executors import JobCrash, cores, limit_threads
from harness.progress import display

_DEFAULT = ExperimentConfig()
_TABLE_FORMATS = ("terminal", "markdown", "csv", "latex")


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


_OPTIONS: tuple[Callable[..., Any], ...] = (
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
    click.option("--preserve", type=float, default=_DEFAULT.preserve, show_default=True, help="Fraction of the cost."),
    click.option("--cost", default=_DEFAULT.cost, show_default=True, help=f"What is limited: {_or(COSTS)}."),
    click.option("--budget", default=_DEFAULT.budget, show_default=True, help=f"How: {_or(BUDGET_MODES)}."),
    click.option("--lower-bound", type=float, default=_DEFAULT.lower_bound, show_default=True, help="Of every ratio."),
    click.option("--reward", default=_DEFAULT.reward, show_default=True, help=f"{_or(REWARDS)}.".capitalize()),
    click.option("--threads", type=int, default=_DEFAULT.threads, show_default=True, help="Per run."),
    click.option("--jobs", type=int, help="Runs at a time.  [default: cores / threads; 1 on a GPU]"),
    click.option("--out", help="Folder of the experiment.  [default: results/<made from the settings>]"),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="prunebench")
def cli() -> None:
    """Compare auto-pruning agents on one environment, with one budget and one evaluator."""


@cli.command("bench")
def _bench(**options: Any) -> int:
    """Run every agent with every seed and print the table. The same command again goes on where it stopped."""
    jobs, out = options.pop("jobs"), options.pop("out")
    config = _config(options)
    configs.check(config)
    folder = Path(out) if out is not None else configs.default_folder(config)
    with display() as shown:
        session = bench(
            config,
            folder,
            jobs=_default_jobs(config) if jobs is None else jobs,
            command=shlex.join(["prunebench", *sys.argv[1:]]),
            display=shown,
        )
    _report(session)
    return 1 if session.failed else 0


for _option in _OPTIONS:  # a decorator each; one by one they would hide the function
    _bench = _option(_bench)


@cli.command("table")
@click.option("--out", required=True, help="Folder of the experiment.")
@click.option("--format", "form", default="terminal", show_default=True, help=", ".join(_TABLE_FORMATS) + ".")
def _table(out: str, form: str) -> int:
    """Rebuild an experiment's tables from its lines on disk, and print one."""
    check_choice("format", form, _TABLE_FORMATS)
    experiment = store.load(Path(out))
    from harness import tables

    tables.write(experiment)
    click.echo(tables.render(experiment, form), nl=False)
    return 0


@cli.command("check-agent")
@click.argument("agent")
def _check_agent(agent: str) -> int:
    """Check that AGENT (as it is named to `bench`, options included) keeps the contract that all agents are under."""
    spec = AgentSpec.from_plain(agent)
    registry.check_name(spec.name)
    limit_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries: nothing that a user of this command can act on
    from harness import checks

    registry.check(spec)
    passed: list[str] = []

    def watch(name: str) -> None:
        shown.step("checking", len(passed), len(checks.CHECKS), name)
        passed.append(name)

    with display() as shown:
        try:
            checks.check_agent(registry.factory(spec), on_check=watch)
        except checks.ContractError as error:
            click.echo(f"{spec.label} breaks the contract: {error}", err=True)
            return 1
    click.echo(f"{spec.label} keeps the contract ({len(checks.CHECKS)} checks)")
    return 0


@cli.command("list")
def _list() -> int:
    """Name the agents, networks and data sets."""
    networks = [*models.names(), *models.PATTERNS]
    for title, names in (("agents", registry.names()), ("models", networks), ("datasets", datasets.names())):
        click.echo(f"{title}: {', '.join(names)}")
    return 0


def _default_jobs(config: ExperimentConfig) -> int:
    """One on a GPU: the batch size fits it once, and runs beside each other would disturb each other's times."""
    return 1 if config.task.device == "cuda" else max(1, cores() // config.threads)


def _config(options: dict[str, Any]) -> ExperimentConfig:
    """The options of ``bench`` as a configuration."""
    task = {name: options.pop(name) for name in list(options) if name in TaskConfig.__dataclass_fields__}
    return ExperimentConfig(task=TaskConfig(**task), **options)


def _report(session: Session) -> None:
    from harness import tables

    experiment = session.experiment
    click.echo(tables.render(experiment, "terminal"))
    click.echo(f"results in {experiment.folder}, tables in {experiment.tables_folder}")
    if session.seconds:
        click.echo(", ".join(f"{what} {seconds:.1f} s" for what, seconds in session.seconds.items()))
    for name, problem in session.failed.items():
        click.echo(f"failed: {name}: {problem}", err=True)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: exit code 0 done, 1 a run or the program failed, 2 the user can mend it, 130 interrupted."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        return cli.main(arguments, prog_name="prunebench", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        return 0
    except click.ClickException as error:
        return _complain(error.format_message())
    except (*USER_ERRORS, OSError) as error:
        return _complain(str(error))
    except JobCrash as crash:
        click.echo(f"prunebench: error: a process failed: {crash}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: the same command goes on where this one stopped", err=True)
        return 130


def _complain(message: str) -> int:
    click.echo(f"prunebench: error: {' '.join(message.split())}", err=True)
    return 2
