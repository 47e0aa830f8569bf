"""``prunebench show``: prints experiments as they are now."""

from __future__ import annotations

import click

from prunebench.harness.commands import completion
from prunebench.harness.record.folders import find


@click.command("show")
@click.argument("folders", nargs=-1, shell_complete=completion.experiment)
def command(folders: tuple[str, ...]) -> int:
    """Show the settings, the state of every run and the table of experiments, finished or not.

    FOLDERS are experiments or hold some (default: the newest in results/).
    """
    from prunebench.harness.analysis.results import Results  # pandas and SciPy take a second
    from prunebench.harness.report import overview

    click.echo("\n\n".join(overview.text(Results([experiment])).rstrip("\n") for experiment in find(folders)))
    return 0
