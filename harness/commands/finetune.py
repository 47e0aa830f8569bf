"""``prunebench finetune``: trains the pruned networks of experiments on."""

from __future__ import annotations

import click

from prunebench.harness.commands import completion, flags
from prunebench.harness.display import display
from prunebench.harness.experiments import agentspec
from prunebench.harness.experiments.config import FinetuneSettings
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.record.folders import find
from prunebench.harness.record.incumbents import finished
from prunebench.harness.running.finetune import finetune
from prunebench.harness.seeds import parse

_DEFAULT = FinetuneSettings()


@click.command("finetune")
@click.argument("folders", nargs=-1, shell_complete=completion.experiment)
@click.option(
    "--epochs",
    type=float,
    metavar="N",
    help="Passes over the training images.  [default: a quarter of what the dense network was trained for]",
)
@click.option(
    "--learning-rate",
    type=float,
    metavar="X",
    default=_DEFAULT.learning_rate,
    show_default=True,
    help="Learning rate of the first step; it falls to zero.",
)
@click.option(
    "--agents",
    metavar="NAMES",
    shell_complete=completion.agents,
    help="Agents whose networks are trained on, separated by spaces, as the table names them.  [default: all]",
)
@click.option(
    "--seeds", metavar="N", help="Seeds of their runs: 5 for 0 to 4, or which, as 5-9 or 0-2,7.  [default: all]"
)
@click.option(
    "--jobs", type=int, metavar="N", help="Networks trained at a time.  [default: cores / threads; on GPUs one each]"
)
@flags.elsewhere
def command(
    folders: tuple[str, ...],
    epochs: float | None,
    learning_rate: float,
    agents: str | None,
    seeds: str | None,
    jobs: int | None,
    device: str | None,
) -> int:
    """Fine-tune the pruned networks of experiments and print the table, with their test accuracy.

    The network of every finished run is trained on, or those of some agents and seeds, then scored on the test split.
    FOLDERS are experiments or hold some (default: the newest in results/). The same command again goes on where it
    stopped, and skips what is done.
    """
    settings = FinetuneSettings(epochs, learning_rate)
    labels = None if agents is None else [agent.label for agent in agentspec.parse(agents)]
    numbers = None if seeds is None else parse(seeds)
    experiments = find(folders)
    failed: dict[str, str] = {}
    for experiment in experiments:  # all are looked at before the first is trained
        finished(experiment.on(device), labels, numbers)
    for experiment in (experiment.on(device) for experiment in experiments):
        with display() as shown:
            at_once = Execution(jobs).at_once(experiment.config)
            session = finetune(experiment, settings, agents=labels, seeds=numbers, jobs=at_once, display=shown)
            failed |= {f"{experiment.folder}: {name}": problem for name, problem in session.failed.items()}
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    for experiment in experiments:
        table_list.rebuild(experiment.folder)
    click.echo(table_list.render(Results(experiments), "terminal"))
    for name, problem in failed.items():
        click.echo(f"failed: {name}: {problem}", err=True)
    return 1 if failed else 0
