"""``prunebench finetune``: the networks of an experiment's runs, trained on."""

from __future__ import annotations

import click

from prunebench.harness.display import display
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.experiments.finetuning import FinetuneSettings
from prunebench.harness.record.folders import find
from prunebench.harness.running.finetune import finetune

_DEFAULT = FinetuneSettings()


@click.command("finetune")
@click.argument("folders", nargs=-1)
@click.option(
    "--epochs", type=float, help="Passes over the training split.  [default: a quarter of the dense network's]"
)
@click.option(
    "--learning-rate", type=float, default=_DEFAULT.learning_rate, show_default=True, help="At the beginning."
)
@click.option("--jobs", type=int, help="Runs at a time.  [default: cores / threads; 1 on a GPU]")
def command(folders: tuple[str, ...], epochs: float | None, learning_rate: float, jobs: int | None) -> int:
    """Train the pruned network of every finished run in FOLDERS on, score it on the test split, and print the table.

    Without FOLDERS it is the newest experiment in results/. The same command again goes on where it stopped, and skips
    what is done.
    """
    settings = FinetuneSettings(epochs, learning_rate)
    experiments = find(folders)
    failed: dict[str, str] = {}
    for experiment in experiments:
        with display() as shown:
            at_once = Execution(jobs).at_once(experiment.config)
            session = finetune(experiment, settings, jobs=at_once, display=shown)
            failed |= {f"{experiment.folder}: {name}": problem for name, problem in session.failed.items()}
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    results = Results(experiments)
    table_list.write(results)
    click.echo(table_list.render(results, "terminal"))
    for name, problem in failed.items():
        click.echo(f"failed: {name}: {problem}", err=True)
    return 1 if failed else 0
