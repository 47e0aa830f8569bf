"""``prunebench show``: prints experiments as they are now."""

from __future__ import annotations

import click

from prunebench.harness.commands import completion
from prunebench.harness.display import display
from prunebench.harness.following import watching
from prunebench.harness.record import store
from prunebench.harness.record.folders import find


@click.command("show")
@click.argument("folders", nargs=-1, shell_complete=completion.experiment)
@click.option("--watch", is_flag=True, help="Show how runs go on until all of them have ended, and then the rest.")
def command(folders: tuple[str, ...], watch: bool) -> int:
    """Show the settings, the state of every run and the table of experiments, finished or not.

    FOLDERS are experiments or hold some (default: the newest in results/).
    """
    experiments, whole = find(folders), True
    if watch:
        with display() as shown:
            whole = watching.watch(experiments, shown)
        experiments = [store.load(experiment.folder) for experiment in experiments]  # seeds may have joined
    from prunebench.harness.analysis.results import Results  # pandas and SciPy take a second
    from prunebench.harness.report import overview

    click.echo("\n\n".join(overview.text(Results([experiment])).rstrip("\n") for experiment in experiments))
    return 0 if whole else 1
