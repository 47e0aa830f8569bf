"""``prunebench table``: rebuilds the tables of experiments, and prints one."""

from __future__ import annotations

import click

from prunebench.harness.commands import completion
from prunebench.harness.commands.completion import Choice
from prunebench.harness.record.folders import find

_FORMATS = ("terminal", "markdown", "csv", "latex")


@click.command("table")
@click.argument("folders", nargs=-1, shell_complete=completion.experiment)
@click.option(
    "--format",
    "form",
    type=Choice("format", _FORMATS),
    default="terminal",
    show_default=True,
    help="Form of the printed table.",
)
@click.option("--caption", metavar="TEXT", help="Caption of the printed table.  [default: one made from the settings]")
@click.option(
    "--columns",
    metavar="NAME,...",
    help="Columns of the printed table, in this order, besides the agents' names.  [default: all that say something]",
)
@click.option("--label", metavar="NAME", help="Label of the printed table in LaTeX.  [default: made from the folders]")
@click.option(
    "--reference",
    metavar="AGENT",
    shell_complete=completion.agent,
    help="Agent that the others are compared with.  [default: the last one named]",
)
def command(
    folders: tuple[str, ...],
    form: str,
    caption: str | None,
    columns: str | None,
    label: str | None,
    reference: str | None,
) -> int:
    """Rebuild the tables of experiments from their runs on disk, and print the main one.

    FOLDERS are experiments or hold some (default: the newest in results/). Every experiment's tables are written into
    its folder. The printed one has a row per agent, or per network and agent where there are several experiments.
    """
    experiments = find(folders)
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    results = Results(experiments, reference)
    chosen = [name.strip() for name in (columns or "").split(",") if name.strip()]
    text = table_list.render(results, form, caption, chosen, label)
    table_list.write(results)
    click.echo(text, nl=False)
    return 0
